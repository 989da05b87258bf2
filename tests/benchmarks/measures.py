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
_QUANTILE = 0.99


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
        benches = {"span": background.by_hand(endpoint), "ours": background.ours(endpoint)}
        for bench in benches.values():
            bench(100)
        for _ in range(rounds):
            for name, bench in benches.items():
                cpu_us, clock_us = background.measure(bench, records)
                samples.setdefault(f"{name} cpu", []).append(cpu_us)
                samples.setdefault(f"{name} clock", []).append(clock_us)
    return samples


def whole(rounds: int = 7, calls: int = 150) -> Samples:
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


def burst(rounds: int = 4, calls: int = 1_500) -> Samples:
    """Microseconds by the clock for each call back to back, without us and with; and the share that arrives of many."""
    made = client()
    samples: Samples = {"plain": [], "ours": []}

    def clock_us() -> float:
        started = time.perf_counter()
        for _ in range(calls):
            chat(made)
        return (time.perf_counter() - started) / calls * 1e6

    with background.sink() as endpoint:
        for _ in range(rounds):
            samples["plain"].append(clock_us())
            with _watched(endpoint):
                samples["ours"].append(clock_us())
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


@contextmanager
def _exporting(bench: background.Bench | None) -> Iterator[None]:
    """Have so many records a second handed over, in portions, by another thread; None: none."""
    is_over = threading.Event()
    portion = RECORDS_PER_S // 10

    def feed() -> None:
        due = time.monotonic()
        while bench is not None and not is_over.is_set():
            bench(portion)
            due += 0.1
            is_over.wait(max(0.0, due - time.monotonic()))

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def company(rounds: int = 4, seconds: float = 2.0) -> Samples:
    """How late a busy event loop's timers are (99th of 100, ms), and how far a computing thread gets, beside an export."""
    samples: Samples = {}

    async def lateness_ms() -> float:
        late: list[float] = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            due = time.perf_counter() + 0.001
            await asyncio.sleep(0.001)
            late.append((time.perf_counter() - due) * 1e3)
            # It is busy: a request of the program's own takes a part of each millisecond.
            sum(range(5_000))
        return sorted(late)[int(len(late) * _QUANTILE)]

    def steps_per_s() -> float:
        end, steps = time.perf_counter() + seconds / 2, 0
        while time.perf_counter() < end:
            sum(range(1_000))
            steps += 1
        return steps / (seconds / 2)

    with background.sink() as endpoint:
        benches = {"plain": None, "span": background.by_hand(endpoint), "ours": background.ours(endpoint)}
        # What the background imports at its first record is no part of it.
        for bench in benches.values():
            if bench is not None:
                bench(100)
        for _ in range(rounds):
            for name, bench in benches.items():
                with _exporting(bench):
                    samples.setdefault(f"{name} late", []).append(asyncio.run(lateness_ms()))
                    samples.setdefault(f"{name} steps", []).append(steps_per_s())
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
    each.__name__: each for each in (delivery, whole, burst, concurrent, company, memory)
}


def median_of(samples: list[float]) -> float:
    return statistics.median(samples)


if __name__ == "__main__":
    print(json.dumps(MEASURES[sys.argv[1]]()), flush=True)
    # Not the usual end: what still waits is nobody's.
    os._exit(0)
