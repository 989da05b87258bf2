"""A record's answers as neutral content: what is the same whatever client library they came through. In the background."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from llm_otel_broadcast.fields.json_text import plain
from llm_otel_broadcast.record.content import FORM, without_form
from llm_otel_broadcast.record.generation import Choice, ServerCall
from llm_otel_broadcast.record.media import Part

_SPACED_JSON: Final = re.compile(r'\{"[^"\\]*": ')
"""How a JSON object begins that has a blank after each separator, as Python's `json` writes it and several models do."""


def output_messages(
    choices: Sequence[Choice], server_calls: Sequence[ServerCall] = (), *, with_form: bool = False
) -> list[Part]:
    """Return one message for each choice; its finish reason is a member because consumers still read it there.

    Calls of the provider's own tools come first in the first message: they were made for it. A choice without content says
    nothing. `with_form`: with what `record.content.FORM` is for.
    """
    messages: list[Part] = []
    for choice in choices:
        parts: list[Part] = [{"type": "reasoning", "content": choice.reasoning}] if choice.reasoning else []
        parts += [text_part(choice.content)] if choice.content else []
        parts += refusal_parts(choice.refusal)
        parts += [
            {**tool_call_part(call.id, call.name, call.arguments), **(call.details or {})} for call in choice.tool_calls
        ]
        parts += [{**medium} for medium in choice.media]
        finish = {"finish_reason": choice.finish_reason} if choice.finish_reason else {}
        messages.append({"role": choice.role, "parts": parts, **finish})
    if server_calls:
        messages = messages or [{"role": "assistant", "parts": []}]
        messages[0]["parts"] = [*map(server_call_part, server_calls), *messages[0]["parts"]]
    return messages if with_form else [without_form(message) for message in messages]


def text_part(content: object) -> Part:
    """Return a text; what is none as JSON, because the conventions' schema knows texts only."""
    is_text = content is None or isinstance(content, str)
    return {"type": "text", "content": content if is_text else json.dumps(content, ensure_ascii=False)}


def refusal_parts(text: object) -> list[Part]:
    """Return the part that says why the model did not answer; none where it did."""
    return [{"type": "refusal", "content": text}] if text else []


def tool_call_part(call_id: object, name: object, arguments: object) -> Part:
    """Return a call that the caller has to run; its arguments as an object when they are the JSON text of one."""
    form: Part = {}
    if isinstance(arguments, str):
        # The model may write anything where JSON belongs, also a thousand brackets: that stays the text that it is.
        with suppress(ValueError, RecursionError):
            value = json.loads(arguments)
            if isinstance(value, dict):
                form = {FORM: {"is_spaced": True}} if _SPACED_JSON.match(arguments) else {}
                arguments = plain(value)
    identity = {"id": call_id} if call_id else {}
    return {"type": "tool_call", **identity, "name": name, "arguments": arguments, **form}


def server_call_part(call: ServerCall) -> Part:
    """Return a call of a tool that the provider ran itself."""
    identity = {"id": call.id} if call.id else {}
    status = {"status": call.status} if call.status else {}
    members = {"type": call.kind, **status, **plain(call.details or {})}
    return {"type": "server_tool_call", **identity, "name": call.kind, "server_tool_call": members}
