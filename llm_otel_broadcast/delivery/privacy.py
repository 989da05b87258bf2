"""Whether a destination may have a record's content. Pure."""

from __future__ import annotations

from llm_otel_broadcast.generation import Generation


def allows_content(record: Generation, *, privacy_mode: bool) -> bool:
    """Return whether content of the record may go to a destination with this privacy mode."""
    return record.wants_content and not privacy_mode and not record.fields.private
