"""What filter rules look at: the values of a record by the names that OpenRouter's rules have for them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from llm_otel_broadcast.fields.json_text import bounded_json
from llm_otel_broadcast.record.content import Content
from llm_otel_broadcast.record.generation import Generation, GenerationFacts
from llm_otel_broadcast.record.media import Part
from llm_otel_broadcast.record.usage import Cost

_TEXT_MEMBERS: Final = ("content", "response", "arguments", "server_tool_call", "server_tool_call_response")
"""Members of parts that say something."""


def rule_values_of(
    record: Generation, cost: Cost | None, content: Callable[[], Content]
) -> Callable[[str], Sequence[object]]:
    """Return what answers for each field of a rule: nothing where it is not known.

    Args:
        record: has ended and settled.
        cost: stated or estimated.
        content: reads the record's content, which takes its time; called only where a rule looks at it.
    """

    def values(field: str) -> Sequence[object]:
        usage = record.usage
        # Functions, because most rules look at the model only, and content takes its time.
        readers: Mapping[str, Callable[[], Sequence[object]]] = {
            "model": lambda: (record.request_model, record.response_model),
            "provider": lambda: (provider_of(record),),
            "session_id": lambda: (record.fields.session_id,),
            "user_id": lambda: (record.fields.user,),
            "api_key_name": lambda: (record.fields.metadata.get("api_key_name"),),
            "finish_reason": lambda: [choice.finish_reason for choice in record.choices],
            "input": lambda: (texts_in([{"parts": content().system}, *content().inputs]),),
            "output": lambda: (texts_in(content().outputs),),
            "total_cost": lambda: (cost.total if cost else None,),
            "total_tokens": lambda: (usage.total_tokens if usage else None,),
            "prompt_tokens": lambda: (usage.input_tokens if usage else None,),
            "completion_tokens": lambda: (usage.output_tokens if usage else None,),
        }
        return readers[field]()

    # Made only where a rule asks: most destinations have none.
    return values


def provider_of(record: GenerationFacts) -> str | None:
    """Return who served the model; where that is not told, the model's author, else whom the call went to."""
    if record.serving_provider:
        return record.serving_provider
    author, slash, _ = (record.request_model or "").partition("/")
    return author if slash and author else record.server.provider


def texts_in(messages: Sequence[Part]) -> str:
    """Return the texts of messages, one below the other, without quotes and escapes, so that rules find them."""
    parts = [part for message in messages for part in message.get("parts", ())]
    texts = [part[name] for part in parts for name in _TEXT_MEMBERS if part.get(name)]
    return "\n".join(text if isinstance(text, str) else bounded_json(text)[0] for text in texts)
