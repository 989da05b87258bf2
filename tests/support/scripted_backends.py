"""Scripted servers on loop-back: backends as measured, with or without TLS, and such as misbehave on the socket itself."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JSON = "application/json"
PROTOBUF = "application/x-protobuf"
Said = tuple[int, str, str]


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"

    @property
    def media(self) -> str:
        return self.headers.get("content-type", "")


@dataclass(frozen=True)
class Backend:
    """How a backend answers. Defaults are those of the OpenTelemetry Collector."""

    path: str = "/v1/traces"
    json: int = 200
    protobuf: int = 200
    gzip: int = 200
    elsewhere: int = 404
    page: bool = False
    """Wrong paths get a web page."""
    wants: Mapping[str, str] = field(default_factory=dict)
    without: int = 401
    says: str = ""
    redirects: str = ""
    answers: str = '{"partialSuccess":{}}'

    def answer(self, request: Request) -> tuple[int, Mapping[str, str], bytes]:
        status = self._status(request)
        if 300 <= status < 400:
            return status, {"location": self.redirects}, b""
        if self.page and request.path != self.path:
            return status, {"content-type": "text/html; charset=utf-8"}, b"<!DOCTYPE html><title>Please log in</title>"
        if status == 200:
            return status, {"content-type": JSON}, self.answers.encode()
        return status, {"content-type": JSON}, f'{{"code":3,"message":"{self.says or "no"}"}}'.encode()

    def _status(self, request: Request) -> int:
        if self.redirects:
            return 308
        if request.path != self.path:
            return self.elsewhere
        if any(request.headers.get(name) != value for name, value in self.wants.items()):
            return self.without
        if request.headers.get("content-encoding") == "gzip":
            gzip.decompress(request.body)
            if self.gzip != 200:
                return self.gzip
        return self.json if request.media == JSON else self.protobuf


class Running:
    """A server that runs; `requests` has what came."""

    def __init__(self, backend: Backend, context: ssl.SSLContext | None, scheme: str) -> None:
        self.requests: list[Request] = []
        handler = type("Handler", (_Handler,), {"backend": backend, "requests": self.requests})
        self._server = _Server(("127.0.0.1", 0), handler)
        if context is not None:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        self.root = f"{scheme}://127.0.0.1:{self.port}"
        self.endpoint = f"{self.root}/v1/traces"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    backend: Backend
    requests: list[Request]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        request = Request(self.path, {name.lower(): value for name, value in self.headers.items()}, body, self.command)
        self.requests.append(request)
        status, headers, content = self.backend.answer(request)
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_PUT = do_POST  # the name http.server calls

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@contextmanager
def serving(backend: Backend | None = None, context: ssl.SSLContext | None = None) -> Iterator[Running]:
    running = Running(backend or Backend(), context, "https" if context else "http")
    try:
        yield running
    finally:
        running.stop()


@contextmanager
def socket_serving(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve each connection with `talk`; yields the endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=_talk, args=(talk, connection), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1/traces"
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def _talk(talk: Callable[[socket.socket], None], connection: socket.socket) -> None:
    with connection, suppress(OSError):
        talk(connection)
