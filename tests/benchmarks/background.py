"""What the background pays for a generation: records handed straight to delivery, encoded and sent to another process.

`python -m tests.benchmarks.background [ROUNDS [RECORDS]]`. Against the batch processor and the protobuf exporter of OpenTelemetry's
SDK, with spans of 20 attributes as an application would write them, in turns within one process.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tests.benchmarks.control import control
from tests.benchmarks.host import TEXT, client, conversation

MESSAGES = conversation(3, 550)
QUEUE_BYTES = 200_000_000
# A batch of the SDK's processor; what a request takes is shared out over as many.
COUNTED_RECORDS = 512


def serve() -> None:
    """Answer every request with success, until the process is ended."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection: socket.socket) -> None:
    stream, size, kind = connection.makefile("rb"), 0, b""
    while line := stream.readline():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            size = int(value)
        elif name.lower() == b"content-type":
            kind = value.strip()
        elif line == b"\r\n":
            stream.read(size)
            body = b"{}" if kind.endswith(b"json") else b""
            head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(body))
            connection.sendall(head + body)


@contextmanager
def sink() -> Iterator[str]:
    """Yield the address of a server in another process that takes everything."""
    with subprocess.Popen([sys.executable, "-m", __spec__.name, "serve"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1/traces"
        finally:
            process.kill()


class Feed(NamedTuple):
    """What hands generations over to a background.

    Attributes:
        make: makes so many, to be handed over later.
        put: hands one over, as the end of a call does.
        flush: waits until all have been delivered.
    """

    make: Callable[[int], list[Any]]
    put: Callable[[Any], None]
    flush: Callable[[], None]

    def run(self, count: int) -> None:
        """Hand over so many, and wait until they are delivered."""
        for record in self.make(count):
            self.put(record)
        self.flush()


def ours(endpoint: str, destinations: int = 1, **settings: Any) -> Feed:
    """Return what hands over copies of one real record to our delivery."""
    import llm_otel_broadcast
    from llm_otel_broadcast.fields.ids import new_span_id, new_trace_id
    from llm_otel_broadcast.record.generation import Generation, GenerationFacts
    from llm_otel_broadcast.runtime.runs import registry

    def copy_of(record: Generation) -> Generation:
        other = Generation(record.operation)
        for name in (*GenerationFacts.__slots__, *Generation.__slots__):
            if name != "outer_parent_span_id":
                setattr(other, name, getattr(record, name))
        other.trace_id, other.span_id = new_trace_id(), new_span_id()
        return other

    handle = llm_otel_broadcast.instrument(
        destinations=[
            llm_otel_broadcast.Destination(endpoint=endpoint, name=f"sink {number}", **settings)
            for number in range(destinations)
        ],
        app_spans=False,
        max_queue_bytes=QUEUE_BYTES,
    )
    assert registry.newest is not None
    broadcaster = registry.newest.broadcaster
    records: list[Any] = []
    put, broadcaster.put_generation = broadcaster.put_generation, records.append  # type: ignore[method-assign]
    client().chat.completions.create(
        model="gpt-4o", messages=MESSAGES, temperature=0.5, max_tokens=100, user="user_1", extra_body=FIELDS
    )
    broadcaster.put_generation = put  # type: ignore[method-assign]

    def flush() -> None:
        assert handle.flush(120)
        assert not any(books.dropped for books in handle.status().destinations)

    return Feed(lambda count: [copy_of(records[0]) for _ in range(count)], put, flush)


FIELDS = {"session_id": "session_abc", "trace": {"environment": "staging", "deployment": "us-1"}}


def by_hand(endpoint: str) -> Feed:
    """Return the same with the SDK's batch processor and protobuf exporter."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    class Shelf(SpanProcessor):
        """Keeps the spans that have ended."""

        def __init__(self) -> None:
            self.spans: list[ReadableSpan] = []

        def on_end(self, span: ReadableSpan) -> None:
            self.spans.append(span)

    processor = BatchSpanProcessor(OTLPSpanExporter(endpoint), max_queue_size=1_000_000)
    shelf, provider = Shelf(), TracerProvider()
    provider.add_span_processor(shelf)
    tracer = provider.get_tracer("by hand")

    def make(count: int) -> list[ReadableSpan]:
        for _ in range(count):
            with tracer.start_as_current_span("chat gpt-4o", kind=trace.SpanKind.CLIENT) as span:
                span.set_attributes(
                    {
                        "gen_ai.operation.name": "chat",
                        "gen_ai.provider.name": "openai",
                        "gen_ai.request.model": "gpt-4o",
                        "gen_ai.request.temperature": 0.5,
                        "gen_ai.request.max_tokens": 100,
                        "server.address": "api.openai.com",
                        "server.port": 443,
                        "user.id": "user_1",
                        "session.id": "session_abc",
                        "trace.metadata.environment": "staging",
                        "trace.metadata.deployment": "us-1",
                        "gen_ai.input.messages": json.dumps(MESSAGES),
                        "gen_ai.response.id": "chatcmpl-1",
                        "gen_ai.response.model": "gpt-4o",
                        "gen_ai.response.finish_reasons": ["stop"],
                        "gen_ai.usage.input_tokens": 400,
                        "gen_ai.usage.output_tokens": 12,
                        "gen_ai.usage.total_tokens": 412,
                        "gen_ai.usage.cache_read.input_tokens": 128,
                        "gen_ai.output.messages": json.dumps([{"role": "assistant", "content": TEXT}]),
                    }
                )
        spans, shelf.spans = shelf.spans, []
        return spans

    def flush() -> None:
        assert processor.force_flush(120_000)

    return Feed(make, processor.on_end, flush)


def measure(feed: Feed, count: int) -> tuple[float, float]:
    """Return the CPU time that delivering takes for each record, and the time by the clock, both in microseconds.

    Without handing over, which is the call's; with flushing, in which the SDK's processor exports on the thread that asks for it.
    """
    records = feed.make(count)
    cpu, own, clock = time.process_time(), time.thread_time(), time.perf_counter()
    for record in records:
        feed.put(record)
    own = time.thread_time() - own
    feed.flush()
    return (time.process_time() - cpu - own) / count * 1e6, (time.perf_counter() - clock) / count * 1e6


def main(rounds: int = 7, count: int = 2_000) -> None:
    with sink() as endpoint:
        feeds = {"by hand": by_hand(endpoint), "ours": ours(endpoint)}
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in feeds}
        for feed in feeds.values():
            feed.run(100)
        for _ in range(rounds):
            for name, feed in feeds.items():
                taken[name].append(measure(feed, count))
        for name, figures in taken.items():
            cpu = [each for each, _ in figures]
            clock = statistics.median(each for _, each in figures)
            print(
                f"{name}: {statistics.median(cpu):.1f} us CPU ({min(cpu):.1f} to {max(cpu):.1f}), {clock:.1f} us by the clock"
            )
    os._exit(0)


def count() -> None:
    """Deliver under callgrind, each by itself, after a warm-up."""
    with sink() as endpoint:
        for name, new_feed in {"span": by_hand, "ours": ours}.items():
            feed = new_feed(endpoint)
            feed.run(COUNTED_RECORDS)
            records = feed.make(COUNTED_RECORDS)
            gc.collect()
            gc.disable()
            control("--instr=on")
            for record in records:
                feed.put(record)
            feed.flush()
            control("--instr=off")
            control(f"--dump={name}:{COUNTED_RECORDS}")
            gc.enable()
    os._exit(0)


if __name__ == "__main__":
    commands = {"serve": serve, "count": count}
    commands[sys.argv[1]]() if sys.argv[1:2] and sys.argv[1] in commands else main(*map(int, sys.argv[1:]))
