"""Which requests go through a proxy, and who is blamed when one does not get through."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import pytest

from llm_otel_broadcast import Destination
from llm_otel_broadcast.wire.http import HttpSender
from llm_otel_broadcast.wire.proxies import proxy_for
from tests.support.certificates import Authority
from tests.support.installed_programs import free_port
from tests.support.scripted_backends import serving, socket_serving

PROXY = "http://proxy.example:3128"


@pytest.fixture(autouse=True)
def _proxy(monkeypatch):
    for variable in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    monkeypatch.setenv("HTTPS_PROXY", PROXY)


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("*", "http://anything.example/v1/traces"),
        ("example.org, *", "http://anything.example"),
        ("col.corp.test", "http://col.corp.test:4318"),
        ("COL.corp.TEST", "https://Col.Corp.test"),
        ("col.corp.test", "https://col.corp.test.:4318"),
        ("corp.test", "http://col.corp.test"),
        (".corp.test", "http://col.corp.test"),
        (".corp.test", "http://corp.test"),
        ("*.corp.test", "http://col.corp.test:4318"),
        ("*.corp.test", "https://a.col.corp.test"),
        ("a.example  *.corp.test", "http://col.corp.test"),
        ("a.example,\tcol.corp.test", "http://col.corp.test"),
        ("col.corp.test:4318", "http://col.corp.test:4318"),
        ("https://col.corp.test", "https://col.corp.test"),
        ("all://corp.test", "http://corp.test"),
        ("10.1.2.3", "http://10.1.2.3:4318"),
        ("10.1.2.3:4318", "http://10.1.2.3:4318"),
        ("10.0.0.0/8", "http://10.1.2.3:4318"),
        ("192.168.0.0/16, 10.1.2.3/32", "http://10.1.2.3"),
        ("10.1.2.99/24", "http://10.1.2.3"),
        ("::1", "http://[::1]:4318"),
        ("[::1]", "http://[::1]:4318"),
        ("[::1]:4318", "http://[::1]:4318"),
        ("0:0:0:0:0:0:0:1", "http://[::1]"),
        ("fd00::/8", "http://[fd12::1]:4318"),
        ("[fd00::]/8", "http://[fd12::1]:4318"),
        ("10.0.0.0/8", "http://[::ffff:10.1.2.3]"),
    ],
)
def test_what_no_proxy_names_is_reached_straight(monkeypatch, no_proxy, url):
    """As some client of the program's would: prompts must not go to a proxy that was to be left out."""
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert proxy_for(url) is None


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("", "http://col.corp.test"),
        ("corp.test", "http://othercorp.test"),
        ("col.corp.test:4318", "http://col.corp.test:9999"),
        ("https://col.corp.test", "http://col.corp.test"),
        ("10.0.0.0/8", "http://11.0.0.1"),
        ("10.0.0.0/8", "http://ten.example"),
        ("10.0.0.0/99, /, :, [, *., ://, 10.0.0.0/x", "http://10.0.0.1"),
        ("fd00::/8", "http://10.0.0.1"),
        ("10.1.2.3:4318", "http://10.1.2.3:80"),
    ],
)
def test_what_no_proxy_does_not_name_goes_through_it(monkeypatch, no_proxy, url):
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert proxy_for(url).host == "proxy.example"


def message(endpoint):
    sender = HttpSender(Destination(endpoint=endpoint), "1")
    try:
        return sender.send(b"{}", "application/json", 2.0).message
    finally:
        sender.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there_is_blamed_itself(monkeypatch, scheme):
    proxy = f"http://me:secret@127.0.0.1:{free_port()}"
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy)
    shown = proxy.replace("me:secret@", "")
    assert f"(the proxy {shown} ({scheme.upper()}_PROXY): connection refused)" in message(
        f"{scheme}://col.example/v1/traces"
    )


@pytest.mark.parametrize(
    ("status", "words"), [(403, "403 Forbidden"), (407, "407 Proxy Auth: it wants a name and password")]
)
def test_a_proxy_that_refuses_a_tunnel_is_blamed_itself(monkeypatch, status, words):
    asked = []

    def refuse(connection):
        asked.append(connection.recv(65536))
        reason = {403: b"Forbidden", 407: b"Proxy Auth"}[status]
        connection.sendall(b"HTTP/1.1 %d %s\r\nContent-Length: 0\r\n\r\n" % (status, reason))

    with socket_serving(refuse) as endpoint:
        proxy = endpoint.removesuffix("/v1/traces")
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        told = message("https://col.example/v1/traces?key=secret")
    assert f"the proxy {proxy} (HTTPS_PROXY) answered {words}" in told
    assert asked[0].startswith(b"CONNECT col.example:443 HTTP/1.1\r\n")
    assert b"secret" not in asked[0]


@pytest.mark.parametrize(
    ("status", "words"),
    [(407, "the proxy {} (HTTP_PROXY) answered 407"), (403, "http://col.example/v1/traces, through the proxy {}")],
)
def test_what_a_proxy_without_a_tunnel_answers_names_it(monkeypatch, status, words):
    def refuse(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)

    with socket_serving(refuse) as endpoint:
        proxy = endpoint.removesuffix("/v1/traces")
        monkeypatch.setenv("HTTP_PROXY", proxy)
        assert message("http://col.example/v1/traces").startswith(words.format(proxy))


def test_a_proxy_that_hangs_is_left_at_the_timeout(monkeypatch):
    over = threading.Event()
    with socket_serving(lambda connection: over.wait(10)) as endpoint:
        monkeypatch.setenv("HTTPS_PROXY", endpoint.removesuffix("/v1/traces"))
        sender = HttpSender(Destination(endpoint="https://col.example"), "1")
        answer = sender.send(b"{}", "application/json", 0.3)
        over.set()
    assert answer.excerpt.startswith("the proxy")
    assert answer.excerpt.endswith("timeout")


def test_a_secure_endpoint_is_reached_through_the_tunnel_of_a_secure_proxy(monkeypatch, tmp_path):
    """TLS within the TLS to the proxy; both certificates are checked, and the body is longer than a record of TLS."""
    authority = Authority(tmp_path, "our-authority")
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)

    def pass_on(source, target):
        with suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    def tunnel(connection):
        context = authority.issue("proxy").server_context()
        with context.wrap_socket(connection, server_side=True) as inside:
            host, port = inside.recv(65536).split()[1].decode().split(":")
            with socket.create_connection((host, int(port))) as outside:
                inside.sendall(b"HTTP/1.1 200 Connection established\r\nVia: us\r\n\r\n")
                thread = threading.Thread(target=pass_on, args=(outside, inside), daemon=True)
                thread.start()
                pass_on(inside, outside)
                thread.join(5)

    server = authority.issue("server").server_context()
    with serving(context=server) as running, socket_serving(tunnel) as endpoint:
        monkeypatch.setenv("HTTPS_PROXY", endpoint.removesuffix("/v1/traces").replace("http:", "https:"))
        sender = HttpSender(Destination(endpoint=running.endpoint), "1")
        for _ in range(2):
            answer = sender.send(b'{"x":"' + b"y" * 100_000 + b'"}', "application/json", 5.0)
            assert answer.kind == "ok", answer
        sender.close()
        assert [len(request.body) for request in running.requests] == [100_008] * 2
