"""Servers that are slow, broken or of another kind: the test ends in time and says what they are."""

from __future__ import annotations

import re
import socket
import threading
import time
from http.client import BadStatusLine

import pytest

from llm_otel_broadcast import Destination
from llm_otel_broadcast import test_connection as try_connection
from llm_otel_broadcast.connection.remedies import remedies
from llm_otel_broadcast.wire.exchange import Answer
from tests.support.installed_programs import free_port
from tests.support.scripted_backends import serving, socket_serving

SETTINGS = b"\0\0\x12\x04\0\0\0\0\0" + b"\0\x03\x7f\xff\xff\xff\0\x04\0\x40\0\0\0\x05\0\x40\0\0"
"""The first frame of an HTTP/2 server, gRPC's for one."""


def read_request(connection):
    """Read all of it: head and body come apart."""
    head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    while length and len(body) < int(length[1]):
        body += connection.recv(65536)


def never_answers(connection):
    read_request(connection)
    connection.recv(1)


def answers_garbage(connection):
    read_request(connection)
    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")


def sends_headers_without_end(connection):
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"x-more: " + b"a" * 1000 + b"\r\n")


def drips_headers(connection):
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"x: y\r\n")
        time.sleep(0.05)


def sends_a_line_without_end(connection):
    read_request(connection)
    while True:
        connection.sendall(b"HTTP/1.1 200 " + b"a" * 60_000)


def sends_a_huge_body(connection):
    read_request(connection)
    connection.sendall(b'HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n{"')
    while True:
        connection.sendall(b"a" * 65536)


def closes_in_the_middle(connection):
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")


def closes_at_once(connection):
    read_request(connection)


def speaks_http2(connection):
    read_request(connection)
    connection.sendall(SETTINGS)


def lies_about_gzip(connection):
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nabcd")


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        (never_answers, "timeout"),
        (answers_garbage, "it does not speak HTTP"),
        (sends_a_line_without_end, "it does not speak HTTP"),
        (closes_at_once, "it closed the connection"),
        (speaks_http2, "it speaks HTTP/2 only, as gRPC does"),
    ],
)
def test_a_server_that_misbehaves_fails_in_time(talk, said):
    with socket_serving(talk) as endpoint:
        started = time.monotonic()
        report = try_connection(Destination(endpoint=endpoint, timeout=0.5))
        assert time.monotonic() - started < 4
    assert not report.ok
    assert said in report.message


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        (sends_headers_without_end, "it does not speak HTTP"),
        (drips_headers, "timeout"),
        (closes_in_the_middle, "it closed the connection in the middle of its answer"),
        (lies_about_gzip, "it is not packed as it says"),
    ],
)
def test_a_server_that_takes_the_span_and_answers_badly_passes_with_a_warning(talk, said):
    """Its status line decides, as for real traffic: what was taken is not sent again."""
    with socket_serving(talk) as endpoint:
        started = time.monotonic()
        report = try_connection(Destination(endpoint=endpoint, timeout=0.5))
        assert time.monotonic() - started < 4
    assert report.ok
    assert f'it warns: "its answer is incomplete ({said})"' in report.message


def test_a_huge_answer_is_not_read_to_its_end():
    with socket_serving(sends_a_huge_body) as endpoint:
        started = time.monotonic()
        report = try_connection(Destination(endpoint=endpoint, timeout=2))
        assert time.monotonic() - started < 4
    assert report.ok


def test_the_port_of_grpc_leads_to_the_port_of_http():
    """Not by a real test: the real ports may be somebody else's here."""
    destination = Destination(endpoint="http://collector.example:4317/v1/traces")
    answer = Answer("retry", None, "", None, 0, error=BadStatusLine("\0\0\x12\x04"))
    (remedy,) = remedies(destination, answer)
    assert remedy.changes == {"endpoint": "http://collector.example:4318/v1/traces"}


def test_a_real_grpc_server_spoken_to_with_http_is_recognised():
    grpc = pytest.importorskip("grpc")
    futures = pytest.importorskip("concurrent.futures")
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        report = try_connection(Destination(endpoint=f"http://127.0.0.1:{port}", timeout=2))
    finally:
        server.stop(None)
    assert not report.ok
    assert "HTTP/2 only, as gRPC does" in report.message or "it closed the connection" in report.message


def test_a_grpc_exporter_that_speaks_to_the_port_of_http_is_recognised():
    pytest.importorskip("grpc")
    exporting = pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc.trace_exporter")
    with serving() as running:
        exporter = exporting.OTLPSpanExporter(f"127.0.0.1:{running.port}", insecure=True, timeout=1)
        report = try_connection(Destination(exporter=exporter, timeout=5))
        exporter.shutdown()
    assert not report.ok
    assert "it speaks gRPC" in report.message


def test_nobody_there_is_told_with_the_address():
    port = free_port()
    report = try_connection(Destination(endpoint=f"http://127.0.0.1:{port}"))
    assert report.message.endswith(f"connect: connection refused: nothing listens at 127.0.0.1 port {port}")
    assert report.steps[-1].name == "connect"


def test_a_name_that_is_not_known_is_told():
    report = try_connection(Destination(endpoint="http://backend.invalid:4318"))
    assert report.steps[-1].name == "name"
    assert "the name backend.invalid is not known" in report.message


def test_a_resolver_that_hangs_is_left_at_the_timeout(monkeypatch):
    hang = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: hang.wait(20))
    started = time.monotonic()
    report = try_connection(Destination(endpoint="http://slow.example:4318", timeout=0.3))
    hang.set()
    assert time.monotonic() - started < 3
    assert "the name slow.example is not resolved within 0.3 s" in report.message


class Exporter:
    """An exporter of the user's own."""

    def __init__(self, result=None, error=None, flushed=True):
        self.result, self.error, self.flushed = result, error, flushed
        self.spans, self.is_shut = [], False

    def export(self, spans):
        if self.error is not None:
            raise self.error
        self.spans += spans
        return self.result

    def force_flush(self, timeout_millis=0):
        return self.flushed

    def shutdown(self):
        self.is_shut = True


def test_an_exporter_gets_a_real_span_and_stays_open():
    from opentelemetry.sdk.trace.export import SpanExportResult

    exporter = Exporter(SpanExportResult.SUCCESS)
    report = try_connection(Destination(exporter=exporter))
    assert report.ok
    assert report.message == 'destination "Exporter" works: Exporter reported success'
    (span,) = exporter.spans
    assert dict(span.attributes) == {"test": True}
    assert f"{span.context.trace_id:032x}" == report.trace_id
    assert not exporter.is_shut


@pytest.mark.parametrize(
    ("exporter", "said"),
    [
        (Exporter(), "Exporter reported failure"),
        (Exporter(error=RuntimeError("canary")), "Exporter raised RuntimeError"),
        (Exporter(error=TimeoutError()), "no answer within 10 s"),
    ],
)
def test_an_exporter_that_fails_is_told(exporter, said):
    report = try_connection(Destination(exporter=exporter))
    assert not report.ok
    assert said in report.message
    assert "canary" not in report.message
