"""The connection itself: how it is made, what it hears while it sends, and what it never shows."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from llm_otel_broadcast import Destination
from llm_otel_broadcast.wire.http import HttpSender
from tests.support.certificates import Authority
from tests.support.deadlines import until
from tests.support.scripted_backends import Backend, serving

LARGE = b'{"resourceSpans":[],"x":"' + b"y" * 3_000_000 + b'"}'
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), "our-authority")


@pytest.fixture(scope="module", params=["http", "https"])
def scheme(request):
    return request.param


@contextmanager
def raw_server(conduct, context=None):
    """Serve each connection with `conduct(connection)`, over TLS if there is a context; yield the port."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:

        def serve(connection):
            try:
                # Else the answer may wait for an acknowledgement of the handshake, and is dropped by the reset.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with connection if context is None else context.wrap_socket(connection, server_side=True) as talking:
                    conduct(talking)
            except OSError:
                return

        def accept():
            try:
                while True:
                    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
            except OSError:
                return

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def post(authority, scheme):
    """Post to a raw server, over plain HTTP and over TLS."""

    @contextmanager
    def to(conduct, **more):
        secure = scheme == "https"
        context = authority.issue("server").server_context() if secure else None
        with raw_server(conduct, context) as port:
            settings = {"certificate": authority.file} if secure else {}
            sender = HttpSender(Destination(endpoint=f"{scheme}://127.0.0.1:{port}/v1/traces", **settings, **more), "1")
            yield sender
            sender.close()

    return to


def read_head(connection):
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(4096)
        if not piece:
            return b""
        head += piece
    return head


def read_all(connection):
    head, _, body = read_head(connection).partition(b"\r\n\r\n")
    if not head:
        return False
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(body) < length:
        piece = connection.recv(65536)
        if not piece:
            break
        body += piece
    return len(body) == length


