"""What OpenRouter adds to an answer (spec, sections 10.2, 10.3 and 10.5)."""

from __future__ import annotations

from typing import Any, Final

from llm_otel_broadcast.clients.reading import Members, extras_of, items_of, members_of, text_of, text_within
from llm_otel_broadcast.generation import Attempt, Failure, Generation

_MAX_ATTEMPTS: Final = 64


def note_error(record: Generation, said: Members) -> None:
    """Take the `error` member of an answer 200: the provider failed late."""
    error = said.get("error")
    if error is None:
        return
    told = members_of(error)
    code, message = told.get("code"), told.get("message")
    record.failure = Failure(str(code or "error"), str(message or ""), code=str(code) if code else None)


def note_broken_choice(record: Generation) -> None:
    """Take a choice of a stream that ended in `error`: the provider broke off (spec, section 10.3)."""
    if record.failure is None and any(choice.finish_reason == "error" for choice in record.choices):
        record.failure = Failure("error", "the provider ended the stream with an error")


def native_reason_of(choice: Any) -> str | None:
    """Return why the answer ended in the serving provider's own words."""
    return text_of(extras_of(choice).get("native_finish_reason"))


def reasoning_of(said: Members) -> str | None:
    """Return reasoning text as OpenRouter (`reasoning`) or DeepSeek and vLLM (`reasoning_content`) spell it."""
    plain = text_within(said.get("reasoning")) or text_within(said.get("reasoning_content"))
    if plain or "reasoning_details" not in said:
        return plain or None
    parts = (members_of(part) for part in items_of(said, "reasoning_details"))
    texts = [text for part in parts if (text := text_of(part.get("text")) or text_of(part.get("summary")))]
    return "".join(texts) or None


def read_attempts(metadata: Any) -> list[Attempt]:
    """Return the tries that `openrouter_metadata` lists, which the request header `X-OpenRouter-Metadata` asks for."""
    tries = list(items_of(members_of(metadata), "attempts"))[:_MAX_ATTEMPTS]
    return [_attempt(members_of(one)) for one in tries]


def _attempt(said: Members) -> Attempt:
    status = said.get("status")
    return Attempt(
        provider=text_of(said.get("provider")) or "unknown",
        model=text_of(said.get("model")),
        status=status if isinstance(status, int | str) else None,
    )
