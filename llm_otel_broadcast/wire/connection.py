"""One HTTP/1.1 connection to an endpoint, straight or through a proxy, for one thread: `http.client` with time limits.

- Connecting, and then sending and answering, have a time of their own each; a server that drips does not extend it.
- An answer that comes before the whole body was sent is read before the reset that may follow it (RFC 9112, sections 9.5 and 9.6).
- Interim answers (1xx) are skipped, and what fails after a status line leaves the status valid.
- A connection is used again only while nothing is left of the answer before.

No library logs its requests here: urllib3's pools show an endpoint's query at level DEBUG.
"""

from __future__ import annotations

import socket
import ssl
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse, IncompleteRead
from typing import Final, cast
from urllib.parse import quote, urlsplit

from llm_otel_broadcast.host.import_lock import importing
from llm_otel_broadcast.wire.addresses import connect, resolve
from llm_otel_broadcast.wire.proxies import PORTS, Proxy, ProxyError, bare_host
from llm_otel_broadcast.wire.stream import CLOSED, MAX_ANSWER_BYTES, READ_BYTES, SocketLike, Stream, remaining
from llm_otel_broadcast.wire.tls import Certificates, default_context

_FIRST_FINAL_STATUS: Final = 200
_OK: Final = 200
_ZLIB_OR_GZIP: Final = 32 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Response:
    """An answer.

    Attributes:
        status: of HTTP, 200 or more.
        headers: those that came.
        content: the beginning of the body, unpacked.
        fault: why the rest did not come.
        is_whole: False: `content` is not all of it, because of a fault or because it is long.
    """

    status: int
    headers: Message
    content: bytes
    fault: Exception | None
    is_whole: bool


class Connection:
    """A connection to one endpoint, opened when it is needed and kept while it works."""

    def __init__(self, url: str, proxy: Proxy | None, certificates: Certificates) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host = bare_host(parts.hostname or "")
        self._port = parts.port or PORTS[parts.scheme]
        # Endpoints come with blanks, umlauts and already quoted parts: what is quoted stays as it is.
        query = quote(parts.query, safe="/%:@!$&'()*+,;=~?[]")
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~") + (f"?{query}" if query else "")
        self._proxy = proxy
        # A proxy without a tunnel is given the whole URL (RFC 9112, section 3.2.2).
        shown_port = f":{parts.port}" if parts.port else ""
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._target = f"http://{host}{shown_port}{path}" if proxy and not self._secure else path
        self._headers = proxy.headers if proxy and not self._secure else {}
        self._certificates = certificates
        self._context: ssl.SSLContext | None = None
        self._stream: Stream | None = None

    def send(self, body: bytes, headers: Mapping[str, str], timeout: float, method: str = "POST") -> Response:
        """Send a body.

        Args:
            body: as it goes out.
            headers: besides Host and Content-Length.
            timeout: seconds for connecting, where that is needed, and as many again for sending and the answer.
            method: of HTTP.

        Raises:
            OSError: there is no answer; `ssl.SSLError` and `ProxyError` are such.
            HTTPException: what answers does not speak HTTP.
        """
        # Renewed certificates count at once: a connection with the former ones is not used any more.
        if self._secure:
            context = self._certificates.context()
            if context is not self._context:
                self.close()
                self._context = context
        if self._stream is not None and self._stream.is_idle():
            try:
                return self._exchange(self._stream, method, body, headers, timeout)
            except CLOSED:
                # Closed by the server just when the request came: it goes out again, on a new connection.
                self.close()
            except BaseException:
                self.close()
                raise
        self.close()
        deadline = time.monotonic() + timeout
        proxy = self._proxy
        sock = _connected(self._host, self._port, deadline) if proxy is None else self._through(proxy, deadline)
        if self._context is not None:
            sock = _secured(sock, self._context, self._host, deadline)
        self._stream = stream = Stream(sock)
        try:
            return self._exchange(stream, method, body, headers, timeout)
        except BaseException:
            self.close()
            raise

    def _exchange(
        self, stream: Stream, method: str, body: bytes, headers: Mapping[str, str], timeout: float
    ) -> Response:
        stream.begin(time.monotonic() + timeout)
        request = _Request(self._host, self._port, secure=self._secure)
        # All that `http.client` asks of a socket is `sendall`, `makefile` and `close`.
        request.sock = cast("socket.socket", stream)
        request.request(method, self._target, body, {**headers, **self._headers})
        try:
            response = request.getresponse()
        except (OSError, HTTPException) as error:
            # The reset that follows a refusal hides it; why the body did not go out says more.
            if stream.failure is not None and (isinstance(error, CLOSED) or not isinstance(error, ssl.SSLError)):
                raise _without_tls(stream.failure) from None
            raise _without_tls(error) from None
        if not isinstance(response, _Response):
            raise HTTPException("another library has replaced the class of the answer")
        content, fault = response.read_beginning()
        # What is left of one answer would be read as the beginning of the next.
        is_whole = fault is None and response.isclosed()
        if not is_whole or response.will_close or stream.is_spoilt:
            self.close()
        response.close()
        return Response(response.status, response.headers, content, fault, is_whole)

    def _through(self, proxy: Proxy, deadline: float) -> SocketLike:
        """Connect to the proxy; for an https endpoint, and through it."""
        sock: SocketLike | None = None
        try:
            sock = _connected(proxy.host, proxy.port, deadline)
            if proxy.url.startswith("https:"):
                sock = _secured(sock, default_context(), proxy.host, deadline)
            if not self._secure:
                return sock
            status, reason = open_tunnel(sock, proxy, self._host, self._port, deadline)
        except (OSError, HTTPException, UnicodeError) as error:
            if sock is not None:
                sock.close()
            raise ProxyError(proxy) from error
        if status != _OK:
            sock.close()
            raise ProxyError(proxy, status, reason)
        return sock

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.end()


