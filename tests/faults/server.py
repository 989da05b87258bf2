"""A destination whose conduct can be changed at any time: a fault for a while, then healthy again, on the same port."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from llm_otel_broadcast.receiver.decoding import decode_json
from llm_otel_broadcast.receiver.store import TraceStore
from tests.support import broken_backends
from tests.support.broken_backends import OK, Backend, Conduct, receive_body

_BACKLOG: Final = 128
_POLL_INTERVAL_S: Final = 0.02
_MAX_HANG_S: Final = 60.0


@dataclass(frozen=True)
class Fault:
    """How a destination misbehaves.

    Attributes:
        name: for test ids and printed plans.
        conduct: what happens to a request on a connection that is open.
        takes: the destination has the spans of such a request all the same: sent again they would be there twice.
        listens: False: connections are refused, and those that are open are reset.
        accepts: False: connections stay in the backlog of the system.
        shakes_hands: False: TLS is not answered. Only for a server with TLS.
    """

    name: str
    conduct: Conduct
    takes: bool = False
    listens: bool = True
    accepts: bool = True
    shakes_hands: bool = True


def _answer(seen: Backend, connection: socket.socket) -> bool:
    if not seen.read(connection):
        return False
    connection.sendall(OK)
    return True


def _status(line: str, *headers: str) -> Conduct:
    """Answer each request with this status; the connection stays."""
    content = "\r\n".join([f"HTTP/1.1 {line}", "Content-Length: 0", *headers, "", ""]).encode()

    def conduct(seen: Backend, connection: socket.socket) -> bool:
        if not seen.read(connection):
            return False
        connection.sendall(content)
        return True

    return conduct


def _hangs_after(content: bytes) -> Conduct:
    """Send the beginning of an answer, and then nothing."""

    def conduct(seen: Backend, connection: socket.socket) -> None:
        seen.read(connection)
        connection.sendall(content)
        seen.stopped.wait(_MAX_HANG_S)

    return conduct


def _stops_reading(seen: Backend, connection: socket.socket) -> None:
    connection.recv(100)
    seen.stopped.wait(_MAX_HANG_S)


def _answers_garbage(seen: Backend, connection: socket.socket) -> None:
    seen.read(connection)
    connection.sendall(bytes(range(256)) * 20)


def _drips(seen: Backend, connection: socket.socket) -> None:
    """Answer one byte a second."""
    seen.read(connection)
    for byte in OK:
        if seen.stopped.wait(1.0):
            return
        connection.sendall(bytes([byte]))


HEALTHY: Final = Fault("healthy", _answer, takes=True)
TLS_HANGS: Final = Fault("TLS hangs", broken_backends.hangs, shakes_hands=False)
FAULTS: Final = (
    Fault("refuses", broken_backends.resets_before_the_answer, listens=False),
    Fault("accepts nothing", broken_backends.hangs, accepts=False),
    Fault("stops reading", _stops_reading),
    Fault("hangs before the answer", broken_backends.hangs),
    Fault("hangs in the status line", _hangs_after(OK[:6])),
    Fault("hangs in the head", _hangs_after(OK[:40]), takes=True),
    Fault("hangs in the body", _hangs_after(OK[:-1]), takes=True),
    Fault("answers 429", _status("429 Too Many Requests")),
    Fault("answers 429 with Retry-After", _status("429 Too Many Requests", "Retry-After: 2")),
    Fault("answers 502", _status("502 Bad Gateway")),
    Fault("answers 503 with Retry-After", _status("503 Service Unavailable", "Retry-After: 2")),
    Fault("answers 504", _status("504 Gateway Timeout")),
    Fault("answers garbage", _answers_garbage),
    Fault("resets before the answer", broken_backends.resets_before_the_answer),
    Fault("breaks off in the status line", broken_backends.breaks_off_in_the_status_line),
    Fault("resets in the answer", broken_backends.resets_in_the_answer, takes=True),
    Fault("breaks off in the body", broken_backends.breaks_off_in_the_body, takes=True),
    Fault("breaks off in a chunk", broken_backends.breaks_off_in_a_chunk, takes=True),
    Fault("drips one byte a second", _drips),
    Fault("drips headers", broken_backends.drips_headers, takes=True),
)
"""All but that of TLS; each is one that ends: what it did not take is delivered afterwards."""


class FaultServer:
    """A destination, running from `start` to `stop` or for the length of a `with` block.

    It reads JSON without compression. The fault of a request is the one that holds as its first byte comes in; what
    hangs then goes on hanging when the fault is over, as it does in life.

    Attributes:
        fault: what it does to requests now; set by `become`.
        store: the spans that it has taken.
        requests: how many requests it has read in whole.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.fault = HEALTHY
        self.store = TraceStore()
        self.requests = 0
        self.stopped = threading.Event()
        self._context = context
        self._port = 0
        self._connections: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._placeholder: socket.socket | None = None
        # The accepting thread closes what it accepts from: nobody pulls a descriptor away under it.
        self._accepting: threading.Thread | None = None
        self._changing = threading.Lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """Where it takes traces; the same for as long as it lives."""
        return f"http{'s' if self._context else ''}://127.0.0.1:{self._port}/v1/traces"

    def start(self) -> None:
        """Listen."""
        self._listen()

    def stop(self) -> None:
        """Close everything, what hangs included."""
        self.stopped.set()
        with self._changing:
            self._close()
            self._free_port()

    def become(self, fault: Fault) -> None:
        """Misbehave like this from now on."""
        with self._changing:
            self.fault = fault
            if not fault.listens:
                self._close()
                # Bound and not listening: connections are refused, and nobody else gets the port.
                self._placeholder = socket.socket()
                self._placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self._placeholder.bind(("127.0.0.1", self._port))
            elif self._listener is None:
                self._listen()

    def heal(self) -> None:
        """Work from now on."""
        self.become(HEALTHY)

    def taken(self) -> Counter[str]:
        """Return how often each span was taken, by its id."""
        return Counter(span.span_id for span in self.store.spans())

    def _free_port(self) -> None:
        if self._placeholder is not None:
            self._placeholder.close()
            self._placeholder = None

    def _listen(self) -> None:
        self._free_port()
        listener = socket.create_server(("127.0.0.1", self._port), backlog=_BACKLOG)
        listener.settimeout(_POLL_INTERVAL_S)
        self._port = listener.getsockname()[1]
        self._listener = listener
        self._accepting = threading.Thread(target=self._accept, args=(listener,), daemon=True)
        self._accepting.start()

    def _close(self) -> None:
        self._listener = None
        if self._accepting is not None:
            self._accepting.join(5.0)
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                broken_backends.reset(connection)
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while self._listener is listener:
                if not self.fault.accepts:
                    self.stopped.wait(_POLL_INTERVAL_S)
                    continue
                with contextlib.suppress(TimeoutError):
                    connection, _ = listener.accept()
                    connection.settimeout(None)
                    self._connections.add(connection)
                    threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        connection = plain
        try:
            with contextlib.suppress(OSError):
                if not self.fault.shakes_hands:
                    self.stopped.wait(_MAX_HANG_S)
                    return
                if self._context is not None:
                    connection = self._context.wrap_socket(plain, server_side=True)
                    self._connections.add(connection)
                while _has_request(connection):
                    fault = self.fault
                    if not fault.conduct(_Turn(self, fault), connection):
                        return
        finally:
            self._connections -= {plain, connection}
            connection.close()


class _Turn(Backend):
    """What a conduct sees of the server: one request, under the fault that held as it came."""

    def __init__(self, server: FaultServer, fault: Fault) -> None:
        super().__init__(server.endpoint, stopped=server.stopped)
        self._server = server
        self._fault = fault

    def read(self, connection: socket.socket) -> bool:
        body = receive_body(connection)
        if body is None:
            return False
        self._server.requests += 1
        # Before it is answered: who has the answer may look.
        if self._fault.takes:
            self._server.store.add(decode_json(body))
        return True


def _has_request(connection: socket.socket) -> bool:
    """Wait for the first byte of a request; False: the client has gone."""
    if isinstance(connection, ssl.SSLSocket):
        # Nothing can be looked at in advance in TLS: that the client has gone shows as the request is read.
        select.select([connection], [], [])
        return True
    return bool(connection.recv(1, socket.MSG_PEEK))
