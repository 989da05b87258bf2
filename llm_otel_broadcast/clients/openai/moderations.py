"""Reading `moderations`: how many inputs were flagged, and for what."""

from __future__ import annotations

import json
from typing import Any, Final

from llm_otel_broadcast.clients.openai.answers import read_head, read_tail
from llm_otel_broadcast.clients.openai.openrouter import note_error
from llm_otel_broadcast.clients.openai.text_inputs import note_inputs
from llm_otel_broadcast.clients.reader import NoFold, all_members_of, items_of, members_of, note, text_of
from llm_otel_broadcast.record.generation import Generation

_PYTHONIC: Final = str.maketrans("/-", "__")
_MAX_CATEGORIES: Final = 32


class ModerationReader:
    """Reads moderations."""

    operation = "moderation"
    api = None

    def read_request(self, record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
        record.request_model = text_of(kwargs.get("model"))
        record.wants_content = content
        note_inputs(record, kwargs, "input", content=content)

    def read_response(self, record: Generation, response: Any) -> None:
        said = all_members_of(response)
        read_head(record, said)
        read_tail(record, said)
        results = [members_of(result) for result in items_of(said, "results")]
        flagged = [result for result in results if result.get("flagged") is True]
        # the client's objects spell `self-harm/intent` as `self_harm_intent`
        named = {
            str(name).translate(_PYTHONIC)
            for one in flagged
            for name, applies in all_members_of(one.get("categories")).items()
            if applies is True
        }
        note(
            record,
            flagged=len(flagged) if results else None,
            flagged_categories=sorted(named)[:_MAX_CATEGORIES] or None,
        )
        note_error(record, said)

    def read_body(self, record: Generation, body: bytes) -> None:
        self.read_response(record, json.loads(body))

    def fold(self, record: Generation) -> NoFold:  # noqa: ARG002
        return NoFold()
