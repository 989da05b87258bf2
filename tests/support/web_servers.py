"""Real servers, and requests to them over HTTP."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import uvicorn
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.support.deadlines import eventually
from tests.support.installed_programs import free_port

ROOT = Path(__file__).parent.parent.parent


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes


def get(url: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
    """Make a request with a connection of its own."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        return get_on(connection, f"{parts.path}{parts.query and '?'}{parts.query}", headers, method)
    finally:
        connection.close()


def get_on(
    connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
) -> Answer:
    """Make a request on a connection that is kept."""
    connection.request(method, path, headers=dict(headers or {}))
    with connection.getresponse() as response:
        kept = [(name.lower(), value) for name, value in response.getheaders() if name.lower() != "date"]
        return Answer(response.status, kept, response.read())


@contextmanager
def asgi_served(app: Any, **settings: Any) -> Iterator[str]:
    """Serve an ASGI application with uvicorn in a thread of this process."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", **settings))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: server.started or not thread.is_alive(), 10, "uvicorn to start")
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def wsgi_served(app: Any) -> Iterator[str]:
    """Serve a WSGI application in threads of this process."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


class _Quiet(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        """Say nothing."""


class Program:
    """A server that runs as a program of its own.

    Attributes:
        url: where it listens.
        output: what it writes.
    """

    def __init__(self, words: list[str], environment: Mapping[str, str], output: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.output = output
        with output.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-W",
                    "ignore::DeprecationWarning",
                    "-m",
                    *(word.replace("PORT", str(port)) for word in words),
                ],
                cwd=ROOT,
                env={**os.environ, "NO_PROXY": "127.0.0.1", "OPENAI_API_KEY": "sk-test", **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_until_ready(self) -> None:
        def answers() -> bool:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended early:\n{self.said()}")
            try:
                return get(f"{self.url}/ready").status == 200
            except OSError:
                return False

        eventually(answers, 30, "the server to answer")

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def end(self) -> int:
        """Ask it to stop gracefully; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait(5)


@contextmanager
def program(words: list[str], environment: Mapping[str, str], output: Path) -> Iterator[Program]:
    started = Program(words, environment, output)
    try:
        started.wait_until_ready()
        yield started
    finally:
        started.end()
