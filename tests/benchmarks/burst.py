"""A host that calls without pause: does everything arrive, and what does the host's thread pay? Run in a process of its own."""

from __future__ import annotations

import statistics
import sys
import time

from llm_otel_broadcast.receiver import OtlpReceiver
from tests.benchmarks.host import by_hand, chat, client, instrumented

ROUNDS, CALLS = 15, 60


def burst(calls: int) -> None:
    """Print produced, delivered and dropped after `calls` calls as fast as they go."""
    made = client()
    with OtlpReceiver() as receiver, instrumented(receiver.endpoint, content=True) as handle:
        for _ in range(calls):
            chat(made)
        handle.flush(60)
        (books,) = handle.status().destinations
        print(books.produced, books.delivered, sum(books.dropped.values()))


def clock() -> None:
    """Print the medians of CPU time on the host's thread for a plain, a hand-traced and a traced call, in turns."""
    import llm_otel_broadcast

    made = client()
    hand = by_hand(chat)
    taken: dict[str, list[float]] = {"plain": [], "span": [], "ours": []}
    with OtlpReceiver() as receiver:
        for _ in range(ROUNDS):
            taken["plain"].append(_timed(chat, made))
            taken["span"].append(_timed(hand, made))
            handle = instrumented(receiver.endpoint, content=True)
            taken["ours"].append(_timed(chat, made))
            llm_otel_broadcast.uninstrument()
            handle.flush()
    print(*(statistics.median(taken[name]) for name in ("plain", "span", "ours")))


def _timed(work: object, made: object) -> float:
    for _ in range(5):
        work(made)  # type: ignore[operator]
    started = time.thread_time_ns()
    for _ in range(CALLS):
        work(made)  # type: ignore[operator]
    return (time.thread_time_ns() - started) / CALLS


if __name__ == "__main__":
    burst(int(sys.argv[1])) if len(sys.argv) > 1 else clock()
