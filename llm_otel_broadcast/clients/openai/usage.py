"""Reading `usage`: OpenAI's token counts and OpenRouter's cost (spec, section 10.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_otel_broadcast.generation import Usage


def read_usage(usage: Any) -> Usage:
    """Return the counts and costs that are stated; what is absent or no number stays None."""
    asked = _member(usage, "prompt_tokens_details")
    answered = _member(usage, "completion_tokens_details")
    costs = _member(usage, "cost_details")
    return Usage(
        input_tokens=_count(_member(usage, "prompt_tokens")),
        output_tokens=_count(_member(usage, "completion_tokens")),
        total_tokens=_count(_member(usage, "total_tokens")),
        cache_read_tokens=_count(_member(asked, "cached_tokens")),
        cache_write_tokens=_count(_member(asked, "cache_write_tokens")),
        reasoning_tokens=_count(_member(answered, "reasoning_tokens")),
        input_audio_tokens=_count(_member(asked, "audio_tokens")),
        output_audio_tokens=_count(_member(answered, "audio_tokens")),
        output_image_tokens=_count(_member(answered, "image_tokens")),
        cost=_amount(_member(usage, "cost")),
        input_cost=_amount(_member(costs, "upstream_inference_prompt_cost")),
        output_cost=_amount(_member(costs, "upstream_inference_completions_cost")),
    )


def _member(thing: Any, name: str) -> Any:
    if thing is None:
        return None
    if isinstance(thing, Mapping):
        return thing.get(name)
    fields = getattr(thing, "__dict__", None)
    if fields is not None and name in fields:
        return fields[name]
    extra = getattr(thing, "__pydantic_extra__", None)
    return extra.get(name) if isinstance(extra, Mapping) else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _amount(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) else None
