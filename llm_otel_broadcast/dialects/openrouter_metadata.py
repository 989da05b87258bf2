"""What callers say about a call, and what OpenRouter's destinations may ask for in addition, as Broadcast names it. Pure."""

from __future__ import annotations

from typing import Final

from llm_otel_broadcast.fields.metadata import MAX_VALUE_CHARACTERS, metadata_attributes
from llm_otel_broadcast.record.generation import GenerationFacts
from llm_otel_broadcast.record.span_data import AttributeValue
from llm_otel_broadcast.record.trace_fields import Fields
from llm_otel_broadcast.record.usage import Cost

TRACE: Final = "trace.metadata."
ABANDONED: Final = "abandoned"
"""The type of failure of a stream that its caller closed."""
_Attributes = dict[str, AttributeValue]
_Values = dict[str, AttributeValue | None]


def caller_metadata(fields: Fields) -> _Attributes:
    """Return the members of `trace` that are the caller's own, in its order."""
    attributes = metadata_attributes(fields.metadata) if fields.metadata else {}
    return {key.removeprefix(TRACE): value for key, value in attributes.items()}


def generation_metadata(facts: GenerationFacts, cost: Cost | None, categories: frozenset[str]) -> _Attributes:
    """Return the additional metadata that a client knows of these categories; most of their fields only OpenRouter has.

    Args:
        facts: of the call.
        cost: stated, or estimated.
        categories: `cost`, `identity`, `request_context`.
    """
    values: _Values = {}
    usage = facts.usage
    if "cost" in categories and cost is not None:
        values |= {"usage": _amount(cost.total), "usage_is_estimated": cost.is_estimated}
    if "cost" in categories and usage is not None:
        # Only who states a cost says whose key it was.
        if usage.cost is not None:
            upstream_cost = _amount(usage.upstream_cost)
            values |= {"usage_upstream": upstream_cost, "is_byok": usage.is_byok}
            values["byok_usage_inference"] = upstream_cost if usage.is_byok else 0
        values["cache_write_tokens"] = usage.cache_write_tokens
        values |= {f"native_server_tool_use.{tool}": count for tool, count in (usage.server_tools or {}).items()}
    if "request_context" in categories:
        tier = facts.parameters.get("service_tier")
        values |= {
            # OpenRouter's word for chat completions; for its other routes none is known.
            "api_type": "completions" if facts.api == "chat_completions" else None,
            "requested_service_tier": str.__str__(tier) if isinstance(tier, str) else None,
            "service_tier": facts.response_service_tier,
            "streamed": facts.stream,
        }
    if categories & {"cost", "request_context"}:
        values["cancelled"] = facts.failure is not None and facts.failure.type == ABANDONED
    if "identity" in categories:
        values["external_user"] = facts.fields.user
    return {
        f"openrouter_generation.{name}": value[:MAX_VALUE_CHARACTERS] if isinstance(value, str) else value
        for name, value in values.items()
        if value is not None
    }


def _amount(usd: float | None) -> float | None:
    # On the wire an amount of nothing is the integer 0.
    return usd if usd is None or usd else 0
