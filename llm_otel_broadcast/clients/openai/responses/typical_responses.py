"""The response that nearly every call gets, read on a path of its own: completed, with texts and calls of functions, and nothing odd.

It takes a tenth of the instructions of the general path (`whole.py`), which reads this response to the same record as well: no
member is looked for among unknown ones where there are none, and the counts are read in the background.
"""

from __future__ import annotations

from typing import Any, Final

from llm_otel_broadcast.clients.openai.responses.item_types import FUNCTION_CALLS
from llm_otel_broadcast.clients.openai.responses.items import tool_call
from llm_otel_broadcast.clients.openai.responses.whole import FETCH
from llm_otel_broadcast.clients.openai.usage import copy_counts, read_usage
from llm_otel_broadcast.clients.reader import MAX_ITEMS, MAX_NAME_CHARACTERS, declares_none
from llm_otel_broadcast.record.generation import Choice, Generation, ToolCall
from llm_otel_broadcast.record.usage import UnreadUsage

_ODD_MEMBERS: Final = frozenset(
    {"base_resp", "conversation_id", "openrouter_metadata", "provider", "status_details", "x_groq"}
)
"""What the general path looks for as well. A client that comes to declare one of them: its responses are read there."""


def read_typical_response(record: Generation, response: Any) -> bool:
    """Fill the record from a whole response. False: it is not a typical one, and nothing has been filled."""
    kind: Any = type(response)
    try:
        members = response.__dict__
        output, usage, model, identity = members["output"], members["usage"], members["model"], members["id"]
        tier = members.get("service_tier") or ""
        if (
            response.__pydantic_extra__
            or not declares_none(kind, _ODD_MEMBERS)
            or members["status"] != "completed"
            or members["object"] != "response"
            or members["error"]
            or members.get("conversation") is not None
            or record.operation == FETCH
            or type(output) is not list
            or len(output) > MAX_ITEMS
            or type(model) is not str
            or type(identity) is not str
            or type(tier) is not str
            # none of them is longer than a name may be
            or len(model) + len(identity) + len(tier) > MAX_NAME_CHARACTERS
        ):
            return False
        wants_content = record.wants_content and "outputs" not in record.unwanted
        texts: list[str] = []
        tool_calls: list[ToolCall] = []
        for item in output:
            if not _add_item(item, texts, tool_calls, content=wants_content):
                return False
        counts = None if usage is None else copy_counts(usage)
    except (AttributeError, KeyError):
        return False
    text = "".join(texts)
    if counts is None or len(text) > record.max_characters:
        return False
    record.unread_usage = UnreadUsage(read_usage, counts)
    record.response_id = identity or record.response_id
    record.response_model = record.served_model or model or record.response_model
    record.response_service_tier = tier or record.response_service_tier
    # what the request states is still to be looked at
    record.is_limited = record.details is None and record.served_model is None and not tool_calls
    record.details = {**(record.details or {}), "response_status": "completed"}
    reason = "tool_calls" if tool_calls else "stop"
    record.choices = [Choice(0, "assistant", reason, text or None, None, None, None, tool_calls, [])]
    record.size += len(text)
    if tool_calls:
        record.tool_call_count = len(tool_calls)
        record.size += sum([len(call.arguments) for call in tool_calls])
    record.server_calls = []
    return True


def _add_item(item: Any, texts: list[str], tool_calls: list[ToolCall], *, content: bool) -> bool:
    """Add a message with texts alone, reasoning that is not shown, or the call of a function. False: it is something else."""
    members = item.__dict__
    kind = members["type"]
    if kind == "message":
        if not content or members["role"] != "assistant":
            return not content
        parts = members["content"]
        if type(parts) is not list or len(parts) > MAX_ITEMS:
            return False
        for part in parts:
            text = part.__dict__["text"]
            if type(text) is not str or not text:
                return False
            texts.append(text)
        return True
    # a client that does not know all members of shown reasoning has them apart
    if item.__pydantic_extra__ or type(kind) is not str:
        return False
    if kind == "reasoning":
        return not content or not (members["summary"] or members.get("content"))
    if kind in FUNCTION_CALLS:
        tool_calls.append(tool_call(item, content=content))
        return True
    return False
