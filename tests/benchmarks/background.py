"""What the background pays for a generation: records handed straight to delivery, encoded and sent to another process.

`python -m tests.benchmarks.background [ROUNDS [RECORDS]]`. Against the batch processor and the protobuf exporter of OpenTelemetry's
SDK, with spans of 20 attributes as an application would write them, in turns within one process.
"""

from __future__ import annotations

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
from typing import Any

from tests.benchmarks.host import TEXT, client, conversation

MESSAGES = conversation(3, 550)
QUEUE_BYTES = 200_000_000
Bench = Callable[[int], None]


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


def ours(endpoint: str, destinations: int = 1, **settings: Any) -> Bench:
    """Return what hands over so many copies of one real record, and waits until they are delivered."""
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

    def run(count: int) -> None:
        copies = [copy_of(records[0]) for _ in range(count)]
        for record in copies:
            put(record)
        assert handle.flush(120)
        assert not any(books.dropped for books in handle.status().destinations)

    return run


FIELDS = {"session_id": "session_abc", "trace": {"environment": "staging", "deployment": "us-1"}}


def by_hand(endpoint: str) -> Bench:
    """Return the same with the SDK's batch processor and protobuf exporter."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint), max_queue_size=1_000_000))
    tracer = provider.get_tracer("by hand")

    def run(count: int) -> None:
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
        provider.force_flush(120_000)

    return run


def measure(bench: Bench, count: int) -> tuple[float, float]:
    """Return the CPU time that the other threads take for each record, and the time by the clock, both in microseconds."""
    cpu, own, clock = time.process_time(), time.thread_time(), time.perf_counter()
    bench(count)
    own = time.thread_time() - own
    return (time.process_time() - cpu - own) / count * 1e6, (time.perf_counter() - clock) / count * 1e6


def main(rounds: int = 7, count: int = 2_000) -> None:
    with sink() as endpoint:
        benches = {"by hand": by_hand(endpoint), "ours": ours(endpoint)}
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in benches}
        for bench in benches.values():
            bench(100)
        for _ in range(rounds):
            for name, bench in benches.items():
                taken[name].append(measure(bench, count))
        for name, figures in taken.items():
            cpu = [each for each, _ in figures]
            clock = statistics.median(each for _, each in figures)
            print(
                f"{name}: {statistics.median(cpu):.1f} us CPU ({min(cpu):.1f} to {max(cpu):.1f}), {clock:.1f} us by the clock"
            )
    os._exit(0)


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main(*map(int, sys.argv[1:]))
