"""What is known of a record, by the names that filter rules have for it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from llm_otel_broadcast.dialects.content import input_messages, output_messages, system_instructions
from llm_otel_broadcast.fields.json_text import bounded_json
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.usage import Cost

_TEXTS: Final = ("content", "response", "arguments", "server_tool_call", "server_tool_call_response")
"""Members of parts that say something."""


def facts_of(record: Generation, cost: Cost | None) -> Callable[[str], Sequence[object]]:
    """Return what answers for each field: nothing where it is not known."""
    usage = record.usage
    known: Mapping[str, Callable[[], Sequence[object]]] = {
        "model": lambda: (record.request_model, record.response_model),
        "provider": lambda: (provider_of(record),),
        "session_id": lambda: (record.fields.session_id,),
        "user_id": lambda: (record.fields.user,),
        "api_key_name": lambda: (record.fields.metadata.get("api_key_name"),),
        "finish_reason": lambda: [choice.finish_reason for choice in record.choices],
        "input": lambda: (said_in([*_system(record), *input_messages(record.messages or ())]),),
        "output": lambda: (said_in(output_messages(record.choices, record.server_calls)),),
        "total_cost": lambda: (cost.total if cost else None,),
        "total_tokens": lambda: (usage.total_tokens if usage else None,),
        "prompt_tokens": lambda: (usage.input_tokens if usage else None,),
        "completion_tokens": lambda: (usage.output_tokens if usage else None,),
    }
    return lambda field: known[field]()


def provider_of(record: Generation) -> str | None:
    """Return who served the model; where that is not told, the model's author, else whom the call went to."""
    if record.serving_provider:
        return record.serving_provider
    author, slash, _ = (record.request_model or "").partition("/")
    return author if slash and author else record.server.provider


def said_in(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the texts of messages, one below the other, without quotes and escapes, so that rules find them."""
    parts = [part for message in messages for part in message.get("parts", ())]
    said = [part[name] for part in parts for name in _TEXTS if part.get(name)]
    return "\n".join(text if isinstance(text, str) else bounded_json(text)[0] for text in said)


def _system(record: Generation) -> list[dict[str, Any]]:
    return [{"role": "system", "parts": system_instructions(record.instructions)}] if record.instructions else []
