"""When a gateway's tries at providers were, as far as that is known. Pure."""

from __future__ import annotations

from typing import Final

from llm_otel_broadcast.record.generation import GenerationFacts

MIN_ERROR_STATUS: Final = 400
_MICROSECOND_NS: Final = 1_000
_MILLISECOND_NS: Final = 1_000_000


def attempt_times(facts: GenerationFacts) -> list[tuple[int, int]]:
    """Return start and end of each attempt, in Unix nanoseconds.

    One begins where the one before it ended, and takes its latency. From the first one on whose latency is not stated, only
    the order is known: such an attempt takes the time of the whole generation, within which it was, and begins a microsecond
    after the one before it. None ends after that.
    """
    times: list[tuple[int, int]] = []
    start: int | None = facts.start_ns
    for index, attempt in enumerate(facts.attempts):
        if start is None or attempt.latency_ms is None:
            start = None
            # Phoenix, for one, keeps microseconds, and lists what began together in any order.
            times.append((min(facts.start_ns + index * _MICROSECOND_NS, facts.end_ns), facts.end_ns))
            continue
        end = min(start + round(attempt.latency_ms * _MILLISECOND_NS), facts.end_ns)
        times.append((start, end))
        start = end
    return times
