"""The answer that nearly every chat call gets, read on a path of its own: one choice with a text or calls, and nothing odd.

That takes a third of the instructions that the general path takes, which reads this answer to the same record as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from llm_otel_broadcast.clients.openai.tool_calls import read_call
from llm_otel_broadcast.clients.openai.usage import read_usage
from llm_otel_broadcast.clients.reader import MAX_ITEMS, MAX_NAME_CHARACTERS, Members
from llm_otel_broadcast.record.generation import Choice, Generation

_ODD_MEMBERS: Final = frozenset({"base_resp", "error", "openrouter_metadata", "provider", "x_groq"})
"""Members of an answer that say what its typical members do not."""
_TEXT_OR_NONE: Final = frozenset({str, type(None)})


def read_typical_answer(record: Generation, response: Any, size_of: Callable[[Choice], int]) -> bool:
    """Fill the record from a whole answer. False: it is not a typical one, and nothing has been filled.

    Args:
        record: of a call whose request has been read.
        response: the answer.
        size_of: returns what a choice takes in the queue.
    """
    members = _typical_members(response)
    if members is None or not _ODD_MEMBERS.isdisjoint(members):
        return False
    choices = members.get("choices")
    if type(choices) is not list or len(choices) != 1:
        return False
    identity, model = members.get("id"), members.get("model")
    tier, fingerprint = members.get("service_tier"), members.get("system_fingerprint")
    for name in (identity, model, tier, fingerprint):
        if type(name) not in _TEXT_OR_NONE or (name and len(name) > MAX_NAME_CHARACTERS):
            return False
    choice = _read_typical_choice(record, choices[0])
    if choice is None:
        return False
    usage = members.get("usage")
    if usage is not None:
        record.usage = read_usage(usage)
    record.response_id = identity or record.response_id
    record.response_model = record.served_model or model or record.response_model
    record.response_service_tier = tier or record.response_service_tier
    record.system_fingerprint = fingerprint or record.system_fingerprint
    record.choices = [choice]
    record.tool_call_count += len(choice.tool_calls)
    record.size += size_of(choice)
    # names of tool calls and what the request states are still to be looked at
    record.is_limited = not choice.tool_calls and record.details is None and record.served_model is None
    return True


def _typical_members(value: Any) -> Members | None:
    """Return the members of a model of the client's that has no others, else None."""
    try:
        members: Members | None = None if value.__pydantic_extra__ else value.__dict__
    except AttributeError:
        return None
    return members


def _read_typical_choice(record: Generation, choice: Any) -> Choice | None:
    """Return a choice with nothing but a text or tool calls, else None."""
    members = _typical_members(choice)
    if members is None or "usage" in members:
        return None
    message = _typical_members(members.get("message"))
    if message is None:
        return None
    index, finish_reason, calls = members.get("index"), members.get("finish_reason"), message.get("tool_calls")
    content, role = message.get("content"), message.get("role")
    if (
        type(index) is not int
        or type(finish_reason) is not str
        or not 0 < len(finish_reason) <= MAX_NAME_CHARACTERS
        or finish_reason == "error"
        or type(content) not in _TEXT_OR_NONE
        or (content and len(content) > record.max_characters)
        or type(role) is not str
        or not 0 < len(role) <= MAX_NAME_CHARACTERS
        or message.get("refusal") is not None
        or message.get("function_call") is not None
        or message.get("audio") is not None
        or (calls is not None and (type(calls) is not list or len(calls) > MAX_ITEMS))
    ):
        return None
    wants_answer = record.wants_answer
    answer = Choice(
        index, role if wants_answer else "assistant", finish_reason, (content or None) if wants_answer else None
    )
    if calls:
        answer.tool_calls = [read_call(call, content=wants_answer) for call in calls]
    return answer
