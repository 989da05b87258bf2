"""Whatever listens survives what it is sent, within bounds of size, number and time."""

from __future__ import annotations

import http.client
import json
import socket
import time
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_otel_broadcast.receiver import OtlpReceiver, ReceivedSpan, TraceStore, loopback
from llm_otel_broadcast.stand_in.routes import MAX_CHOICES, usual_answer
from llm_otel_broadcast.stand_in.server import StandIn
from tests.support.deadlines import until

KINDS = [OtlpReceiver, StandIn]
PATH = "/v1/chat/completions"


def port_of(server):
    return urlsplit(server.endpoint if isinstance(server, OtlpReceiver) else server.url).port


def status_of(server, path, body, **headers):
    with closing(http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=10)) as connection:
        connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
        return connection.getresponse().status


def is_well(server):
    if isinstance(server, OtlpReceiver):
        return status_of(server, "/v1/traces", b'{"resourceSpans":[]}') == 200
    return status_of(server, PATH, b'{"messages":[]}') == 200


PIECES = st.one_of(
    st.sampled_from(
        [
            b"POST /v1/traces HTTP/1.1\r\n",
            b"POST /v1/chat/completions HTTP/1.1\r\n",
            b"GET / HTTP/9.9\r\n",
            b"Host: localhost\r\n",
            b"Content-Length: 5\r\n",
            b"Content-Length: -1\r\n",
            b"Content-Length: 99999999999999999999999999\r\n",
            b"Content-Type: application/json\r\n",
            b"Content-Encoding: gzip\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Origin: [\r\n",
            b"Host: [::1\r\n",
            b"\r\n",
            b"[[[[[",
            b"X: " + b"x" * 70_000 + b"\r\n",
            b"X: LONG\r\n",
            b"X: y\r\n" * 200,
        ]
    ),
    st.binary(max_size=40),
)


@pytest.fixture(scope="module", params=KINDS)
def server(request):
    with request.param() as running:
        yield running


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(PIECES, max_size=8))
def test_a_fuzzed_stream_of_requests_is_survived_without_a_word(server, capfd, pieces):
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=10) as raw:
        raw.settimeout(10)
        try:
            raw.sendall(b"".join(pieces).replace(b"LONG", b"x" * 70_000))
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(65_536):
                pass
        except OSError:
            # Refused in the middle, and closed.
            pass
    assert is_well(server)
    assert capfd.readouterr().err == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("aé\ud800", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "x"]), inner),
    max_leaves=5,
)
MEMBERS = st.dictionaries(st.sampled_from(["messages", "n", "model", "stream", "stream_options"]), JSON)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MEMBERS)
def test_the_stand_in_has_an_answer_for_any_members(members):
    assert usual_answer(PATH, json.dumps(members).encode(), {}).status in {200, 400}


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"messages":' + b"[" * 100_000,
        b'{"messages":[{"content":' + b"[" * 400 + b"]" * 400 + b"}]}",
        b'{"n":' + b"9" * 5_000 + b"}",
        b'{"messages":"\\ud800","model":"\\ud800"}',
        b"\xff",
    ],
    ids=["nesting", "nested messages", "nested content", "digits", "half a surrogate pair", "no UTF-8"],
)
def test_a_body_that_cannot_be_read_is_an_error_of_the_client(body):
    assert usual_answer(PATH, body, {}).status in {200, 400}


@pytest.mark.parametrize("count", [3_000_000, MAX_CHOICES + 1, 0, -1, "3", True, 1.5])
def test_the_stand_in_makes_no_more_choices_than_the_api(count):
    """3,000,000 of them took 13 s and 1.6 GB."""
    body = json.dumps({"messages": [], "n": count}).encode()
    assert usual_answer(PATH, body, {}).status == 400


def test_the_stand_in_keeps_the_last_requests_only(monkeypatch):
    monkeypatch.setattr(StandIn, "max_requests", 10)
    with StandIn() as server:
        for number in range(25):
            status_of(server, f"{PATH}?{number}", b"{}")
        kept = [int(request.query) for request in server.requests]
        assert kept == list(range(25 - len(kept), 25))
        assert len(kept) <= 10
        assert len(server.answers) <= 11


def test_the_stand_in_keeps_bodies_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(StandIn, "max_kept_bytes", 10_000)
    with StandIn() as server:
        for _ in range(20):
            status_of(server, PATH, b"{" + b" " * 1_000 + b"}")
        assert sum(len(request.body) for request in server.requests) <= 10_000


def span(name):
    return ReceivedSpan(name, "1" * 32, "1" * 16, "", 1, 1, 2, {}, 0, "", (), {}, "", "")


def test_the_store_of_the_receiver_is_bounded_in_bytes():
    store = TraceStore(max_bytes=1_000)
    for number in range(5):
        store.add([span(f"{number}a"), span(f"{number}b")], 600)
    assert [kept.name for kept in store.spans()] == ["3b", "4a", "4b"]
    store.clear()
    store.add([span("huge")], 2_000)
    assert store.spans() == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_drips_is_ended_although_a_piece_of_it_comes_all_the_time(monkeypatch, kind):
    with kind() as server, socket.create_connection(("127.0.0.1", port_of(server)), timeout=10) as raw:
        monkeypatch.setattr(server._server, "request_timeout_s", 0.3, raising=False)
        raw.setblocking(False)

        def is_closed():
            try:
                raw.send(b"P")
                return raw.recv(1_000) == b""
            except BlockingIOError:
                return False
            except OSError:
                return True

        until(is_closed, 10)
        assert is_well(server)


@pytest.mark.parametrize("kind", KINDS)
def test_connections_are_bounded_and_the_oldest_goes(monkeypatch, kind):
    monkeypatch.setattr(loopback, "MAX_CONNECTIONS", 4)
    with kind() as server, ExitStack() as opened:
        held = [
            opened.enter_context(socket.create_connection(("127.0.0.1", port_of(server)), timeout=10))
            for _ in range(12)
        ]
        assert held[0].recv(1) == b""
        assert is_well(server)


def test_an_answer_that_takes_its_time_is_not_taken_for_a_request_that_does(monkeypatch):
    from llm_otel_broadcast.receiver import Reply

    with OtlpReceiver() as server:
        monkeypatch.setattr(server._server, "request_timeout_s", 0.2, raising=False)
        server.script(Reply(200, delay=0.8))
        began = time.monotonic()
        assert status_of(server, "/v1/traces", b'{"resourceSpans":[]}') == 200
        assert time.monotonic() - began >= 0.8
