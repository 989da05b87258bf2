"""Which path of the API is answered how, when no script says otherwise. A new operation is one row and one function."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from llm_otel_broadcast.stand_in.answers import Answer, completion, error, message, stream, usage_of

ERROR_WORDS: Final = "trigger error"
"""A last message with these words is answered 400."""
GREETING: Final = "Hello! How can I help you today?"
_CHARACTERS_A_TOKEN: Final = 4

Asked: TypeAlias = Mapping[str, Any]
"""The request's JSON object; of any other body nothing."""


def usual_answer(path: str, body: bytes) -> Answer:
    """Return what the API would say to a request."""
    for pattern, answer in _ROUTES:
        found = pattern.match(path)
        if found is not None:
            try:
                document = json.loads(body or b"{}")
            except ValueError:
                return error(400, "the body is not JSON")
            return answer(document if isinstance(document, dict) else {}, found)
    return error(404, f"unknown path {path}", code="not_found")


def tokens(text: str) -> int:
    """Return a plausible number of tokens."""
    return -(-len(text) // _CHARACTERS_A_TOKEN)


def _chat(asked: Asked, found: re.Match[str]) -> Answer:
    messages = asked.get("messages") or []
    last = str(messages[-1].get("content")) if messages and isinstance(messages[-1], dict) else ""
    if ERROR_WORDS in last:
        return error(400, f"This model cannot answer: {last}", code="bad_request")
    model = found["deployment"] or str(asked.get("model") or "gpt-4o-mini")
    said = [message(GREETING)] * (asked.get("n") or 1)
    spent = usage_of(tokens(json.dumps(messages)), tokens(GREETING) * len(said), model=model)
    if not asked.get("stream"):
        return completion(*said, model=model, usage=spent)
    wanted = "/" in model or (asked.get("stream_options") or {}).get("include_usage")
    return stream(*said, model=model, usage=spent if wanted else None, azure=found["deployment"] is not None)


_ROUTES: Final[tuple[tuple[re.Pattern[str], Callable[[Asked, re.Match[str]], Answer]], ...]] = (
    (re.compile(r"(/openai/deployments/(?P<deployment>[^/]+)|.*)/chat/completions\Z"), _chat),
)
