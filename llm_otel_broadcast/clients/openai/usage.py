"""Reading `usage`: OpenAI's token counts and OpenRouter's cost (spec, section 10.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llm_otel_broadcast.generation import Usage


def read_usage(usage: Any) -> Usage:
    """Return the counts and costs that are stated; what is absent or no number stays None."""
    stated = _members(usage)
    asked = _members(stated.get("prompt_tokens_details"))
    answered = _members(stated.get("completion_tokens_details"))
    costs = _members(stated.get("cost_details"))
    return Usage(
        _count(stated.get("prompt_tokens")),
        _count(stated.get("completion_tokens")),
        _count(stated.get("total_tokens")),
        cache_read_tokens=_count(asked.get("cached_tokens")),
        cache_write_tokens=_count(asked.get("cache_write_tokens")),
        reasoning_tokens=_count(answered.get("reasoning_tokens")),
        input_audio_tokens=_count(asked.get("audio_tokens")),
        output_audio_tokens=_count(answered.get("audio_tokens")),
        output_image_tokens=_count(answered.get("image_tokens")),
        cost=_amount(stated.get("cost")),
        input_cost=_amount(costs.get("upstream_inference_prompt_cost")),
        output_cost=_amount(costs.get("upstream_inference_completions_cost")),
    )


_NOTHING: Final[Mapping[str, Any]] = {}


def _members(thing: Any) -> Mapping[str, Any]:
    """Return an object's members, those its class does not know included."""
    if thing is None:
        return _NOTHING
    fields = getattr(thing, "__dict__", None)
    if fields is None:
        return thing if isinstance(thing, Mapping) else _NOTHING
    extra = getattr(thing, "__pydantic_extra__", None)
    return {**fields, **extra} if extra else fields


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _amount(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) else None
