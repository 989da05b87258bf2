"""What one answer took: tokens by kind, and money. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(slots=True)
class Usage:
    """Token counts and cost as the response states them; None is "not stated", never zero."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    # Counts of kinds (cached, reasoning, text, image, audio, video), which are subsets of the totals.
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    input_text_tokens: int | None = None
    input_image_tokens: int | None = None
    input_audio_tokens: int | None = None
    input_video_tokens: int | None = None
    output_text_tokens: int | None = None
    output_image_tokens: int | None = None
    output_audio_tokens: int | None = None
    output_video_tokens: int | None = None
    cached_text_tokens: int | None = None
    cached_image_tokens: int | None = None
    cached_audio_tokens: int | None = None
    seconds: float | None = None
    """Length of the audio, where that is what is billed."""
    cost: float | None = None
    """USD, as the response states it: OpenRouter, Perplexity, xAI, DeepInfra."""
    input_cost: float | None = None
    output_cost: float | None = None
    upstream_cost: float | None = None
    """USD, what the serving provider charges; with a key of one's own (`is_byok`) it is not in `cost`."""
    is_byok: bool = False
    server_tools: Mapping[str, int] | None = None
    """How often tools of the provider's own were used, under the names that it has for them."""


class UnreadUsage:
    """The counts of an answer as they were stated, read once, when they are first asked for.

    Args:
        read: reads them.
        stated: the counts, which nobody changes any more.
    """

    __slots__ = ("_read", "_stated", "_usage")

    def __init__(self, read: Callable[[Mapping[str, object]], Usage], stated: Mapping[str, object]) -> None:
        self._read = read
        self._stated = stated
        self._usage: Usage | None = None

    def usage(self) -> Usage:
        # Two threads that read at once read the same.
        if self._usage is None:
            self._usage = self._read(self._stated)
        return self._usage


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
