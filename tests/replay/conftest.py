"""Each exchange called once without us and once in each way with us; what the caller saw, and the spans it made."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llm_otel_broadcast import Destination, instrument, trace_context
from tests.replay.exchanges import WAYS, Caller, Exchange, ReplayServer, recorded

EXCHANGES = recorded()


class Replayed(NamedTuple):
    """What came of one call: what the caller saw and sent, the spans broadcast and those in the app's own traces."""

    seen: Any
    request: tuple[str, bytes]
    broadcast: list[Any]
    app_spans: list[Any]


Replay = dict[tuple[str, str], Replayed]
"""Everything that was called, by exchange and way; way "" is without us."""


@pytest.fixture(scope="package")
def replay() -> Iterator[Replay]:
    resolve = socket.getaddrinfo
    server = ReplayServer(EXCHANGES)
    caller = Caller(server.port)
    with pytest.MonkeyPatch.context() as patch:
        # The hosts' own names, so that the provider is told as it would be; nothing leaves this machine.
        patch.setattr(socket, "getaddrinfo", lambda _host, *rest, **named: resolve("127.0.0.1", *rest, **named))
        yield _replayed(server, caller, [exchange for exchange in EXCHANGES if caller.can(exchange)])
    caller.close()
    server.close()


def _replayed(server: ReplayServer, caller: Caller, exchanges: list[Exchange]) -> Replay:
    plain = {exchange.id: (caller.call(exchange, "sync"), server.requests[exchange.id]) for exchange in exchanges}
    results = {(id_, ""): Replayed(seen, request, [], []) for id_, (seen, request) in plain.items()}
    sent, own = InMemorySpanExporter(), InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(own))
    destination = Destination(name="replay", exporter=sent, batch_delay=0)
    options: dict[str, Any] = {"app_spans": True, "capture_content_in_app_spans": True, "tracer_provider": provider}
    with instrument(destinations=[destination], **options) as handle:
        for exchange in exchanges:
            for way in WAYS:
                # A trace of its own, as the text of a trace id is an attribute of all its spans.
                with trace_context(trace_id=f"{exchange.id} {way}"):
                    seen = caller.call(exchange, way)
                results[exchange.id, way] = Replayed(seen, server.requests[exchange.id], [], [])
        assert handle.flush(30)
    for exporter, name in ((sent, "broadcast"), (own, "app_spans")):
        for span in exporter.get_finished_spans():
            id_, way = str((span.attributes or {})["trace.id"]).split()
            getattr(results[id_, way], name).append(span)
    return results
