"""The HTTP server on the loop-back address that the receiver and the stand-in for the API are made of, and its bounds.

Anything on this machine may connect, a page in the user's browser included: connections, and the time in which a request
has to arrive, are bounded, and what a page of another site sends is refused.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import urlsplit

MAX_CONNECTIONS: Final = 128
"""Beyond it the one that has been open longest is closed, so that a client which drips cannot keep others out."""
_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class LoopbackServer(ThreadingHTTPServer):
    """A server whose threads end with the process, and that starts without asking the resolver.

    Attributes:
        label: of its threads.
        request_timeout_s: seconds in which a request has to arrive whole, however often a piece of it does.
        is_loopback: it listens on this machine only.
    """

    daemon_threads = True
    block_on_close = False
    # The default of 5 makes the kernel drop connections of a burst, which then wait a second for the next attempt.
    request_queue_size = 128
    label = "loopback"
    request_timeout_s = 30.0

    def __init__(self, address: tuple[str, int], handler: type[LoopbackHandler]) -> None:
        self.is_loopback = address[0] in _LOOPBACK_NAMES
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._reading_since: dict[socket.socket, float] = {}
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks the resolver for the host's full name, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        # A client that goes away in the middle is no event here; anything else is a fault of ours and stays visible.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def process_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        thread = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name=f"{self.label}-connection",
            daemon=True,
        )
        with self._lock:
            surplus = [*self._connections][: max(0, len(self._connections) + 1 - MAX_CONNECTIONS)]
            self._connections[request] = thread
        for connection in surplus:
            _wake(connection)
        thread.start()

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        super().shutdown_request(request)
        with self._lock:
            self._connections.pop(request, None)
            self._reading_since.pop(request, None)

    def service_actions(self) -> None:
        """Close the connections whose request takes too long to arrive; `serve_forever` calls it at each poll."""
        latest = time.monotonic() - self.request_timeout_s
        with self._lock:
            late = [connection for connection, since in self._reading_since.items() if since < latest]
        for connection in late:
            _wake(connection)

    def begin_reading(self, connection: socket.socket) -> None:
        """Start the clock of a connection's next request."""
        with self._lock:
            self._reading_since[connection] = time.monotonic()

    def end_reading(self, connection: socket.socket) -> None:
        """Stop it: the request is there, and answering may take its time."""
        with self._lock:
            self._reading_since.pop(connection, None)

    def close_connections(self, timeout: float) -> None:
        """Wake every connection's thread and wait for it to close its socket."""
        deadline = time.monotonic() + timeout
        with self._lock:
            connections = dict(self._connections)
        for connection in connections:
            _wake(connection)
        for thread in connections.values():
            thread.join(max(0.0, deadline - time.monotonic()))


class LoopbackHandler(BaseHTTPRequestHandler):
    """One connection of a `LoopbackServer`. What derives from it calls `end_reading` once a request's body is there."""

    server: LoopbackServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        self.server.begin_reading(self.connection)
        super().handle_one_request()

    def end_reading(self) -> None:
        """Tell the server that the request is there."""
        self.server.end_reading(self.connection)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name http.server gave it
        """Keep quiet."""

    def content_length(self) -> int | None:
        """Return the length that the request states for its body, None where that is no number."""
        length = self.headers.get("content-length") or "0"
        # Thousands of digits would take Python's int() long to read, or a ValueError; twenty are enough to be too many.
        return int(length[:20]) if length.isascii() and length.isdigit() else None

    def sender_fault(self) -> str | None:
        """Say why a request is none of a program's on this machine but of a page in a browser, None when it may be."""
        headers = self.headers
        # Also a page whose host name was pointed at this machine (DNS rebinding): the name shows in Host. A URL in place of a
        # path is for a proxy: no page can have a browser send that.
        host = headers.get("host") if self.path.startswith("/") else None
        if host is not None and self.server.is_loopback and not _is_local(host):
            return "the Host must be this machine"
        origin = headers.get("origin")
        if origin is not None and not _is_local(origin.partition("://")[2]):
            return "requests of other sites are not accepted"
        # Images, scripts and links of a page come without an Origin; browsers say of all requests where they are from.
        if headers.get("sec-fetch-site", "").strip().lower() == "cross-site":
            return "requests of other sites are not accepted"
        return None


def _is_local(authority: str) -> bool:
    """Return whether a `Host`, or the part of an `Origin` behind its scheme, names this machine."""
    try:
        return urlsplit(f"//{authority}").hostname in _LOOPBACK_NAMES
    except ValueError:
        return False


def _wake(connection: socket.socket) -> None:
    """Have a connection's thread see its end."""
    # It may be closed by the other side, or just now by its thread.
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
