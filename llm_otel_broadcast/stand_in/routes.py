"""Which path of the API is answered how, when no script says otherwise. A new operation is one row and one function.

The demo calls chat completions alone; the tests add the rest of the API by rows of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from llm_otel_broadcast.stand_in.answers import Answer, completion, error, message, stream, usage_of

ERROR_WORDS: Final = "trigger error"
"""A last message with these words is answered 400."""
GREETING: Final = "Hello! How can I help you today?"
PREFIX: Final = r"(/openai/deployments/(?P<deployment>[^/]+)|.*)"
"""What stands before an operation's path: on Azure its deployment, elsewhere anything."""
MAX_CHOICES: Final = 128
"""As the API has it; an answer of millions would take gigabytes."""
_CHARACTERS_PER_TOKEN: Final = 4

Members: TypeAlias = Mapping[str, Any]
"""The members of a request's JSON object and of its query; none of any other body."""
Route: TypeAlias = tuple[re.Pattern[str], Callable[[Members, re.Match[str]], Answer]]


def _read_json(body: bytes) -> object:
    return json.loads(body or b"{}")


def tokens(text: str) -> int:
    """Return a plausible number of tokens."""
    return -(-len(text) // _CHARACTERS_PER_TOKEN)


def _chat(members: Members, match: re.Match[str]) -> Answer:
    messages, count, options = members.get("messages"), members.get("n"), members.get("stream_options")
    messages = messages if isinstance(messages, list) else []
    count = 1 if count is None else count
    if type(count) is not int or not 1 <= count <= MAX_CHOICES:
        return error(400, f"n must be an integer from 1 to {MAX_CHOICES}")
    last = str(messages[-1].get("content")) if messages and isinstance(messages[-1], dict) else ""
    if ERROR_WORDS in last:
        return error(400, f"This model cannot answer: {last}", code="bad_request")
    model = match["deployment"] or str(members.get("model") or "gpt-4o-mini")
    answers = [message(GREETING)] * count
    usage = usage_of(tokens(json.dumps(messages)), tokens(GREETING) * len(answers), model=model)
    if not members.get("stream"):
        return completion(*answers, model=model, usage=usage)
    # OpenRouter sends usage in every stream, OpenAI where the request asks for it.
    sends_usage = "/" in model or (isinstance(options, dict) and options.get("include_usage"))
    return stream(*answers, model=model, usage=usage if sends_usage else None, azure=match["deployment"] is not None)


CHAT_ROUTES: Final[tuple[Route, ...]] = ((re.compile(PREFIX + r"/chat/completions\Z"), _chat),)


def usual_answer(
    path: str,
    body: bytes,
    parameters: Mapping[str, str],
    *,
    routes: Sequence[Route] = CHAT_ROUTES,
    read_members: Callable[[bytes], object] = _read_json,
) -> Answer:
    """Return what the API would say to a request.

    Args:
        path: of the request.
        body: of the request.
        parameters: of the query; a member of the body with the same name wins.
        routes: the operations, the first one that matches answers.
        read_members: how a body is read; a ValueError says that it cannot be.
    """
    for pattern, answer in routes:
        match = pattern.match(path)
        if match is not None:
            try:
                members = read_members(body)
                return answer({**parameters, **members} if isinstance(members, dict) else parameters, match)
            except (ValueError, RecursionError):
                # No JSON, half a surrogate pair, or nested deeper than Python reads or writes.
                return error(400, "the body is not JSON")
    return error(404, f"unknown path {path}", code="not_found")
