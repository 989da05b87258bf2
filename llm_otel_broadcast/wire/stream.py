"""What `http.client` uses in place of a socket: it notices an answer while it still sends, and reads until one deadline."""

from __future__ import annotations

import io
import selectors
import ssl
import time
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

MAX_ANSWER_BYTES: Final = 65_536
# Small enough that a socket which can be written to takes it without waiting.
_PIECE_BYTES: Final = 16_384
READ_BYTES: Final = 4_096
_MIN_TIMEOUT_S: Final = 0.001
_FIRST_ERROR_STATUS: Final = 300
_STATUS_LINE_LENGTH: Final = 12
_NOTHING_YET: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
# How a connection says that the other side has closed it.
CLOSED: Final = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class SocketLike(Protocol):
    """What is asked of a socket, with TLS or without: the standard library's, or urllib3's for TLS within TLS."""

    def settimeout(self, value: float | None, /) -> None: ...
    def recv(self, size: int, /) -> bytes: ...
    def recv_into(self, buffer: WriteableBuffer, /) -> int: ...
    def sendall(self, data: ReadableBuffer, /) -> None: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


def remaining(deadline: float) -> float:
    """Return the seconds until a deadline (monotonic), at least a millisecond: with 0 a socket would not wait at all."""
    return max(_MIN_TIMEOUT_S, deadline - time.monotonic())


class Stream:
    """What `http.client` uses like a socket: it watches for the answer while it writes, and reads until one deadline.

    Args:
        sock: connected, with or without TLS.
        is_borrowed: it is used for something else afterwards: nothing beyond the answer is read, and it stays open.
    """

    def __init__(self, sock: SocketLike, *, is_borrowed: bool = False) -> None:
        self._sock = sock
        # Behind a proxy's answer, what follows belongs to the tunnel: read byte by byte, nothing is taken from it.
        self._raw = _Raw(sock, piecemeal=is_borrowed)
        self._is_borrowed = is_borrowed
        self._incoming = _Incoming(self._raw)
        self.failure: OSError | None = None
        """Why the body could not be sent."""
        self.is_spoilt = False
        """The body was not sent as a whole: the connection is of no further use."""

    def begin(self, deadline: float) -> None:
        """Give the next request its time (monotonic)."""
        self._raw.deadline = deadline

    def is_idle(self) -> bool:
        """Return whether another request can be sent: the server has neither closed nor said anything unasked."""
        if self._raw.listens() is not None:
            return False
        # Paused, the buffer shows what it has without asking the socket.
        self._raw.is_paused = True
        try:
            return not self._incoming.peek(1)
        finally:
            self._raw.is_paused = False

    def makefile(self, *_: object, **__: object) -> io.BufferedReader:
        """Return the one buffer of the connection: with one for each answer, the beginning of the next could get lost."""
        return self._incoming

    def sendall(self, data: bytes) -> None:
        """Send, until the server answers with a refusal or closes. A failure is kept, as an answer may be there already."""
        view = memoryview(data)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
                while view and not self.is_spoilt:
                    ready = selector.select(max(0.0, self._raw.deadline - time.monotonic()))
                    if not ready:
                        raise TimeoutError("the request was not sent in time")
                    _, events = ready[0]
                    # A server may refuse a large body before it has read it (RFC 9112, section 9.5), and the reset that follows
                    # would take its answer away (section 9.6).
                    if events & selectors.EVENT_READ and self._raw.is_refused():
                        self.is_spoilt = True
                    elif events & selectors.EVENT_WRITE:
                        self._sock.settimeout(remaining(self._raw.deadline))
                        self._sock.sendall(view[:_PIECE_BYTES])
                        view = view[_PIECE_BYTES:]
        except CLOSED as error:
            self.failure, self.is_spoilt = error, True

    def end(self) -> None:
        try:
            self._sock.close()
        except OSError:
            # A TLS connection may fail to say good-bye.
            return

    def __del__(self) -> None:
        # A lane that a forked child inherits, or that is replaced, is not closed by anybody.
        if not self._is_borrowed:
            self.end()

    def close(self) -> None:
        """Stay open: `http.client` closes what it has read from."""


class _Raw(io.RawIOBase):
    """Reads from a socket until a deadline, however often a piece arrives."""

    def __init__(self, sock: SocketLike, *, piecemeal: bool) -> None:
        self._sock = sock
        self._limit = 1 if piecemeal else None
        self._ahead = bytearray()
        self._is_ended = False
        self.deadline = 0.0
        self.is_paused = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        view = memoryview(buffer).cast("B")[: self._limit]
        if self._ahead:
            count = min(len(view), len(self._ahead))
            view[:count] = self._ahead[:count]
            del self._ahead[:count]
            return count
        if self.is_paused:
            return None
        # The timeout of a socket begins anew with each piece: a server that drips would extend it for ever.
        remaining_s = self.deadline - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError("the answer did not end in time")
        self._sock.settimeout(remaining_s)
        return self._sock.recv_into(view)

    def listens(self) -> bytes | None:
        """Return what has arrived, b"" where the server has closed, None where there is nothing yet."""
        if self._ahead:
            return bytes(self._ahead)
        self._sock.settimeout(0.0)
        try:
            return self._sock.recv(READ_BYTES)
        except _NOTHING_YET:
            return None
        except OSError:
            # A connection that fails to be read counts as closed: the caller opens another one.
            return b""

    def is_refused(self) -> bool:
        """Return whether what comes while the body is sent ends that: a refusal, or the end of the connection."""
        # More than that is no answer that we would read, and must not fill the memory while we send.
        if len(self._ahead) < MAX_ANSWER_BYTES:
            self._sock.settimeout(0.0)
            try:
                piece = self._sock.recv(READ_BYTES)
            except _NOTHING_YET:
                return False
            self._ahead += piece
            if not piece:
                return True
        # The status of the answer that begins there; after an interim one (1xx) more follows.
        head = bytes(self._ahead)
        while head[9:10] == b"1" and b"\r\n\r\n" in head:
            head = head.partition(b"\r\n\r\n")[2]
        digits = head[9:_STATUS_LINE_LENGTH]
        is_status = head.startswith(b"HTTP/1.") and len(digits) == 3 and digits.isdigit()  # noqa: PLR2004
        return is_status and int(digits) >= _FIRST_ERROR_STATUS


class _Incoming(io.BufferedReader):
    """A buffer that outlives the answers read from it."""

    def close(self) -> None:
        """Stay open."""

    def flush(self) -> None:
        """Hold nothing back. An answer flushes when it is collected, maybe after the buffer (Python 3.13 tells of errors there)."""
