"""What OpenRouter and other servers add to an answer: reasons, reasoning, errors with status 200."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from llm_otel_broadcast.clients.gateways import note_error_metadata
from llm_otel_broadcast.clients.reader import (
    MAX_ERROR_TEXT,
    Members,
    all_members_of,
    error_text_of,
    extras_of,
    items_of,
    members_of,
    text_of,
    text_within,
)
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import Generation

_MAX_ERROR_DEPTH: Final = 8
_CODE: Final = r"[\w.:/-]{1,100}"
"""What an error's code or type looks like; a text with blanks is a message, and counts as content."""


def note_error(record: Generation, members: Members) -> None:
    """Take the error that an answer 200 or a chunk carries, if it says anything.

    It may be an object, a text (LM Studio), a list, or the answer itself (`"object": "error"`, vLLM). Gateways written in
    Go send an `error` whose members are all empty with every good answer (litellm#18407): that is none.
    """
    error = members.get("error")
    # Groq, of a stream that it stopped early (`XGroq.error` of its own client)
    if not error and members.get("x_groq") is not None:
        error = all_members_of(members["x_groq"]).get("error")
    elif not error and not members.get("choices"):
        # MiniMax: a status of its own, 0 in every good answer
        state = all_members_of(members.get("base_resp"))
        if members.get("object") == "error":
            error = members
        elif state.get("status_code"):
            error = {"code": state["status_code"], "message": state.get("status_msg")}
    if not error or _is_empty(error):
        return
    note_error_metadata(record, error)
    # `"error": true`: the text stands beside it
    stated = all_members_of(error) or (members if error is True else {})
    text = error_text_of(error) or error_text_of(stated)
    code = _code_of(stated.get("code") if error is not True else None)
    kind = code or _code_of(stated.get("type")) or "error"
    record.failure = Failure(kind, text[:MAX_ERROR_TEXT], code=code)


def _code_of(value: object) -> str | None:
    if type(value) is int:
        return str(value) if value else None
    return value if isinstance(value, str) and re.fullmatch(_CODE, value) else None


def _is_empty(value: object, depth: int = 0) -> bool:
    """Return whether a value says nothing: empty, or with nothing but empty members."""
    if not value:
        return True
    if depth == _MAX_ERROR_DEPTH:
        return False
    members = all_members_of(value)
    inner = members.values() if members else value if isinstance(value, list | tuple) else None
    return inner is not None and all(_is_empty(item, depth + 1) for item in inner)


def note_broken_choice(record: Generation, choices: Iterable[Any] = ()) -> None:
    """Take a choice that ended in `error`: the provider broke off. Of `choices`, one may say why."""
    if record.failure is not None or not [True for choice in record.choices if choice.finish_reason == "error"]:
        return
    for choice in choices:
        note_error(record, all_members_of(choice))
    if record.failure is None:
        record.failure = Failure("error", "the provider ended the answer with an error")


def native_reason_of(choice: Any) -> str | None:
    """Return why the answer ended in the serving provider's own words."""
    return text_of(extras_of(choice).get("native_finish_reason"))


def reasoning_of(members: Members) -> str | None:
    """Return reasoning text as OpenRouter (`reasoning`) or DeepSeek and vLLM (`reasoning_content`) spell it."""
    plain = text_within(members.get("reasoning")) or text_within(members.get("reasoning_content"))
    if plain or "reasoning_details" not in members:
        return plain or None
    parts = (members_of(part) for part in items_of(members, "reasoning_details"))
    texts = [text for part in parts if (text := text_of(part.get("text")) or text_of(part.get("summary")))]
    return "".join(texts) or None
