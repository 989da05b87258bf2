"""One way to make a call with the sync and the async client, so that each promise is tested with both."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

MESSAGES = [{"role": "user", "content": "Hello!"}]
KINDS = ("sync", "async")
with openai.OpenAI(api_key="sk-test") as _client:
    needs_responses = pytest.mark.skipif(
        not hasattr(_client, "responses"), reason="the installed client has no responses API"
    )


def chat(kind: str, base_url: str, **asked: Any) -> Any:
    """Make one call and return its result; of a stream the list of its chunks."""
    asked = {"model": "gpt-4o-mini", "messages": MESSAGES, **asked}
    if kind == "sync":
        http = openai.DefaultHttpxClient(verify=False)  # loading certificates takes longer than a call
        with openai.OpenAI(api_key="sk-test", base_url=base_url, max_retries=0, http_client=http) as client:
            result = client.chat.completions.create(**asked)
            return list(result) if asked.get("stream") else result

    async def call() -> Any:
        http = openai.DefaultAsyncHttpxClient(verify=False)
        async with openai.AsyncOpenAI(api_key="sk-test", base_url=base_url, max_retries=0, http_client=http) as client:
            result = await client.chat.completions.create(**asked)
            return [chunk async for chunk in result] if asked.get("stream") else result

    return asyncio.run(call())


def respond(kind: str, base_url: str, *given: Any, method: str = "create", **asked: Any) -> Any:
    """Call a method of the responses API and return its result; of a stream the list of its events."""
    if method in ("create", "parse"):
        asked = {"model": "gpt-4o-mini", "input": "Hello!", **asked}
    if kind == "sync":
        with openai.OpenAI(api_key="sk-test", base_url=base_url, max_retries=0) as client:
            result = getattr(client.responses, method)(*given, **asked)
            return list(result) if asked.get("stream") else result

    async def call() -> Any:
        async with openai.AsyncOpenAI(api_key="sk-test", base_url=base_url, max_retries=0) as client:
            result = await getattr(client.responses, method)(*given, **asked)
            return [event async for event in result] if asked.get("stream") else result

    return asyncio.run(call())
