"""A web socket server that answers from a script, and one way to talk to it with the sync and the async client."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import openai
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

CLOSE = "close"
CUT = "cut"
Answer = Callable[[dict], Iterable[dict | str]]
LAST = frozenset({"response.completed", "response.incomplete", "response.failed", "response.done", "error"})


class SocketServer:
    """Greets each connection, then answers every event by `answer`: with events, `CLOSE` or `CUT`."""

    def __init__(self, answer: Answer, *, greeting: Iterable[dict] = ()) -> None:
        self.seen: list[dict] = []
        self.paths: list[str] = []
        self._answer = answer
        self._greeting = tuple(greeting)
        self._server = serve(self._serve, "127.0.0.1", 0, compression=None)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> SocketServer:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._thread.join(5)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}/v1"

    def _serve(self, connection: Any) -> None:
        self.paths.append(connection.request.path)
        with suppress(ConnectionClosed):
            for event in self._greeting:
                connection.send(json.dumps(event))
            for message in connection:
                event = json.loads(message)
                self.seen.append(event)
                for reply in self._answer(event):
                    if reply == CLOSE:
                        return
                    if reply == CUT:
                        connection.socket.shutdown(socket.SHUT_RDWR)
                        return
                    connection.send(json.dumps(reply))


def client_of(server: SocketServer) -> openai.OpenAI:
    return openai.OpenAI(api_key="sk-test", base_url="http://127.0.0.1:9/v1", websocket_base_url=server.url)


def async_client_of(server: SocketServer) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="sk-test", base_url="http://127.0.0.1:9/v1", websocket_base_url=server.url)


def connect(client: Any, api: str, **asked: Any) -> Any:
    """Return what opens a connection: `api` is the way from the client to the resource, `beta.realtime` for instance."""
    for name in api.split("."):
        client = getattr(client, name)
    return client.connect(**asked)


def converse(kind: str, server: SocketServer, api: str, *events: dict, **asked: Any) -> list:
    """Send each event, and after each `response.create` read what comes until the last event of a response."""
    if kind == "sync":
        received = []
        with client_of(server) as client, connect(client, api, **asked) as connection:
            for event in events:
                connection.send(event)
                while event["type"] == "response.create":
                    received.append(connection.recv())
                    if received[-1].type in LAST:
                        break
        return received

    async def talk() -> list:
        received = []
        async with async_client_of(server) as client, connect(client, api, **asked) as connection:
            for event in events:
                await connection.send(event)
                while event["type"] == "response.create":
                    received.append(await connection.recv())
                    if received[-1].type in LAST:
                        break
        return received

    return asyncio.run(talk())


def once(*replies: dict | str) -> Answer:
    """Answer the first `response.create`, and nothing else."""
    left: Iterator[tuple[dict | str, ...]] = iter([replies])
    return lambda event: next(left, ()) if event["type"] == "response.create" else ()
