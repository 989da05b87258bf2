"""The answer that nearly every chat call gets, read on a path of its own: one choice with a text or calls, and nothing odd.

It takes a quarter of the instructions of the general path, which reads this answer to the same record as well: a model of the
client's is asked for nothing by name, its class tells what need not be looked for, and the counts are read in the background.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from llm_otel_broadcast.clients.openai.tool_calls import read_call
from llm_otel_broadcast.clients.openai.usage import DETAILS_OF_CHAT, read_usage
from llm_otel_broadcast.clients.reader import MAX_ITEMS, MAX_NAME_CHARACTERS, Members
from llm_otel_broadcast.record.generation import Choice, Generation

_ODD_MEMBERS: Final = frozenset({"base_resp", "error", "openrouter_metadata", "provider", "x_groq"})
"""Members of an answer that say what its typical members do not."""
_TYPICAL_COUNTS: Final = frozenset({"completion_tokens", "prompt_tokens", "total_tokens"})
_TEXT_OR_NONE: Final = frozenset({str, type(None)})


def read_typical_answer(record: Generation, response: Any, size_of: Callable[[Choice], int]) -> bool:
    """Fill the record from a whole answer. False: it is not a typical one, and nothing has been filled.

    Args:
        record: of a call whose request has been read.
        response: the answer.
        size_of: returns what a choice takes in the queue.
    """
    kind: Any = type(response)
    try:
        members = response.__dict__
        choices, usage, model, identity = members["choices"], members["usage"], members["model"], members["id"]
        tier, fingerprint = members["service_tier"], members["system_fingerprint"]
        if (
            response.__pydantic_extra__
            or not _is_typical(kind)
            or type(choices) is not list
            or len(choices) != 1
            or type(model) is not str
            or type(identity) is not str
            or type(tier) not in _TEXT_OR_NONE
            or type(fingerprint) not in _TEXT_OR_NONE
            # none of them is longer than a name may be
            or len(model) + len(identity) + len(tier or "") + len(fingerprint or "") > MAX_NAME_CHARACTERS
        ):
            return False
        choice = _typical_choice(record, choices[0])
        counts = None if usage is None else _typical_counts(usage)
    except (AttributeError, KeyError):
        return False
    if choice is None or counts is None:
        return False
    record.unread_usage = (read_usage, counts)
    record.response_id = identity or record.response_id
    record.response_model = record.served_model or model or record.response_model
    record.response_service_tier = tier or record.response_service_tier
    record.system_fingerprint = fingerprint or record.system_fingerprint
    record.choices = [choice]
    if choice.tool_calls:
        record.tool_call_count += len(choice.tool_calls)
        record.size += size_of(choice)
    else:
        record.size += len(choice.content or "")
        # what the request states is still to be looked at
        record.is_limited = record.details is None and record.served_model is None
    return True


@lru_cache(maxsize=32)
def _is_typical(kind: type) -> bool:
    """Return whether the class of an answer declares none of the members that say more than the others."""
    return _ODD_MEMBERS.isdisjoint(getattr(kind, "model_fields", _ODD_MEMBERS))


def _typical_choice(record: Generation, choice: Any) -> Choice | None:
    """Return a choice with nothing but a text or tool calls, else None."""
    members = choice.__dict__
    message = members["message"]
    answer = message.__dict__
    reason, calls, content, role = members["finish_reason"], answer["tool_calls"], answer["content"], answer["role"]
    if (
        choice.__pydantic_extra__
        or message.__pydantic_extra__
        or answer["refusal"] is not None
        or answer["function_call"] is not None
        or answer.get("audio") is not None
        or type(members["index"]) is not int
        or type(reason) is not str
        or reason == "error"
        or type(role) is not str
        or not role
        or not 0 < len(reason) <= MAX_NAME_CHARACTERS - len(role)
        or type(content) not in _TEXT_OR_NONE
        or (content and len(content) > record.max_characters)
        or (calls is not None and (type(calls) is not list or len(calls) > MAX_ITEMS))
    ):
        return None
    wants_answer = record.wants_content and "outputs" not in record.unwanted
    if not wants_answer:
        role, content = "assistant", None
    tool_calls = [read_call(call, content=wants_answer) for call in calls] if calls else []
    return Choice(members["index"], role, reason, content or None, None, None, None, tool_calls, [])


def _typical_counts(usage: Any) -> Members | None:
    """Return a copy of the counts, for `read_usage` in the background; None where they are not those that OpenAI states."""
    kind: Any = type(usage)
    details_names = _details_in(kind)
    if details_names is None or usage.__pydantic_extra__:
        return None
    counts: dict[str, Any] = usage.__dict__.copy()
    for name in details_names:
        details = counts[name]
        if details is not None:
            if details.__pydantic_extra__:
                return None
            counts[name] = details.__dict__.copy()
    return counts


@lru_cache(maxsize=32)
def _details_in(kind: type) -> tuple[str, ...] | None:
    """Return which members of a class of usage hold parts of a total; None where it has other members than we know."""
    names = frozenset(getattr(kind, "model_fields", ()))
    if not _TYPICAL_COUNTS <= names <= {*_TYPICAL_COUNTS, *DETAILS_OF_CHAT}:
        return None
    return tuple(names - _TYPICAL_COUNTS)
