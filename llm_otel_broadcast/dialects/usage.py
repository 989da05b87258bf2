"""What a generation took, as attributes of a span: token counts and cost. Pure."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from llm_otel_broadcast.record.span_data import AttributeValue
from llm_otel_broadcast.record.usage import Cost, Usage

_Attributes = dict[str, AttributeValue]
# Names of the conventions where they have one; totals, and counts by modality, are ours in the same manner.
_USAGE: Final = (
    ("input_tokens", "gen_ai.usage.input_tokens"),
    ("output_tokens", "gen_ai.usage.output_tokens"),
    ("total_tokens", "gen_ai.usage.total_tokens"),
    ("cache_read_tokens", "gen_ai.usage.cache_read.input_tokens"),
    ("cache_write_tokens", "gen_ai.usage.cache_write.input_tokens"),
    # The name of the published versions, which backends read.
    ("cache_write_tokens", "gen_ai.usage.cache_creation.input_tokens"),
    ("reasoning_tokens", "gen_ai.usage.reasoning.output_tokens"),
    ("input_text_tokens", "gen_ai.usage.text.input_tokens"),
    ("input_image_tokens", "gen_ai.usage.image.input_tokens"),
    ("input_audio_tokens", "gen_ai.usage.audio.input_tokens"),
    ("input_video_tokens", "gen_ai.usage.video.input_tokens"),
    ("output_text_tokens", "gen_ai.usage.text.output_tokens"),
    ("output_image_tokens", "gen_ai.usage.image.output_tokens"),
    ("output_audio_tokens", "gen_ai.usage.audio.output_tokens"),
    ("output_video_tokens", "gen_ai.usage.video.output_tokens"),
    ("cached_text_tokens", "gen_ai.usage.text.cache_read.input_tokens"),
    ("cached_image_tokens", "gen_ai.usage.image.cache_read.input_tokens"),
    ("cached_audio_tokens", "gen_ai.usage.audio.cache_read.input_tokens"),
    ("seconds", "gen_ai.usage.audio.seconds"),
    ("upstream_cost", "openrouter.usage.upstream_inference_cost"),
)
_KEYS: Final = tuple(key for _, key in _USAGE)
# In one step: twenty attributes are read for each record and destination.
_ALL_COUNTS: Final = attrgetter(*(name for name, _ in _USAGE))


def usage_attributes(usage: Usage) -> _Attributes:
    """Return the counts that are known, by the names of the conventions, and ours where they have none."""
    counts: _Attributes = {
        key: count for key, count in zip(_KEYS, _ALL_COUNTS(usage), strict=True) if count is not None
    }
    if usage.server_tools:
        for name, count in usage.server_tools.items():
            counts[f"gen_ai.usage.server_tools.{name}"] = count
    return counts | {"openrouter.usage.is_byok": True} if usage.is_byok else counts


def cost_attributes(cost: Cost | None) -> _Attributes:
    """Return the cost in USD, and whether the response states it or it is an estimate."""
    if cost is None:
        return {}
    attributes: _Attributes = {
        "gen_ai.usage.total_cost": cost.total,
        # The one name of a cost that many backends read.
        "gen_ai.usage.cost": cost.total,
        "gen_ai.usage.cost.source": "estimated" if cost.is_estimated else "response",
    }
    # Many servers state a total only, and a share of it is never guessed.
    if cost.input is not None:
        attributes["gen_ai.usage.input_cost"] = cost.input
    if cost.output is not None:
        attributes["gen_ai.usage.output_cost"] = cost.output
    return attributes
