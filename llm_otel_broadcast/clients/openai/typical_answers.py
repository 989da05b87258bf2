"""The answer that nearly every chat call gets, read on a path of its own: one choice with a text or calls, and nothing odd.

It takes a quarter of the instructions of the general path, which reads this answer to the same record as well: a model of the
client's is asked for nothing by name, its class tells what need not be looked for, and the counts are read in the background.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from llm_otel_broadcast.clients.openai.tool_calls import read_call
from llm_otel_broadcast.clients.openai.usage import copy_counts, read_usage
from llm_otel_broadcast.clients.reader import MAX_ITEMS, MAX_NAME_CHARACTERS, declares_only
from llm_otel_broadcast.record.generation import Choice, Generation
from llm_otel_broadcast.record.usage import UnreadUsage

_MEMBERS: Final = frozenset(
    [
        "choices",
        "created",
        "id",
        "metadata",
        "model",
        "moderation",
        "object",
        "service_tier",
        "system_fingerprint",
        "usage",
    ]
)
"""What the client declares of an answer. A newer one may declare more: its answers are read on the general path."""
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
            or not declares_only(kind, _MEMBERS)
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
        counts = None if usage is None else copy_counts(usage)
    except (AttributeError, KeyError):
        return False
    if choice is None or counts is None:
        return False
    record.unread_usage = UnreadUsage(read_usage, counts)
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
