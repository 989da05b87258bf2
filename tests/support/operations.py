"""Every operation besides chat, with arguments for it, and one way to make each call, with both clients and all their ways."""

from __future__ import annotations

import asyncio
import inspect
from operator import attrgetter
from typing import Any

import openai
import pytest

from llm_otel_broadcast.clients.openai.targets import TARGETS

FILE = ("holiday.png", b"\x89PNG, or so it says", "image/png")
SOUND = ("voice memo.mp3", b"ID3, or so it says")
OPERATIONS: dict[str, dict[str, Any]] = {
    "completions.create": {"model": "gpt-3.5-turbo-instruct", "prompt": "Once upon"},
    "embeddings.create": {"model": "text-embedding-3-small", "input": "Once upon"},
    "images.generate": {"model": "gpt-image-1", "prompt": "A cat"},
    "images.edit": {"model": "gpt-image-1", "prompt": "A hat on the cat", "image": FILE},
    "images.create_variation": {"model": "dall-e-2", "image": FILE},
    "audio.speech.create": {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Good morning"},
    "audio.transcriptions.create": {"model": "gpt-4o-transcribe", "file": SOUND},
    "audio.translations.create": {"model": "whisper-1", "file": SOUND},
    "moderations.create": {"model": "omni-moderation-latest", "input": "harm"},
}
NAMES = {
    "completions.create": "text_completion",
    "embeddings.create": "embeddings",
    "images.generate": "generate_content",
    "images.edit": "generate_content",
    "images.create_variation": "generate_content",
    "audio.speech.create": "speech",
    "audio.transcriptions.create": "transcription",
    "audio.translations.create": "translation",
    "moderations.create": "moderation",
}
STREAMED = ("completions.create", "images.generate", "images.edit", "audio.transcriptions.create")
WAYS = ("plain", "raw", "streaming")


def reader_of(operation: str) -> Any:
    """Return the reader that the table has for an operation."""
    resource, _, method = operation.rpartition(".")
    place = (f"openai.resources.{resource}", method)
    return next(target.make_reader() for target in TARGETS if (target.module, target.method) == place)


def skip_without(operation: str, argument: str) -> None:
    """Skip the test when the installed client's method has no such argument."""
    http = openai.DefaultHttpxClient(verify=False)
    with openai.OpenAI(api_key="sk-test", base_url="http://127.0.0.1:9", http_client=http) as client:
        known = inspect.signature(attrgetter(operation)(client)).parameters
    if argument not in known:
        pytest.skip(f"{operation} of openai {openai.__version__} has no {argument}")


def skip_unless_taken(base_url: str, operation: str, **asked: Any) -> None:
    """Skip the test when the installed client refuses such arguments."""
    try:
        call("sync", base_url, operation, **asked)
    except (RuntimeError, TypeError) as problem:
        pytest.skip(f"{operation} of openai {openai.__version__}: {problem}")


def call(kind: str, base_url: str, operation: str, *, way: str = "plain", **asked: Any) -> Any:
    """Make one call with the operation's usual arguments and those given; return its result, of a stream all events.

    `raw` and `streaming` go through `with_raw_response` and `with_streaming_response`, and return what these parse.
    """
    asked = {**OPERATIONS[operation], **asked}
    if kind == "sync":
        http = openai.DefaultHttpxClient(verify=False)  # loading certificates takes longer than a call
        with openai.OpenAI(api_key="sk-test", base_url=base_url, max_retries=0, http_client=http) as client:
            return _call(_method(client, operation, way), way, asked)
    return asyncio.run(_call_async(base_url, operation, way, asked))


def _method(client: Any, operation: str, way: str) -> Any:
    resource, _, name = operation.rpartition(".")
    owner = attrgetter(resource)(client)
    if way != "plain":
        owner = owner.with_raw_response if way == "raw" else owner.with_streaming_response
    return getattr(owner, name)


def _call(method: Any, way: str, asked: dict[str, Any]) -> Any:
    if way == "plain":
        return _whole(method(**asked), asked)
    if way == "raw":
        return _whole(method(**asked).parse(), asked)
    with method(**asked) as response:
        return _whole(response.parse(), asked)


def _whole(result: Any, asked: dict[str, Any]) -> Any:
    if asked.get("stream"):
        return list(result)
    return result.read() if hasattr(result, "iter_bytes") else result


async def _call_async(base_url: str, operation: str, way: str, asked: dict[str, Any]) -> Any:
    http = openai.DefaultAsyncHttpxClient(verify=False)
    async with openai.AsyncOpenAI(api_key="sk-test", base_url=base_url, max_retries=0, http_client=http) as client:
        method = _method(client, operation, way)
        if way == "streaming":
            async with method(**asked) as response:
                return await _whole_async(await response.parse(), asked)
        result = await method(**asked)
        return await _whole_async(result.parse() if way == "raw" else result, asked)


async def _whole_async(result: Any, asked: dict[str, Any]) -> Any:
    if asked.get("stream"):
        return [event async for event in result]
    if not hasattr(result, "iter_bytes"):
        return result
    read = result.read()
    return await read if hasattr(read, "__await__") else read
