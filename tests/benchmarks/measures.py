"""What a clock tells: `python -m tests.benchmarks.measures NAME` prints samples as JSON, of ways that take turns in one process."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import statistics
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeAlias

import llm_otel_broadcast
from tests.benchmarks import background
from tests.benchmarks.host import MEDIUM, MODEL, async_client, chat, chat_medium, client
from tests.benchmarks.modes import by_hand, new_provider

Samples: TypeAlias = dict[str, list[float]]
BURST_CALLS = 20_000
CONCURRENT_CALLS = 500
RECORDS_PER_S = 1_000
_WAITING_RECORDS = 400
LOADS = {"idle": 0.0, "30 % busy": 0.3, "80 % busy": 0.8}
"""The part of an event loop's time in which the program itself computes."""
QUANTILES = {"p50": 0.5, "p99": 0.99, "max": 1.0}
_TIMER_S = 0.001
_CALIBRATING_STEPS = 1_000_000


def _instrument(endpoint: str, **settings: Any) -> llm_otel_broadcast.Handle:
    return llm_otel_broadcast.instrument(endpoint=endpoint, app_spans=False, max_queue_bytes=200_000_000, **settings)


@contextmanager
def _watched(endpoint: str) -> Iterator[llm_otel_broadcast.Handle]:
    handle = _instrument(endpoint)
    try:
        yield handle
    finally:
        llm_otel_broadcast.uninstrument()
        handle.flush(60)


def delivery(rounds: int = 5, records: int = 2_000) -> Samples:
    """Microseconds of CPU in the background for each record that is handed to delivery, and by the clock."""
    samples: Samples = {}
    with background.sink() as endpoint:
        feeds = {"span": background.by_hand(endpoint), "ours": background.ours(endpoint)}
        for feed in feeds.values():
            feed.run(100)
        for _ in range(rounds):
            for name, feed in feeds.items():
                cpu_us, clock_us = background.measure(feed, records)
                samples.setdefault(f"{name} cpu", []).append(cpu_us)
                samples.setdefault(f"{name} clock", []).append(clock_us)
    return samples


def delivery_by_json() -> Samples:
    """The same where orjson, the extra `fast`, is not installed."""
    sys.modules["orjson"] = None  # type: ignore[assignment]
    return delivery()


def whole(rounds: int = 20, calls: int = 150) -> Samples:
    """Microseconds of CPU of the whole process for each call with 2 KB of content, sent to another process."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    made = client()
    samples: Samples = {"plain": [], "span": [], "ours": []}
    with background.sink() as endpoint:
        provider = new_provider(OTLPSpanExporter(endpoint))
        traced = by_hand(chat_medium, "chat_medium", provider=provider)

        def cpu_us(work: Callable[[Any], object], then: Callable[[], object]) -> float:
            for _ in range(10):
                work(made)
            then()
            started = time.process_time()
            for _ in range(calls):
                work(made)
            then()
            return (time.process_time() - started) / calls * 1e6

        for _ in range(rounds):
            samples["plain"].append(cpu_us(chat_medium, lambda: None))
            samples["span"].append(cpu_us(traced, provider.force_flush))
            with _watched(endpoint) as handle:
                samples["ours"].append(cpu_us(chat_medium, lambda handle=handle: handle.flush(60)))
    return samples


def burst(rounds: int = 8, calls: int = 1_000) -> Samples:
    """Microseconds by the clock for each call back to back, without a tracer, by hand and with us; and the share that arrives of many."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    made = client()
    samples: Samples = {"plain": [], "span": [], "ours": []}

    def clock_us(work: Callable[[Any], object], flush: Callable[[], object]) -> float:
        # What the first call and the first batch prepare is no part of it; what waits at the end is.
        for _ in range(10):
            work(made)
        flush()
        started = time.perf_counter()
        for _ in range(calls):
            work(made)
        flush()
        return (time.perf_counter() - started) / calls * 1e6

    with background.sink() as endpoint:
        provider = new_provider(OTLPSpanExporter(endpoint))
        traced = by_hand(chat, "chat", provider=provider)
        for _ in range(rounds):
            samples["plain"].append(clock_us(chat, lambda: None))
            samples["span"].append(clock_us(traced, provider.force_flush))
            with _watched(endpoint) as handle:
                samples["ours"].append(clock_us(chat, lambda handle=handle: handle.flush(60)))
        handle = _instrument(endpoint)
        before = handle.status().destinations[0].delivered
        for _ in range(BURST_CALLS):
            chat(made)
        handle.flush(120)
        samples["delivered"] = [(handle.status().destinations[0].delivered - before) / BURST_CALLS]
    return samples


