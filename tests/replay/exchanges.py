"""Recorded exchanges, a server that answers with them, and calls that bring each about."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai

DATA = Path(__file__).parent / "data"
WAYS = ("sync", "async", "raw", "lazy")
"""`create`, the same awaited, `with_raw_response`, `with_streaming_response`."""
METHODS = {"images/generations": "generate", "responses/compact": "compact"}
"""Of calls that are not named `create`."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer. `path` names the recording it is from, `api` the URL below `base`."""

    id: str
    source: str
    path: str
    number: int
    api: str
    method: str
    host: str
    base: str
    query: dict[str, str]
    fetched: str | None
    request: dict[str, Any] | None
    status: int
    headers: dict[str, str]
    response: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.source}-{self.id}"

    @property
    def is_streamed(self) -> bool:
        return "sse" in self.response

    @property
    def document(self) -> dict[str, Any]:
        """The answer's JSON object; an empty one where it has none."""
        document = self.response.get("json")
        return document if isinstance(document, dict) else {}

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON objects of a streamed answer."""
        enclosing_spans = self.response["sse"].replace("\r\n", "\n").split("\n\n")
        data = [
            "".join(line.removeprefix("data:") for line in enclosing_span.split("\n") if line.startswith("data:"))
            for enclosing_span in enclosing_spans
        ]
        return [json.loads(text) for text in data if text.strip().startswith("{")]


def recorded() -> list[Exchange]:
    """Return all exchanges, those of the realtime API aside."""
    files = sorted(path for path in DATA.glob("*.jsonl") if path.name != "realtime-sessions.jsonl")
    return [Exchange(**json.loads(line)) for path in files for line in path.read_text(encoding="utf-8").splitlines()]


def sessions() -> list[dict[str, Any]]:
    """Return the realtime sessions: `path`, and `messages` as pairs of `sent` or `received` and the message."""
    lines = (DATA / "realtime-sessions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


class ReplayServer:
    """Answers with the exchange that the header `x-exchange` names; `requests` has the last path and body of each."""

    def __init__(self, exchanges: list[Exchange]) -> None:
        self.exchanges = {exchange.id: exchange for exchange in exchanges}
        self.requests: dict[str, tuple[str, bytes]] = {}
        handler = type("Handler", (_Handler,), {"replay": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    replay: ReplayServer
    protocol_version = "HTTP/1.1"
    # Head and body leave in one packet, else Nagle and delayed ACK cost 40 ms a call.
    wbufsize = -1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        exchange = self.replay.exchanges[self.headers["x-exchange"]]
        self.replay.requests[exchange.id] = (self.path, body)
        content_type, answer = _body_of(exchange)
        self.send_response(exchange.status)
        for name, value in {**exchange.headers, "content-type": content_type, "content-length": len(answer)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name http.server gave it
        """Keep quiet."""


def _body_of(exchange: Exchange) -> tuple[str, bytes]:
    answer = exchange.response
    if exchange.is_streamed:
        return "text/event-stream; charset=utf-8", answer["sse"].encode()
    if "bytes" in answer:
        return answer["type"], bytes(answer["bytes"])
    return "application/json", json.dumps(answer["json"]).encode()


class Caller:
    """Makes the call of an exchange the way a program would, and returns what the program gets to see."""

    def __init__(self, port: int) -> None:
        self._port = port
        settings: dict[str, Any] = {"api_key": "key", "base_url": "http://x", "max_retries": 0, "timeout": 20}
        self._sync = openai.OpenAI(**settings)
        self._async = openai.AsyncOpenAI(**settings)
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        self._loop.run_until_complete(self._async.close())
        self._loop.close()
        self._sync.close()

    def can(self, exchange: Exchange) -> bool:
        """Return whether this version of the client has such a method."""
        try:
            self._method(self._sync, exchange)
        except AttributeError:
            return False
        return True

    def call(self, exchange: Exchange, way: str) -> Any:
        """Call; an error becomes its text, a stream the list of its chunks, a model its JSON."""
        try:
            if way == "async":
                return self._loop.run_until_complete(self._awaited(exchange))
            wrapped = {"raw": "with_raw_response", "lazy": "with_streaming_response"}.get(way, "")
            method = self._method(self._configured(self._sync, exchange), exchange, wrapped)
            arguments = self._arguments(exchange)
            if way == "lazy":
                with method(**arguments) as response:
                    return _seen(response.parse())
            answer = method(**arguments)
            return _seen(answer.parse() if way == "raw" else answer)
        except (openai.OpenAIError, TypeError, ValueError) as error:
            return f"{type(error).__qualname__}: {error}"

    async def _awaited(self, exchange: Exchange) -> Any:
        answer = await self._method(self._configured(self._async, exchange), exchange)(**self._arguments(exchange))
        if isinstance(answer, openai.AsyncStream):
            return [_seen(chunk) async for chunk in answer]
        return _seen(answer)

    def _configured(self, client: Any, exchange: Exchange) -> Any:
        return client.with_options(
            base_url=f"http://{exchange.host}:{self._port}{exchange.base}",
            default_headers={"x-exchange": exchange.id},
            default_query=exchange.query or None,
        )

    @staticmethod
    def _method(client: Any, exchange: Exchange, wrapped: str = "") -> Callable[..., Any]:
        resource = client
        for name in exchange.api.removesuffix("/generations").removesuffix("/compact").split("/"):
            resource = getattr(resource, name)
        if wrapped:
            resource = getattr(resource, wrapped)
        name = "retrieve" if exchange.method == "GET" else METHODS.get(exchange.api, "create")
        method: Callable[..., Any] = getattr(resource, name)
        return method

    def _arguments(self, exchange: Exchange) -> dict[str, Any]:
        if exchange.method == "GET":
            return {"response_id": exchange.fetched, **({"stream": True} if exchange.is_streamed else {})}
        body = dict(exchange.request or {})
        files = body.pop("__files__", ())
        parameters = inspect.signature(self._method(self._sync, exchange)).parameters
        arguments: dict[str, Any] = {name: value for name, value in body.items() if name in parameters}
        beyond = {name: value for name, value in body.items() if name not in parameters}
        if beyond:
            arguments["extra_body"] = beyond
        for file in files:
            arguments[file["name"].removesuffix("[]")] = (file["filename"], bytes(min(file["bytes"], 2000)))
        return arguments


def _seen(answer: Any) -> Any:
    if isinstance(answer, openai.Stream):
        return [_seen(chunk) for chunk in answer]
    if hasattr(answer, "model_dump_json"):
        return answer.model_dump_json(warnings=False)
    if hasattr(answer, "read"):
        return answer.read()
    return answer
