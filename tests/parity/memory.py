"""Transports that answer from memory, for what a real server cannot do on cue: raise in the middle, or take exactly so many steps."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai

from llm_otel_broadcast.stand_in.answers import Answer

HTTP: Any = importlib.import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
"""`httpx`, or `httpx2` where the client is new enough."""


def pieces_of(answer: Answer) -> list[bytes]:
    return [answer.body] if answer.events is None else list(answer.events)


class Pieces(HTTP.SyncByteStream):  # type: ignore[misc,name-defined]
    """A body, or as much of it as comes before an error is raised."""

    def __init__(self, pieces: list[Any]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if not isinstance(piece, bytes):
                raise piece
            yield piece


class AsyncPieces(HTTP.AsyncByteStream):  # type: ignore[misc,name-defined]
    """The same, giving way before each piece and at its closing."""

    def __init__(self, pieces: list[Any]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            await asyncio.sleep(0)
            if not isinstance(piece, bytes):
                raise piece
            yield piece

    async def aclose(self) -> None:
        await asyncio.sleep(0)


class Transport(HTTP.BaseTransport):  # type: ignore[misc,name-defined]
    """Answers each request the same way: an answer, an error to raise, a list of pieces and errors, or what makes one."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.requests: list[Any] = []

    def handle_request(self, request: Any) -> Any:
        self.requests.append(request)
        return _response(self._answer, request, Pieces)


class AsyncTransport(HTTP.AsyncBaseTransport):  # type: ignore[misc,name-defined]
    """The same, giving way before it answers."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.requests: list[Any] = []

    async def handle_async_request(self, request: Any) -> Any:
        self.requests.append(request)
        await asyncio.sleep(0)
        return _response(self._answer, request, AsyncPieces)


def _response(answer: Any, request: Any, kind: Any) -> Any:
    if callable(answer):
        answer = answer(request)
    if isinstance(answer, BaseException):
        raise answer
    pieces = pieces_of(answer) if isinstance(answer, Answer) else answer
    streamed = not isinstance(answer, Answer) or answer.events is not None
    headers = {"content-type": "text/event-stream" if streamed else "application/json"}
    return HTTP.Response(200, headers=headers, stream=kind(pieces), request=request)


def http_client(kind: str, answer: Any) -> Any:
    """Return what goes into `OpenAI(http_client=...)`."""
    if kind == "sync":
        return openai.DefaultHttpxClient(transport=Transport(answer))
    return openai.DefaultAsyncHttpxClient(transport=AsyncTransport(answer))