def _connected(host: str, port: int, deadline: float) -> socket.socket:
    return connect(resolve(host, port, remaining(deadline)), remaining(deadline))[0]


def _secured(sock: SocketLike, context: ssl.SSLContext, host: str, deadline: float) -> SocketLike:
    """Return the socket with TLS on it; on top of the TLS of a proxy, urllib3 has what it takes."""
    # No certificate is for an interface, or for a name with its final dot.
    name = host.partition("%")[0].rstrip(".")
    try:
        sock.settimeout(remaining(deadline))
        if not isinstance(sock, ssl.SSLSocket):
            return context.wrap_socket(cast("socket.socket", sock), server_hostname=name)
        with importing:
            from urllib3.util.ssltransport import SSLTransport
        return cast("SocketLike", SSLTransport(sock, context, name))
    except BaseException:
        sock.close()
        raise


def open_tunnel(sock: SocketLike, proxy: Proxy, host: str, port: int, deadline: float) -> tuple[int, str]:
    """Ask a proxy for a tunnel; return the status of its answer, 200 where there is one, and what it calls it.

    Raises:
        OSError: it does not answer until the deadline (monotonic).
        HTTPException: it does not speak HTTP.
    """
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [
        f"CONNECT {target} HTTP/1.1",
        f"Host: {target}",
        *(f"{name}: {value}" for name, value in proxy.headers.items()),
    ]
    sock.settimeout(remaining(deadline))
    sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
    stream = Stream(sock, is_borrowed=True)
    stream.begin(deadline)
    response = _Response(cast("socket.socket", stream), method="CONNECT")
    response.begin()
    response.close()
    if response.fault is not None:
        raise response.fault
    return response.status, response.reason


class _Request(HTTPConnection):
    """Writes a request and reads its answer, on a stream that it is given."""

    # A program that sets `HTTPConnection.debuglevel` has the headers of its own requests printed, not those of ours.
    debuglevel = 0
    auto_open = 0

    def __init__(self, host: str, port: int, *, secure: bool) -> None:
        super().__init__(host, port)
        self.default_port = PORTS["https" if secure else "http"]

    def close(self) -> None:
        """Leave the stream to its connection."""


class _Response(HTTPResponse):
    """The answer after all interim ones; `fault`: what went wrong after its status line, which stays valid."""

    fault: Exception | None = None

    def begin(self) -> None:
        try:
            super().begin()
            # `http.client` skips "100 Continue" alone, and some proxies send 102 or 103.
            while self.status < _FIRST_FINAL_STATUS:
                self.headers = self.msg = None  # type: ignore[assignment]
                super().begin()
        except (OSError, HTTPException) as error:
            if not isinstance(self.status, int) or self.status < _FIRST_FINAL_STATUS:
                raise
            self.fault = error
            self.headers = self.msg = HTTPMessage()
            self.length, self.chunked, self.will_close = 0, False, True

    def read_beginning(self) -> tuple[bytes, Exception | None]:
        """Read the beginning of the answer; return it unpacked, and what went wrong."""
        pieces, size, fault = list[bytes](), 0, self.fault
        try:
            while size < MAX_ANSWER_BYTES and (piece := self.read(READ_BYTES)):
                pieces.append(piece)
                size += len(piece)
        except (OSError, HTTPException) as error:
            fault = error
        content = b"".join(pieces)
        # `http.client` ends a body that is shorter than its length without an error when it is read piece by piece.
        if fault is None and not size >= MAX_ANSWER_BYTES and self.length:
            fault = IncompleteRead(content, self.length)
        encoding = self.headers.get("Content-Encoding", "identity").strip().lower()
        if not content or encoding in ("", "identity"):
            return content, fault
        try:
            # Bounded, as a small answer can unpack to gigabytes.
            return zlib.decompressobj(_ZLIB_OR_GZIP).decompress(content, MAX_ANSWER_BYTES), fault
        except zlib.error as error:
            # Also of what is packed in a way that nobody offered.
            return b"", fault or error


_Request.response_class = _Response


def _without_tls(error: Exception) -> Exception:
    """Return a connection that was closed after its handshake as what it is."""
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return ConnectionResetError("the connection was closed")
    return error
