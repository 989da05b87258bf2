"""What one answer took: tokens by kind, and money. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Mapping

from llm_otel_broadcast.record.named_tuple import NamedTuple
from llm_otel_broadcast.record.value import Value


class Usage(Value):
    """Token counts and cost as the response states them; None is "not stated", never zero.

    Counts of kinds (cached, reasoning, text, image, audio, video) are subsets of the totals.

    Attributes:
        seconds: length of the audio, where that is what is billed.
        cost: USD, as the response states it: OpenRouter, Perplexity, xAI, DeepInfra.
        upstream_cost: USD, what the serving provider charges; with a key of one's own (`is_byok`) it is not in `cost`.
        server_tools: how often tools of the provider's own were used, under the names that it has for them.
    """

    __slots__ = (
        "cache_read_tokens",
        "cache_write_tokens",
        "cached_audio_tokens",
        "cached_image_tokens",
        "cached_text_tokens",
        "cost",
        "input_audio_tokens",
        "input_cost",
        "input_image_tokens",
        "input_text_tokens",
        "input_tokens",
        "input_video_tokens",
        "is_byok",
        "output_audio_tokens",
        "output_cost",
        "output_image_tokens",
        "output_text_tokens",
        "output_tokens",
        "output_video_tokens",
        "reasoning_tokens",
        "seconds",
        "server_tools",
        "total_tokens",
        "upstream_cost",
    )

    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    input_text_tokens: int | None
    input_image_tokens: int | None
    input_audio_tokens: int | None
    input_video_tokens: int | None
    output_text_tokens: int | None
    output_image_tokens: int | None
    output_audio_tokens: int | None
    output_video_tokens: int | None
    cached_text_tokens: int | None
    cached_image_tokens: int | None
    cached_audio_tokens: int | None
    seconds: float | None
    cost: float | None
    input_cost: float | None
    output_cost: float | None
    upstream_cost: float | None
    is_byok: bool
    server_tools: Mapping[str, int] | None

    def __init__(
        self,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        total_tokens: int | None = None,
        **stated: object,
    ) -> None:
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens
        self.total_tokens = total_tokens
        self.cache_read_tokens = self.cache_write_tokens = self.reasoning_tokens = None
        self.input_text_tokens = self.input_image_tokens = self.input_audio_tokens = None
        self.input_video_tokens = self.output_text_tokens = self.output_image_tokens = None
        self.output_audio_tokens = self.output_video_tokens = self.cached_text_tokens = None
        self.cached_image_tokens = self.cached_audio_tokens = None
        self.seconds = self.cost = self.input_cost = None
        self.output_cost = self.upstream_cost = None
        self.server_tools = None
        self.is_byok = False
        for name, value in stated.items():
            setattr(self, name, value)


class Cost(NamedTuple):
    """USD; None where only the total is known."""

    input: float | None
    output: float | None
    total: float
    is_estimated: bool = True


def stated_cost(usage: Usage | None) -> Cost | None:
    """Return the cost as the response states it, None when it states none."""
    # Not stated is not zero: a cost of nothing is sent as such.
    if usage is None or usage.cost is None:
        return None
    return Cost(usage.input_cost, usage.output_cost, usage.cost, is_estimated=False)
