"""Reading `moderations`: how many inputs were flagged, and for what."""

from __future__ import annotations

from typing import Any, Final

from llm_otel_broadcast.clients.openai.answers import read_head, read_tail
from llm_otel_broadcast.clients.openai.openrouter import note_error
from llm_otel_broadcast.clients.openai.text_inputs import note_inputs
from llm_otel_broadcast.clients.reader import Reader, all_members_of, items_of, members_of, note, text_of
from llm_otel_broadcast.record.generation import Generation

_TO_IDENTIFIER: Final = str.maketrans("/-", "__")
_MAX_CATEGORIES: Final = 32


class ModerationReader(Reader):
    """Reads moderations."""

    operation = "moderation"
    api = None

    def read_request(self, record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
        record.request_model = text_of(kwargs.get("model"))
        record.wants_content = content
        note_inputs(record, kwargs, "input", content=content)

    def read_response(self, record: Generation, response: object) -> None:
        members = all_members_of(response)
        read_head(record, members)
        read_tail(record, members)
        results = [members_of(result) for result in items_of(members, "results")]
        flagged = [result for result in results if result.get("flagged") is True]
        # The client's objects spell `self-harm/intent` as `self_harm_intent`, a raw body has it as the API does. Categories that
        # the client's model does not know are kept apart, so known and unknown ones are joined.
        categories = {
            str(name).translate(_TO_IDENTIFIER)
            for result in flagged
            for name, applies in all_members_of(result.get("categories")).items()
            if applies is True
        }
        note(
            record,
            # Without results nothing was judged, which is not the same as nothing flagged.
            flagged=len(flagged) if results else None,
            flagged_categories=sorted(categories)[:_MAX_CATEGORIES] or None,
        )
        note_error(record, members)
