"""Real servers on loopback for an application: uvicorn for ASGI, the standard library's for WSGI."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import uvicorn


@dataclass(frozen=True)
class Answer:
    """What a request got; `headers` without the date."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@contextmanager
def connected(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        yield connection
    finally:
        connection.close()


def fetch(
    port: int, path: str, headers: Mapping[str, str] | None = None, *, over: http.client.HTTPConnection | None = None
) -> Answer:
    """Make one request, over a connection of its own unless one is given."""
    if over is None:
        with connected(port) as connection:
            return fetch(port, path, headers, over=connection)
    over.request("GET", path, headers=dict(headers or {}))
    response = over.getresponse()
    shown = tuple((name, value) for name, value in response.getheaders() if name.lower() != "date")
    return Answer(response.status, shown, response.read())


@contextmanager
def asgi_served(app: Any) -> Iterator[int]:
    """Serve; yields the port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline, "uvicorn does not start"
            time.sleep(0.005)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)


class _Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = False


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def wsgi_served(app: Any) -> Iterator[int]:
    """Serve, each request in a thread of its own; yields the port."""
    with make_server("127.0.0.1", 0, app, server_class=_Threads, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(20)
