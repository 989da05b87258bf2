"""Backends that misbehave below HTTP: they refuse, reset, hang or drip."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.installed_programs import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
Conduct = Callable[["Backend", socket.socket], bool | None]
"""What happens to a request; True: it was answered properly, and the connection may be used again."""


@dataclass
class Backend:
    """What a raw backend saw; `stopped` ends the conducts that wait."""

    endpoint: str = ""
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def read(self, connection: socket.socket) -> bool:
        """Read one request; False: the client has gone."""
        body = receive_body(connection)
        if body is None:
            return False
        self.requests.append(body)
        return True


def receive_body(connection: socket.socket) -> bytes | None:
    """Return the body of the next request; None: the client has gone."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(body) < length:
        piece = connection.recv(65536)
        if not piece:
            return None
        body += piece
    return body


@contextmanager
def backend(*conducts: Conduct) -> Iterator[Backend]:
    """Serve connections one after the other's start, each by the next conduct, the last one for all further ones."""
    seen = Backend()
    with socket.create_server(("127.0.0.1", 0)) as server:
        seen.endpoint = f"http://127.0.0.1:{server.getsockname()[1]}/v1/traces"

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    conduct = conducts[min(seen.connections, len(conducts) - 1)]
                    seen.connections += 1
                    threading.Thread(target=_serve, args=(conduct, seen, connection), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            seen.stopped.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join(2.0)


def _serve(conduct: Conduct, seen: Backend, connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        conduct(seen, connection)


def answers(seen: Backend, connection: socket.socket) -> None:
    while seen.read(connection):
        connection.sendall(OK)


def answers_once(seen: Backend, connection: socket.socket) -> None:
    """Keep the connection open after an answer, and drop it when the next request comes in."""
    if seen.read(connection):
        connection.sendall(OK)
        connection.recv(1)
        reset(connection)


def resets_in_the_answer(seen: Backend, connection: socket.socket) -> None:
    seen.read(connection)
    connection.sendall(OK[:40])
    reset(connection)


def breaks_off_in_the_body(seen: Backend, connection: socket.socket) -> None:
    seen.read(connection)
    connection.sendall(OK.replace(b"Length: 2", b"Length: 200"))


def resets_before_the_answer(seen: Backend, connection: socket.socket) -> None:
    seen.read(connection)
    reset(connection)


def breaks_off_in_the_status_line(seen: Backend, connection: socket.socket) -> None:
    seen.read(connection)
    connection.sendall(OK[:6])


def breaks_off_in_a_chunk(seen: Backend, connection: socket.socket) -> None:
    seen.read(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n{}\r\n")


def lies_about_its_packing(seen: Backend, connection: socket.socket) -> None:
    """Keep the connection, so that only the client's own decision opens another."""
    seen.read(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd")
    seen.stopped.wait(30.0)


def thinks_aloud(seen: Backend, connection: socket.socket) -> None:
    """Say that it is at it, then what became of it: the first two requests are taken, the others are refused."""
    while seen.read(connection):
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        refused = OK.replace(b"200 OK", b"400 No")
        connection.sendall(OK if len(seen.requests) < 3 else refused)


def answers_twice(seen: Backend, connection: socket.socket) -> None:
    if seen.read(connection):
        connection.sendall(OK + OK.replace(b"200 OK", b"400 No"))
        seen.stopped.wait(30.0)


def hangs(seen: Backend, connection: socket.socket) -> None:
    seen.read(connection)
    seen.stopped.wait(30.0)


def drips_headers(seen: Backend, connection: socket.socket) -> None:
    seen.read(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not seen.stopped.wait(0.02):
        connection.sendall(b"X")


def drips_body(seen: Backend, connection: socket.socket) -> None:
    seen.read(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not seen.stopped.wait(0.02):
        connection.sendall(b" ")


def refusing() -> str:
    """Return an endpoint where nobody listens."""
    return f"http://127.0.0.1:{free_port()}/v1/traces"


def reset(connection: socket.socket) -> None:
    """Have the end of the connection be a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
