"""A program with another instrumentation and ours: prints, as JSON, what spans each of its calls makes. Run by `test_stacked`.

Arguments: the other's module, and which of the two comes first (`ours` or `theirs`).
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import sys
from collections.abc import Callable
from contextlib import suppress

import openai
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import llm_otel_broadcast
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.stand_in.routes import ERROR_WORDS
from tests.support.stand_in.server import StandIn

ASKED = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}


def calls(client: openai.OpenAI, base_url: str) -> dict[str, Callable[[], object]]:
    chat = client.chat.completions

    def leave() -> None:
        with chat.create(**ASKED, stream=True) as stream:
            next(stream)
        del stream
        gc.collect()

    def streaming() -> None:
        with chat.with_streaming_response.create(**ASKED) as response:
            response.parse()

    def helper() -> None:
        with chat.stream(**ASKED) as events:
            list(events)

    def fail() -> None:
        with suppress(openai.BadRequestError):
            chat.create(model="m", messages=[{"role": "user", "content": ERROR_WORDS}])

    async def use_async(*, stream: bool) -> None:
        async with openai.AsyncOpenAI(api_key="x", base_url=base_url) as asynchronous:
            made = await asynchronous.chat.completions.create(**ASKED, stream=stream)
            if stream:
                async for _ in made:
                    pass

    return {
        "plain": lambda: chat.create(**ASKED),
        "stream": lambda: list(chat.create(**ASKED, stream=True)),
        "leave": leave,
        "raw": lambda: chat.with_raw_response.create(**ASKED).parse(),
        "raw_stream": lambda: list(chat.with_raw_response.create(**ASKED, stream=True).parse()),
        "streaming": streaming,
        "helper": helper,
        "fail": fail,
        "async": lambda: asyncio.run(use_async(stream=False)),
        "async_stream": lambda: asyncio.run(use_async(stream=True)),
    }


def main(module: str, first: str) -> None:
    memory, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    trace.set_tracer_provider(provider)
    other = importlib.import_module(module).OpenAIInstrumentor()
    seen: dict[str, object] = {}
    with StandIn() as api, OtlpReceiver() as receiver, openai.OpenAI(api_key="x", base_url=api.base_url) as client:

        def look(name: str, call: Callable[[], object]) -> None:
            memory.clear()
            receiver.store.clear()
            call()
            assert llm_otel_broadcast.flush()
            scopes = [span.instrumentation_scope.name for span in memory.get_finished_spans()]
            seen[name] = {"app": scopes, "ours": [span.name for span in receiver.store.spans()]}

        steps = [lambda: llm_otel_broadcast.instrument(endpoint=receiver.endpoint), other.instrument]
        for step in steps if first == "ours" else reversed(steps):
            step()
        made = calls(client, api.base_url)
        for name, call in made.items():
            look(name, call)
        other.uninstrument()
        look("theirs off", made["plain"])
        llm_otel_broadcast.uninstrument()
        look("both off", made["plain"])
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
