"""The stand-in's HTTP server, on the loop-back address. It answers like the API, or from a script, and notes each request.

As a proxy (`HTTP_PROXY`) it answers for any host, so that a client can believe it talks to openrouter.ai.
"""

from __future__ import annotations

import json
import socket
import threading
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from llm_otel_broadcast.receiver.loopback import LoopbackHandler, LoopbackServer
from llm_otel_broadcast.stand_in.answers import Answer, error
from llm_otel_broadcast.stand_in.routes import usual_answer

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
_MAX_REQUESTS: Final = 10_000
_MAX_KEPT_BYTES: Final = 64 * 1024 * 1024
_CHUNK_BYTES: Final = 64 * 1024
_IDLE_TIMEOUT_S: Final = 60.0
"""A connection that sends nothing for so long is closed; each holds a thread."""


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """One request as it arrived; headers and body, which hold keys and prompts, are not in its repr."""

    path: str
    host: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    method: str = "POST"
    query: str = field(default="", repr=False)

    @property
    def json(self) -> dict[str, object]:
        document = json.loads(self.body)
        return document if isinstance(document, dict) else {}

    @property
    def parameters(self) -> dict[str, str]:
        return dict(parse_qsl(self.query))


class StandIn:
    """The server, running from `start` to `stop` or for the length of a `with` block.

    Attributes:
        requests: the last requests, oldest first.
        connections: how many connections have been opened so far.
        answers: what each of them got.
        max_body_bytes: of one request.
        max_requests: how many requests are kept; beyond it the older half goes.
        max_kept_bytes: of their bodies and answers together, likewise.
    """

    max_body_bytes = MAX_BODY_BYTES
    max_requests = _MAX_REQUESTS
    max_kept_bytes = _MAX_KEPT_BYTES

    def __init__(self, port: int = 0) -> None:
        self.requests: list[SeenRequest] = []
        self.connections = 0
        self.answers: list[Answer] = []
        self._script: deque[Answer] = deque()
        self._noting = threading.Lock()
        self._kept_bytes = 0
        self._stopping = threading.Event()
        self._port = port
        self._server: _Server | None = None

    def __enter__(self) -> StandIn:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The server itself, for use as a proxy or as an Azure endpoint."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def base_url(self) -> str:
        """What goes into `OpenAI(base_url=...)`."""
        return f"{self.url}/v1"

    def script(self, *answers: Answer) -> None:
        """Queue answers; each is given once, before the usual ones."""
        self._script.extend(answers)

    def forget_script(self) -> None:
        """Drop what is left of the script."""
        self._script.clear()

    def start(self) -> None:
        """Bind and serve on a daemon thread; the port stays the same for the next start."""
        self._server = _Server(("127.0.0.1", self._port), self)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name="stand-in", daemon=True).start()

    def stop(self) -> None:
        """Stop serving; what is being answered ends at once."""
        if self._server is not None:
            self._stopping.set()
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, request: SeenRequest) -> Answer:
        """Return what a request gets: the next answer of the script, else what the API would say."""
        # Before it is answered: a test may look while its client still waits.
        with self._noting:
            self.requests.append(request)
            self._kept_bytes += len(request.body)
            self._forget_old()
        try:
            # `popleft` is one step for all threads; asking for the length first would be two.
            answer = self._script.popleft()
        except IndexError:
            answer = self.usual_answer(request)
        with self._noting:
            self.answers.append(answer)
            self._kept_bytes += _size_of(answer)
            self._forget_old()
        return answer

    def _forget_old(self) -> None:
        """Drop the older half of what is kept where that is too much; by halves, as the first of a list is dear to take away."""
        while len(self.requests) > self.max_requests or (self._kept_bytes > self.max_kept_bytes and self.requests):
            half = (len(self.requests) + 1) // 2
            del self.requests[:half], self.answers[:half]
            # Whoever looks may empty the lists, too: what they hold is counted anew.
            self._kept_bytes = sum(len(request.body) for request in self.requests) + sum(map(_size_of, self.answers))

    def usual_answer(self, request: SeenRequest) -> Answer:
        """Return what the API would say, as far as it is known here: chat completions."""
        return usual_answer(request.path, request.body, request.parameters)

    def wait(self, seconds: float) -> None:
        """Let an answer take its time; `stop` ends the waiting."""
        if seconds:
            # Not `sleep`: an answer that takes a minute must not keep a test from ending.
            self._stopping.wait(seconds)


def _size_of(answer: Answer) -> int:
    return len(answer.body) + sum(map(len, answer.events or ()))


class _Server(LoopbackServer):
    label = "stand-in"
    # A large upload over a slow machine; a request that drips is over then, too.
    request_timeout_s = 120.0

    def __init__(self, address: tuple[str, int], stand_in: StandIn) -> None:
        self.stand_in = stand_in
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, object]:
        self.stand_in.connections += 1
        return super().get_request()


class _Handler(LoopbackHandler):
    server: _Server
    timeout = _IDLE_TIMEOUT_S

    def do_POST(self) -> None:  # noqa: N802  # the name http.server calls
        self._answer()

    def do_GET(self) -> None:  # noqa: N802  # the name http.server calls
        self._answer()

    def do_DELETE(self) -> None:  # noqa: N802  # the name http.server calls
        self._answer()

    def _answer(self) -> None:
        stand_in = self.server.stand_in
        size, fault = self.content_length(), self.sender_fault()
        if "transfer-encoding" in self.headers or size is None or size > stand_in.max_body_bytes:
            self._refuse(413, f"the body must have a length, and at most {stand_in.max_body_bytes} bytes")
            return
        if fault is not None:
            # Closing with unread bytes resets the connection, and the client would lose the answer.
            while size > 0 and (chunk := self.rfile.read(min(size, _CHUNK_BYTES))):
                size -= len(chunk)
            self._refuse(403, fault)
            return
        body = self.rfile.read(size)
        self.end_reading()
        # A client that takes us for its proxy sends the whole URL in place of the path.
        target = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        host = target.netloc or headers.get("host", "")
        answer = stand_in.answer(SeenRequest(target.path, host, headers, body, self.command, target.query))
        stand_in.wait(answer.delay)
        if answer.events is None:
            self._send_body(answer)
            return
        self._head(answer, Content_Type="text/event-stream", Transfer_Encoding="chunked")
        for event in answer.events:
            # Chunked, as a stream has no length that could be known.
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            # Each event by itself, as the APIs send: time to the first chunk is measured.
            self.wfile.flush()
            stand_in.wait(answer.pause)
        if answer.cut:
            self._cut()
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _refuse(self, status: int, text: str) -> None:
        # What is left of the body would be read as the next request.
        self.close_connection = True
        self._send_body(error(status, text, headers={"Connection": "close"}))

    def _head(self, answer: Answer, **headers: str) -> None:
        self.send_response(answer.status)
        for name, value in {**headers, **answer.headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _send_body(self, answer: Answer) -> None:
        if answer.cut:
            self._cut()
            return
        self._head(answer, Content_Type="application/json", Content_Length=str(len(answer.body)))
        self.wfile.write(answer.body)

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
