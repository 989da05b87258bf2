"""Exporters of OpenTelemetry's, handed over as configured."""

from __future__ import annotations

import asyncio
import io
import json
import threading

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.receiver import Reply
from tests.support.client_calls import chat
from tests.support.deadlines import until

SECRET = "hunter2-canary"


class Odd:
    """An exporter with nothing but `export`, which answers, or raises, by a script."""

    def __init__(self, *script):
        self.script = list(script)
        self.exported = []

    def export(self, spans):
        answer = self.script.pop(0) if self.script else SpanExportResult.SUCCESS
        if isinstance(answer, BaseException):
            raise answer
        self.exported += [span.name for span in spans]
        return answer


@pytest.mark.parametrize(
    "error",
    [ConnectionError(f"http://host/?key={SECRET}"), KeyError(SECRET), asyncio.CancelledError(SECRET), SystemExit(1)],
    ids=lambda error: type(error).__name__,
)
def test_an_exporter_that_raises_is_counted_and_the_next_call_gets_through(stand_in, error, caplog, capfd):
    exporter = Odd(error)
    handle = llm_otel_broadcast.instrument(exporter=exporter)
    for expected in (False, True):
        chat("sync", stand_in.base_url)
        assert handle.flush() is expected
    (books,) = handle.status().destinations
    assert (books.produced, books.delivered, books.dropped) == (2, 1, {"internal_error": 1})
    assert type(error).__name__ in books.last_error
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert ("Traceback" in caplog.text) is not isinstance(error, OSError)
    for text in (caplog.text, repr(handle.status()), "".join(capfd.readouterr())):
        assert SECRET not in text


def test_a_reported_failure_is_counted(stand_in):
    handle = llm_otel_broadcast.instrument(exporter=Odd(SpanExportResult.FAILURE))
    chat("sync", stand_in.base_url)
    assert not handle.flush()
    (books,) = handle.status().destinations
    assert (books.delivered, books.dropped) == (0, {"refused": 1})
    assert books.last_error == "Odd reported failure"


def test_the_console_exporter_writes_the_span(stand_in):
    out = io.StringIO()
    handle = llm_otel_broadcast.instrument(
        exporter=ConsoleSpanExporter(out=out, formatter=lambda span: span.to_json(indent=None) + "\n"),
        service_name="shop",
    )
    chat("sync", stand_in.base_url, extra_body={"trace": {"team": "red", "trace_name": "Root"}})
    assert handle.flush()
    generation, root = (json.loads(line) for line in out.getvalue().splitlines())
    assert (generation["name"], generation["kind"]) == ("chat gpt-4o-mini", "SpanKind.CLIENT")
    assert generation["parent_id"] == root["context"]["span_id"]
    assert generation["attributes"]["trace.metadata.team"] == "red"
    assert generation["attributes"]["gen_ai.usage.total_tokens"] > 0
    assert generation["resource"]["attributes"]["service.name"] == "shop"


def test_the_otlp_exporter_keeps_its_own_headers_compression_and_retries(stand_in, receiver):
    from opentelemetry.exporter.otlp.proto.http import Compression

    receiver.script(Reply(503, {"Retry-After": "0"}))
    exporter = OTLPSpanExporter(receiver.endpoint, headers={"x-team": "red"}, compression=Compression.Gzip)
    handle = llm_otel_broadcast.instrument(exporter=exporter)
    chat("sync", stand_in.base_url)
    assert handle.flush()
    request = receiver.requests[-1]
    assert (request.headers["x-team"], request.headers["content-encoding"]) == ("red", "gzip")
    (books,) = handle.status().destinations
    assert (books.delivered, books.retried) == (1, 0)


def test_an_exporter_is_shut_down_with_its_handle_and_only_then(stand_in):
    class Watched(InMemorySpanExporter):
        shut = 0

        def shutdown(self):
            self.shut += 1
            super().shutdown()

    kept, left = Watched(), Watched()
    llm_otel_broadcast.instrument(
        destinations=[Destination(exporter=kept, name="kept"), Destination(exporter=left, name="left")]
    )
    chat("sync", stand_in.base_url)
    handle = llm_otel_broadcast.instrument(exporter=kept)  # settings change, the exporter stays
    until(lambda: left.shut)
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush()
    assert (len(kept.get_finished_spans()), len(left.get_finished_spans())) == (2, 1)
    assert kept.shut == 0
    handle.shutdown()
    assert (kept.shut, left.shut) == (1, 1)


def test_an_exporter_that_fails_at_its_shutdown_is_told_without_noise(stand_in, caplog):
    class Failing(Odd):
        def shutdown(self):
            raise RuntimeError(SECRET)

    handle = llm_otel_broadcast.instrument(exporter=Failing())
    chat("sync", stand_in.base_url)
    handle.shutdown()
    assert "closing failed (RuntimeError)" in caplog.text
    assert SECRET not in caplog.text


def test_exporting_happens_on_one_thread_of_ours(stand_in):
    threads = set()

    class Noting(Odd):
        def export(self, spans):
            threads.add(threading.current_thread().name)
            return super().export(spans)

    handle = llm_otel_broadcast.instrument(destinations=[Destination(exporter=Noting(), name="noting")])
    for _ in range(3):
        chat("sync", stand_in.base_url)
        assert handle.flush()
    assert threads == {"llm-otel-broadcast noting"}
