"""Raw and streaming responses: the caller parses when he likes, and the record ends once all the same."""

from __future__ import annotations

import asyncio
import time

import openai
import pytest

from llm_otel_broadcast.stand_in.answers import message, stream, usage_of
from tests.support.client_calls import MESSAGES
from tests.support.garbage import collect

ASKED = {"model": "gpt-4o-mini", "messages": MESSAGES}


def test_a_raw_response_is_recorded_from_its_bytes(client, instrumented, arrived):
    instrumented()
    raw = client.chat.completions.with_raw_response.create(**ASKED)
    assert raw.status_code == 200
    (span,) = arrived(1)
    assert span.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert span.attributes["gen_ai.usage.total_tokens"] > 0
    assert "Hello! How can I help" in span.attributes["gen_ai.output.messages"]


def test_a_raw_response_parses_as_ever(client, instrumented, arrived):
    instrumented()
    raw = client.chat.completions.with_raw_response.create(**ASKED)
    assert raw.parse().choices[0].message.content.startswith("Hello!")
    assert raw.parse() is raw.parse()
    arrived(1)


def test_a_raw_stream_is_recorded_through_its_own_parse(client, stand_in, instrumented, arrived):
    stand_in.script(stream(message("Raw words."), usage=usage_of(3, 2)))
    instrumented()
    raw = client.chat.completions.with_raw_response.create(**ASKED, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in raw.parse() if chunk.choices) == "Raw words."
    (span,) = arrived(1)
    assert "Raw words." in span.attributes["gen_ai.output.messages"]
    assert span.attributes["gen_ai.usage.input_tokens"] == 3


def test_a_raw_stream_never_parsed_ends_when_closed(client, instrumented, arrived):
    instrumented()
    raw = client.chat.completions.with_raw_response.create(**ASKED, stream=True)
    raw.http_response.close()
    assert arrived(1)[0].attributes["error.type"] == "abandoned"


def test_a_streaming_response_read_by_the_caller_is_recorded(client, instrumented, arrived):
    instrumented()
    with client.chat.completions.with_streaming_response.create(**ASKED) as response:
        assert b"Hello!" in response.read()
    (span,) = arrived(1)
    assert "Hello!" in span.attributes["gen_ai.output.messages"]


class LateDecoder:
    """Lets time pass between the end of the connection and the end of the body."""

    def __init__(self, response):
        self._inner = response._get_content_decoder()
        self.decode = self._inner.decode

    def flush(self):
        time.sleep(0.2)
        return self._inner.flush()


def test_a_body_is_recorded_however_late_the_client_keeps_it(kind, stand_in, instrumented, arrived):
    """The client closes the connection before it keeps the body: on a busy machine the background came in between."""
    instrumented()
    if kind == "sync":
        with openai.OpenAI(api_key="sk-test", base_url=stand_in.base_url) as client:
            with client.chat.completions.with_streaming_response.create(**ASKED) as response:
                response.http_response._decoder = LateDecoder(response.http_response)
                response.read()
    else:

        async def read():
            async with openai.AsyncOpenAI(api_key="sk-test", base_url=stand_in.base_url) as client:
                async with client.chat.completions.with_streaming_response.create(**ASKED) as response:
                    response.http_response._decoder = LateDecoder(response.http_response)
                    await response.read()

        asyncio.run(read())
    (span,) = arrived(1)
    assert "Hello!" in span.attributes["gen_ai.output.messages"]


def test_a_body_that_the_caller_iterates_over_is_not_waited_for(client, instrumented, arrived):
    instrumented()
    with client.chat.completions.with_streaming_response.create(**ASKED) as response:
        assert b"Hello!" in b"".join(response.iter_bytes())
    started = time.monotonic()
    (span,) = arrived(1)
    assert time.monotonic() - started < 0.9
    assert "gen_ai.response.id" not in span.attributes


def test_a_streaming_response_parsed_by_the_caller_is_recorded(client, instrumented, arrived):
    instrumented()
    with client.chat.completions.with_streaming_response.create(**ASKED) as response:
        assert response.parse().choices
    assert arrived(1)[0].attributes["gen_ai.response.finish_reasons"] == ["stop"]


def test_a_streaming_response_never_read_ends_with_its_block(client, instrumented, arrived):
    instrumented()
    with client.chat.completions.with_streaming_response.create(**ASKED):
        pass
    arrived(1)


@pytest.mark.parametrize("streamed", [False, True])
def test_the_async_client_has_the_same(stand_in, instrumented, arrived, streamed):
    instrumented()

    async def call() -> None:
        async with openai.AsyncOpenAI(api_key="sk-test", base_url=stand_in.base_url) as client:
            raw = await client.chat.completions.with_raw_response.create(**ASKED, stream=streamed)
            parsed = raw.parse()
            if hasattr(parsed, "__await__"):
                parsed = await parsed
            if streamed:
                async for _ in parsed:
                    pass
            else:
                assert parsed.choices

    asyncio.run(call())
    assert arrived(1)[0].attributes["gen_ai.response.finish_reasons"] == ["stop"]


def test_an_async_streaming_response_is_recorded(stand_in, instrumented, arrived):
    instrumented()

    async def call() -> None:
        async with (
            openai.AsyncOpenAI(api_key="sk-test", base_url=stand_in.base_url) as client,
            client.chat.completions.with_streaming_response.create(**ASKED) as response,
        ):
            assert (await response.parse()).choices

    asyncio.run(call())
    assert arrived(1)[0].attributes["gen_ai.response.finish_reasons"] == ["stop"]


def test_a_dropped_raw_stream_ends(client, instrumented, arrived):
    instrumented()
    raw = client.chat.completions.with_raw_response.create(**ASKED, stream=True)
    chunks = raw.parse()
    next(chunks)
    del raw, chunks
    collect()
    arrived(1)
