"""The measured host: a real client whose transport answers from memory, so that nothing but Python runs on its thread."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

import openai

from llm_otel_broadcast.stand_in.answers import completion, message, stream, usage_of

http = import_module("httpx2" if importlib.util.find_spec("httpx2") else "httpx")

TEXT = "It depends on what you measure, and on how often."
CHUNKS = 200
FIELDS = {
    "session_id": "session_abc",
    "trace": {
        "trace_name": "Chat Handler",
        "generation_name": "Answer",
        "environment": "staging",
        "deployment": "us-1",
    },
}
Work = Callable[[openai.OpenAI], None]


def client() -> openai.OpenAI:
    whole = completion(message(TEXT), model="gpt-4o", usage=usage_of(400, 12, cached_tokens=128)).body
    events = b"".join(stream(message("word " * CHUNKS), model="gpt-4o", usage=usage_of(400, CHUNKS)).events or ())

    def answer(request: Any) -> Any:
        if b'"stream":true' in request.content:
            return http.Response(200, content=events, headers={"content-type": "text/event-stream"})
        return http.Response(200, content=whole, headers={"content-type": "application/json"})

    return openai.OpenAI(api_key="x", http_client=http.Client(transport=http.MockTransport(answer)), max_retries=0)


def conversation(messages: int, characters: int) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[number % 2], "content": "x" * characters} for number in range(messages)]


SHORT = conversation(3, 100)
LONG = conversation(200, 1000)


def chat(made: openai.OpenAI) -> None:
    made.chat.completions.create(model="gpt-4o", messages=SHORT, temperature=0.5, max_tokens=100, user="user_1")


def chat_fields(made: openai.OpenAI) -> None:
    made.chat.completions.create(model="gpt-4o", messages=SHORT, temperature=0.5, max_tokens=100, extra_body=FIELDS)


def chat_long(made: openai.OpenAI) -> None:
    made.chat.completions.create(model="gpt-4o", messages=LONG)


def streamed(made: openai.OpenAI) -> None:
    for _ in made.chat.completions.create(model="gpt-4o", messages=SHORT, stream=True):
        pass


WORK: dict[str, Work] = {"chat": chat, "chat_fields": chat_fields, "chat_long": chat_long, "stream": streamed}


def by_hand(work: Work) -> Work:
    """Wrap the work in a span as an application would write it: 20 attributes, two of them the content as JSON."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=100_000))
    tracer = provider.get_tracer("by hand")
    messages = LONG if work is chat_long else SHORT

    def traced(made: openai.OpenAI) -> None:
        with tracer.start_as_current_span("chat gpt-4o", kind=trace.SpanKind.CLIENT) as span:
            span.set_attribute("gen_ai.operation.name", "chat")
            span.set_attribute("gen_ai.provider.name", "openai")
            span.set_attribute("gen_ai.request.model", "gpt-4o")
            span.set_attribute("gen_ai.request.temperature", 0.5)
            span.set_attribute("gen_ai.request.max_tokens", 100)
            span.set_attribute("server.address", "api.openai.com")
            span.set_attribute("server.port", 443)
            span.set_attribute("user.id", "user_1")
            span.set_attribute("session.id", "session_abc")
            span.set_attribute("trace.metadata.environment", "staging")
            span.set_attribute("trace.metadata.deployment", "us-1")
            span.set_attribute("gen_ai.input.messages", json.dumps(messages))
            work(made)
            span.set_attribute("gen_ai.response.id", "chatcmpl-1")
            span.set_attribute("gen_ai.response.model", "gpt-4o")
            span.set_attribute("gen_ai.response.finish_reasons", ["stop"])
            span.set_attribute("gen_ai.usage.input_tokens", 400)
            span.set_attribute("gen_ai.usage.output_tokens", 12)
            span.set_attribute("gen_ai.usage.total_tokens", 412)
            span.set_attribute("gen_ai.usage.cache_read.input_tokens", 128)
            span.set_attribute("gen_ai.output.messages", json.dumps([{"role": "assistant", "content": TEXT}]))

    return traced


def instrumented(endpoint: str, *, content: bool) -> Any:
    import llm_otel_broadcast

    destination = llm_otel_broadcast.Destination(endpoint=endpoint, privacy_mode=not content)
    return llm_otel_broadcast.instrument(destinations=[destination], app_spans=False)