def concurrent(rounds: int = 5) -> Samples:
    """Microseconds by the clock for each of many calls that are under way at once."""
    samples: Samples = {"plain": [], "ours": []}

    async def clock_us() -> float:
        made = async_client()

        async def call() -> None:
            await made.chat.completions.create(model=MODEL, messages=MEDIUM)  # type: ignore[arg-type]

        await call()
        started = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(CONCURRENT_CALLS)))
        return (time.perf_counter() - started) / CONCURRENT_CALLS * 1e6

    with background.sink() as endpoint:
        for _ in range(rounds):
            samples["plain"].append(asyncio.run(clock_us()))
            with _watched(endpoint):
                samples["ours"].append(asyncio.run(clock_us()))
    return samples


def _lateness_ms(seconds: float, work: int, feed: background.Feed | None) -> list[float]:
    """Return how late each timer of an event loop is, sorted, where one turn sleeps, hands over what is due, and computes.

    Args:
        seconds: how long it goes on.
        work: how far it counts in each turn.
        feed: what a thousand records a second are handed over to; None: there are none.
    """
    records = iter(feed.make(int(seconds * RECORDS_PER_S)) if feed else ())

    async def turns() -> list[float]:
        late: list[float] = []
        began = time.perf_counter()
        handed_over = 0
        while (spent_s := time.perf_counter() - began) < seconds:
            due = time.perf_counter() + _TIMER_S
            await asyncio.sleep(_TIMER_S)
            late.append((time.perf_counter() - due) * 1e3)
            due_records = int(spent_s * RECORDS_PER_S) - handed_over
            handed_over += due_records
            for record in islice(records, due_records):
                assert feed is not None
                feed.put(record)
            sum(range(work))
        return sorted(late)

    late = asyncio.run(turns())
    if feed is not None:
        feed.flush()
    return late


def _steps_per_s(seconds: float, feed: background.Feed | None) -> float:
    """Return how far a computing thread gets, while another one hands over a thousand records a second in portions."""
    records = iter(feed.make(int(seconds * RECORDS_PER_S)) if feed else ())

    def hand_over() -> None:
        due = time.monotonic()
        while feed is not None and (portion := list(islice(records, RECORDS_PER_S // 10))):
            for record in portion:
                feed.put(record)
            due += 0.1
            time.sleep(max(0.0, due - time.monotonic()))

    thread = threading.Thread(target=hand_over)
    thread.start()
    end, steps = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        sum(range(1_000))
        steps += 1
    thread.join()
    if feed is not None:
        feed.flush()
    return steps / seconds


def company(rounds: int = 4, seconds: float = 2.0) -> Samples:
    """How late the timers of an event loop are (ms), and how far a computing thread gets, beside an export."""
    samples: Samples = {}
    with background.sink() as endpoint:
        feeds = {"plain": None, "span": background.by_hand(endpoint), "ours": background.ours(endpoint)}
        # What the background imports at its first record is no part of it.
        for feed in feeds.values():
            if feed is not None:
                feed.run(100)
        started = time.perf_counter()
        sum(range(_CALIBRATING_STEPS))
        steps_per_ms = _CALIBRATING_STEPS / (time.perf_counter() - started) / 1e3
        for _ in range(rounds):
            for name, feed in feeds.items():
                for load, share in LOADS.items():
                    # The rest of a turn is the timer.
                    work_ms = _TIMER_S * 1e3 * share / (1 - share)
                    late = _lateness_ms(seconds, int(work_ms * steps_per_ms), feed)
                    for quantile, part in QUANTILES.items():
                        value = late[min(int(len(late) * part), len(late) - 1)]
                        samples.setdefault(f"{name} {load} {quantile}", []).append(value)
                samples.setdefault(f"{name} steps", []).append(_steps_per_s(seconds / 2, feed))
    return samples


def memory() -> Samples:
    """Bytes that a waiting generation holds, its content aside, which is the caller's own."""
    made = client()
    handle = llm_otel_broadcast.instrument(
        destinations=[llm_otel_broadcast.Destination(endpoint="http://127.0.0.1:9", batch_delay=3_600)],
        app_spans=False,
        exit_timeout=0,
    )
    for _ in range(20):
        chat_medium(made)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(_WAITING_RECORDS):
        chat_medium(made)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] - before
    assert handle.status().destinations[0].queued_records >= _WAITING_RECORDS
    return {"ours": [held / _WAITING_RECORDS]}


def serve_nothing() -> int:
    """Return the port of a server that takes connections and never answers."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    threading.Thread(target=lambda: [listener.accept() for _ in iter(int, 1)], daemon=True).start()
    return int(listener.getsockname()[1])


MEASURES: dict[str, Callable[[], Samples]] = {
    each.__name__: each for each in (delivery, delivery_by_json, whole, burst, concurrent, company, memory)
}


def median_of(samples: list[float]) -> float:
    return statistics.median(samples)


if __name__ == "__main__":
    print(json.dumps(MEASURES[sys.argv[1]]()), flush=True)
    # Not the usual end: what still waits is nobody's.
    os._exit(0)