@pytest.mark.parametrize(("status", "kind"), [(413, "too_large"), (401, "refused"), (503, "retry")])
def test_an_answer_before_the_body_was_read_is_believed_instead_of_the_reset(post, status, kind):
    """Servers may answer and close at once (RFC 9110, 15.5.14); HAProxy does."""

    def refuse(connection):
        read_head(connection)
        connection.sendall(b"HTTP/1.1 %d No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % status)

    with post(refuse) as sender:
        for _ in range(5):
            answer = sender.send(LARGE, "application/json", 5.0)
            assert (answer.kind, answer.status) == (kind, status)


def test_a_refusal_is_heard_from_a_server_that_does_not_read_on(post):
    over = threading.Event()

    def refuse(connection):
        read_head(connection)
        connection.sendall(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
        over.wait(10)

    with post(refuse) as sender:
        started = time.monotonic()
        assert sender.send(LARGE, "application/json", 5.0).status == 413
        assert time.monotonic() - started < 3
        over.set()


@pytest.mark.parametrize("early", [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b""])
def test_what_comes_early_and_is_no_refusal_does_not_end_the_body(post, early):
    whole = []

    def talk(connection):
        while True:
            head = read_head(connection)
            if not head:
                return
            connection.sendall(early or OK)
            body = head.partition(b"\r\n\r\n")[2]
            while len(body) < len(LARGE):
                body += connection.recv(min(65536, len(LARGE) - len(body)))
            whole.append(body == LARGE)
            if early:
                connection.sendall(OK)

    with post(talk) as sender:
        for _ in range(2):
            assert sender.send(LARGE, "application/json", 5.0).kind == "ok"
        assert until(lambda: whole[1:]) == [True]
    assert whole[0]


def test_a_server_that_closes_while_we_send_is_told_as_such(post):
    with post(read_head) as sender:
        answer = sender.send(LARGE, "application/json", 5.0)
    assert (answer.kind, answer.excerpt) == ("retry", "it closed the connection")


@contextmanager
def dead_address(port):
    """Have an address of this machine that answers nothing: a full backlog drops what comes."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.2", port))
        hole.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for attempt in waiting:
            attempt.setblocking(False)
            attempt.connect_ex(("127.0.0.2", port))
        try:
            with socket.socket() as trial:
                trial.settimeout(0.5)
                if trial.connect_ex(("127.0.0.2", port)) == 0:
                    pytest.skip("this system has no such address")
            yield "127.0.0.2"
        except PermissionError:
            pytest.skip("this system has no such address")
        finally:
            for attempt in waiting:
                attempt.close()


def resolving_to(monkeypatch, *hosts, after=0.0, calls=None):
    real = socket.getaddrinfo

    def several(host, *rest, **more):
        if host != "collector.test":
            return real(host, *rest, **more)
        if calls is not None:
            calls.append(host)
        time.sleep(after)
        return [address for known in hosts for address in real(known, *rest, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", several)


def test_a_dead_address_before_the_right_one_costs_little_and_nothing_is_sent_twice(monkeypatch):
    with serving() as running, dead_address(running.port) as dead:
        resolving_to(monkeypatch, dead, "127.0.0.1")
        sender = HttpSender(Destination(endpoint=f"http://collector.test:{running.port}"), "1")
        started = time.monotonic()
        answer = sender.send(b"{}", "application/json", 3.0)
        assert time.monotonic() - started < 2.0
        sender.close()
        assert (answer.kind, len(running.requests)) == ("ok", 1)


def test_a_refusing_address_before_the_right_one_costs_nothing(monkeypatch):
    with serving() as running:
        resolving_to(monkeypatch, "127.0.0.3", "127.0.0.1")
        sender = HttpSender(Destination(endpoint=f"http://collector.test:{running.port}"), "1")
        assert sender.send(b"{}", "application/json", 3.0).kind == "ok"
        sender.close()


def test_where_all_addresses_are_dead_the_timeout_holds_for_all_together(monkeypatch):
    with serving() as running, dead_address(running.port) as dead:
        resolving_to(monkeypatch, dead, dead, dead)
        sender = HttpSender(Destination(endpoint=f"http://collector.test:{running.port}"), "1")
        started = time.monotonic()
        answer = sender.send(b"{}", "application/json", 0.6)
        assert time.monotonic() - started < 1.5
        assert (answer.kind, answer.excerpt) == ("retry", "timeout")


def test_the_time_to_connect_is_not_taken_from_that_to_answer(monkeypatch):
    arrivals = []

    def slow(connection):
        while read_all(connection):
            arrivals.append(1)
            time.sleep(0.4)
            connection.sendall(OK)

    with raw_server(slow) as port:
        resolving_to(monkeypatch, "127.0.0.1", after=0.5)
        sender = HttpSender(Destination(endpoint=f"http://collector.test:{port}"), "1")
        assert sender.send(b"{}", "application/json", 0.7).kind == "ok"
        sender.close()
    assert arrivals == [1]


def test_a_resolver_that_hangs_is_left_at_the_timeout_and_asked_once(monkeypatch):
    calls = []
    resolving_to(monkeypatch, "127.0.0.1", after=1.0, calls=calls)
    sender = HttpSender(Destination(endpoint="http://collector.test:4318"), "1")
    started = time.monotonic()
    answers = [sender.send(b"{}", "application/json", 0.1) for _ in range(3)]
    assert time.monotonic() - started < 0.9
    assert {answer.excerpt for answer in answers} == {"timeout"}
    assert len(calls) == 1


def test_a_key_in_the_query_is_in_no_log_at_any_level(monkeypatch, caplog, capfd):
    """A program may have the root logger at DEBUG, and `http.client` print what it sends."""
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "urllib3.connectionpool", "urllib3.util.retry", "http.client"):
        caplog.set_level(logging.DEBUG, name)
    with (
        serving() as there,
        serving(Backend(redirects=f"{there.endpoint}?key=CANARY")) as here,
        serving(Backend(json=503)) as busy,
    ):
        for endpoint in (there.endpoint, here.endpoint, busy.endpoint, "http://127.0.0.1:1"):
            destination = Destination(endpoint=f"{endpoint}?api-key=CANARY", headers={"Authorization": "Bearer CANARY"})
            sender = HttpSender(destination, "1")
            answer = sender.send(b"{}", "application/json", 2.0)
            sender.close()
            assert "CANARY" not in answer.message
        assert there.requests[0].path == "/v1/traces?api-key=CANARY"
        assert len(there.requests) == 1
    shown = capfd.readouterr()
    assert "CANARY" not in caplog.text + shown.out + shown.err
