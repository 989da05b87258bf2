"""An OTLP/HTTP traces receiver inside this process, for the demo and the tests.

It listens on the loop-back address, keeps what it accepts in a `TraceStore`, and can be told to misbehave. It never
writes to the console and never repeats a request's headers in an answer.
"""

from __future__ import annotations

import threading
import zlib
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self

from llm_otel_broadcast.receiver.answers import JSON, PROTOBUF, failure, success
from llm_otel_broadcast.receiver.decoding import DecodeError, decode_json, decode_protobuf
from llm_otel_broadcast.receiver.loopback import LoopbackHandler, LoopbackServer
from llm_otel_broadcast.receiver.requests import ReceivedRequest, RequestLog
from llm_otel_broadcast.receiver.store import ReceivedSpan, TraceStore

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

PATH: Final = "/v1/traces"
MAX_BODY_BYTES: Final = 8 * 1024 * 1024
MAX_DECOMPRESSED_BYTES: Final = 16 * 1024 * 1024
_MAX_DRAINED_BYTES: Final = 64 * 1024 * 1024
_CHUNK_BYTES: Final = 64 * 1024
# zlib's window size for "gzip header and trailer required".
_GZIP_WINDOW: Final = 31
_STOP_TIMEOUT_S: Final = 2.0
IDLE_TIMEOUT_S: Final = 10.0
"""A connection that sends nothing for so long is closed; each holds a thread."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer to one request.

    Args:
        status: of HTTP.
        headers: besides the content's type and length.
        body: as it is sent.
        content_type: None names the request's encoding.
        delay: seconds before the answer.
        close: True drops the connection without an answer.
        store: True keeps the spans whatever the status.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str | None = None
    delay: float = 0.0
    close: bool = False
    store: bool = False


class _RefusedError(Exception):
    """A request that is answered with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class OtlpReceiver:
    """A receiver that runs from `start` to `stop`, or for the length of a `with` block.

    Attributes:
        store: The spans accepted so far.
        json_allowed: False answers 415 to JSON, as Phoenix does.
        hang: An event to wait for before each answer; `stop` does not wait for it.

    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, store: TraceStore | None = None) -> None:
        self.store = TraceStore() if store is None else store
        self.json_allowed = True
        self.hang: threading.Event | None = None
        self._address = (host, port)
        self._script: deque[Reply] = deque()
        self._requests = RequestLog()
        self._noting = threading.Lock()
        # One body at a time: what is decoded takes many times the room of its bytes.
        self._decoding = threading.Lock()
        self._stopping = threading.Event()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """The URL to send traces to; stays the same when the receiver is stopped and started again."""
        host, port = self._address
        if not port:
            raise RuntimeError("the receiver has no port before its first start")
        return f"http://{host}:{port}{PATH}"

    @property
    def requests(self) -> list[ReceivedRequest]:
        """A copy of the POSTs that arrived whole, accepted or not, oldest first; bounded as `requests.py` says."""
        return self._requests.all()

    def start(self) -> None:
        """Bind and serve on a daemon thread."""
        if self._server is not None:
            raise RuntimeError("the receiver is already running")
        self._stopping.clear()
        server = _Server(self._address, self)
        # The port that the system has chosen is kept, so that the endpoint is the same after a stop and a start.
        self._address = (self._address[0], server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="otlp-receiver", daemon=True)
        self._server, self._thread = server, thread
        thread.start()

    def stop(self) -> None:
        """Stop serving and close every socket, also those of unanswered requests; may be called twice."""
        server, thread = self._server, self._thread
        if server is None or thread is None:
            return
        self._server = self._thread = None
        self._stopping.set()
        server.shutdown()
        thread.join(_STOP_TIMEOUT_S)
        server.server_close()
        # Threads that wait for a slow client would hold its socket beyond the test that has made it.
        server.close_connections(_STOP_TIMEOUT_S)

    def script(self, *replies: Reply) -> None:
        """Queue replies; each answers one request, after which the receiver behaves normally again."""
        with self._noting:
            self._script.extend(replies)

    def clear(self) -> None:
        """Forget the spans and the requests so far."""
        self.store.clear()
        self._requests.clear()

    def wait_for_requests(self, count: int, timeout: float = 5.0) -> list[ReceivedRequest]:
        """Wait until at least `count` requests arrived, answered or not.

        Raises:
            TimeoutError: Says how many arrived.

        """
        return self._requests.wait_for(count, timeout)

    def _answer(self, path: str, headers: dict[str, str], wire: bytes) -> Reply:
        content_type = headers.get("content-type", "")
        body, fault = _decompress(wire, headers.get("content-encoding", "identity"))
        request = ReceivedRequest(path, headers, body, content_type, len(wire))
        # One lock for both, so that replies are given in the order in which the requests are listed.
        with self._noting:
            self._requests.add(request)
            scripted = self._script.popleft() if self._script else None
        hang = self.hang
        # Two events cannot be awaited at once; a short poll keeps `stop` quick.
        while hang is not None and not self._stopping.is_set() and not hang.wait(0.02):
            pass
        if scripted is not None and scripted.delay:
            self._stopping.wait(scripted.delay)
        if self._stopping.is_set():
            return Reply(503, close=True)
        try:
            if scripted is None or scripted.store:
                with self._decoding:
                    self.store.add(self._accept(request, fault), len(body))
        except _RefusedError as refused:
            answer = Reply(refused.status, body=failure(refused.message, content_type))
        else:
            answer = Reply(200, body=success(content_type))
        # A scripted reply is given also where the request could not be stored: a backend that fails may have read nothing.
        return answer if scripted is None else scripted

    def _accept(self, request: ReceivedRequest, fault: _RefusedError | None) -> list[ReceivedSpan]:
        if request.path != PATH:
            raise _RefusedError(404, f"only {PATH} is served")
        # Parameters such as `; charset=utf-8` are refused below, as strict backends do.
        media, parameters, _ = request.content_type.partition(";")
        if media.strip() not in {JSON, PROTOBUF}:
            raise _RefusedError(415, f"the content type must be {JSON} or {PROTOBUF}")
        if parameters:
            raise _RefusedError(400, "the content type must have no parameters")
        if media == JSON and not self.json_allowed:
            raise _RefusedError(415, f"the content type must be {PROTOBUF}")
        if fault is not None:
            raise fault
        try:
            return decode_json(request.body) if media == JSON else decode_protobuf(request.body)
        except DecodeError as malformed:
            raise _RefusedError(400, str(malformed)) from malformed


def _decompress(wire: bytes, encoding: str) -> tuple[bytes, _RefusedError | None]:
    if encoding == "identity":
        return wire, None
    if encoding != "gzip":
        return wire, _RefusedError(415, "the content encoding must be gzip or none")
    reader = zlib.decompressobj(_GZIP_WINDOW)
    try:
        # One byte more than allowed tells a bomb from a body of exactly that size.
        body = reader.decompress(wire, MAX_DECOMPRESSED_BYTES + 1)
    except zlib.error:
        return wire, _RefusedError(400, "the body is not gzip")
    if len(body) > MAX_DECOMPRESSED_BYTES:
        return wire, _RefusedError(413, f"the body has more than {MAX_DECOMPRESSED_BYTES} bytes when decompressed")
    if not reader.eof or reader.unused_data:
        return wire, _RefusedError(400, "the gzip body is cut off or followed by something else")
    return body, None


class _Server(LoopbackServer):
    label = "otlp-receiver"

    def __init__(self, address: tuple[str, int], receiver: OtlpReceiver) -> None:
        self.receiver = receiver
        super().__init__(address, _Handler)


class _Handler(LoopbackHandler):
    """One connection; it reads and writes, the receiver decides."""

    server: _Server
    server_version = "otlp-receiver"
    sys_version = ""
    # Head and body leave in one packet, else Nagle and delayed ACK cost 40 ms.
    wbufsize = -1
    timeout = IDLE_TIMEOUT_S

    def do_POST(self) -> None:  # noqa: N802  # the name http.server calls
        try:
            # The body first, whoever sends it: closing with unread bytes resets the connection.
            wire = self._read_body()
            self.end_reading()
            self._check_sender()
        except _RefusedError as refused:
            self._refuse(refused.status, refused.message)
            return
        # The client went away in the middle of the body.
        if wire is None:
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.receiver._answer(self.path, headers, wire)  # noqa: SLF001  # one thing in two classes
        if reply.close:
            self.close_connection = True
        else:
            self._send(reply)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        # http.server's own repeats the request line in a page of HTML; it says 501 for a method without a do_ function.
        del message, explain
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self._refuse(405, "only POST is served", {"Allow": "POST"})
        else:
            self._refuse(code, "the request is not acceptable HTTP/1.1")

    def _check_sender(self) -> None:
        fault = self.sender_fault()
        if fault is not None:
            raise _RefusedError(403, fault)

    def _read_body(self) -> bytes | None:
        if "transfer-encoding" in self.headers or not self.headers.get("content-length"):
            raise _RefusedError(411, "a Content-Length is needed")
        size = self.content_length()
        if size is None:
            raise _RefusedError(400, "the Content-Length is not a number")
        if size > MAX_BODY_BYTES:
            # Closing with unread bytes resets the connection, and the client would lose the answer.
            unread = min(size, _MAX_DRAINED_BYTES)
            while unread > 0 and (chunk := self.rfile.read(min(unread, _CHUNK_BYTES))):
                unread -= len(chunk)
            raise _RefusedError(413, f"the body has more than {MAX_BODY_BYTES} bytes")
        body = self.rfile.read(size)
        return body if len(body) == size else None

    def _refuse(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        """Answer an error and close, as part of the request may be unread."""
        content_type = self._content_type()
        self._send(Reply(status, {"Connection": "close", **(headers or {})}, failure(message, content_type)))
        self.close_connection = True

    def _content_type(self) -> str:
        # Before the head is read there are no headers: http.server sets the attribute late.
        headers = getattr(self, "headers", None)
        return JSON if headers is None else str(headers.get("content-type", JSON))

    def _send(self, reply: Reply) -> None:
        encoding = PROTOBUF if self._content_type().startswith(PROTOBUF) else JSON
        headers = {
            "content-type": reply.content_type or encoding,
            "content-length": str(len(reply.body)),
            **{name.lower(): value for name, value in reply.headers.items()},
        }
        self.send_response(reply.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        # An answer to HEAD has no body, or the client takes it for the next answer.
        if self.command != "HEAD":
            self.wfile.write(reply.body)
