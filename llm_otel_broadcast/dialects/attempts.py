"""When a gateway's tries at providers were, as far as that is known. Pure."""

from __future__ import annotations

from typing import Final

from llm_otel_broadcast.record.generation import GenerationFacts

MIN_ERROR_STATUS: Final = 400
_MILLISECOND_NS: Final = 1_000_000


def attempt_times(facts: GenerationFacts) -> list[tuple[int, int]]:
    """Return start and end of each attempt, in Unix nanoseconds.

    One begins where the one before it ended, and takes its latency. From the first one on whose latency is not stated, only
    the order is known: such an attempt takes the time of the whole generation, within which it was. None ends after that.
    """
    times: list[tuple[int, int]] = []
    start: int | None = facts.start_ns
    for attempt in facts.attempts:
        if start is None or attempt.latency_ms is None:
            start = None
            times.append((facts.start_ns, facts.end_ns))
            continue
        end = min(start + round(attempt.latency_ms * _MILLISECOND_NS), facts.end_ns)
        times.append((start, end))
        start = end
    return times
