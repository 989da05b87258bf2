"""Who traces the measured host: nobody, a hand-written span, we in several settings, or a rival that is installed."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from tests.benchmarks.host import FIELDS, MESSAGES, SHORT, TEXT, Work

_MAX_QUEUED_SPANS = 100_000


class Nowhere(SpanExporter):
    """Takes spans and forgets them."""

    def export(self, spans: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def new_provider(exporter: SpanExporter | None) -> TracerProvider:
    """Return a provider with a batch processor."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter or Nowhere(), max_queue_size=_MAX_QUEUED_SPANS))
    return provider


def plain(work: Work, _name: str, _exporter: SpanExporter | None = None) -> Work:
    """Return the work as it is."""
    return work


def by_hand(
    work: Work, name: str, exporter: SpanExporter | None = None, provider: TracerProvider | None = None
) -> Work:
    """Wrap the work in a span as an application would write it: 20 attributes, two of them the content as JSON."""
    tracer = (provider or new_provider(exporter)).get_tracer("by hand")
    messages = MESSAGES.get(name, SHORT)

    def traced(made: Any) -> None:
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


def ours(
    work: Work, _name: str, exporter: SpanExporter | None = None, *, content: bool = True, destinations: int = 1
) -> Work:
    """Return the work, with our instrumentation on."""
    import llm_otel_broadcast

    llm_otel_broadcast.instrument(
        destinations=[
            llm_otel_broadcast.Destination(name=str(number), exporter=exporter or Nowhere(), privacy_mode=not content)
            for number in range(destinations)
        ],
        app_spans=False,
    )
    return work


def in_context(work: Work, name: str, exporter: SpanExporter | None = None) -> Work:
    """Return the work within a context that names trace, session and user."""
    from llm_otel_broadcast import trace_context

    work = ours(work, name, exporter)

    def within(made: Any) -> None:
        with trace_context(**FIELDS["trace"], session_id=FIELDS["session_id"], user="user_1"):
            work(made)

    return within


def by_hand_in_context(work: Work, name: str, exporter: SpanExporter | None = None) -> Work:
    """Wrap the work in two spans as an application would write them: a root that says whom it is for, and that of the call."""
    provider = new_provider(exporter)
    work = by_hand(work, name, exporter, provider)
    tracer = provider.get_tracer("by hand")

    def within(made: Any) -> None:
        with tracer.start_as_current_span("Chat Handler") as span:
            span.set_attribute("user.id", "user_1")
            span.set_attribute("session.id", "session_abc")
            span.set_attribute("trace.name", "Chat Handler")
            span.set_attribute("trace.metadata.environment", "staging")
            span.set_attribute("trace.metadata.deployment", "us-1")
            work(made)

    return within


def uninstrumented(work: Work, name: str, exporter: SpanExporter | None = None) -> Work:
    """Return the work after our instrumentation has been taken off again."""
    import llm_otel_broadcast

    ours(work, name, exporter)
    llm_otel_broadcast.uninstrument()
    return work


def suppressed(work: Work, name: str, exporter: SpanExporter | None = None) -> Work:
    """Return the work where OpenTelemetry's key suppresses instrumentation."""
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    work = ours(work, name, exporter)

    def within(made: Any) -> None:
        with suppress_instrumentation():
            work(made)

    return within


def suppressed_plain(work: Work, name: str, exporter: SpanExporter | None = None) -> Work:
    """Return the same without us: what suppressing itself takes."""
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    def within(made: Any) -> None:
        with suppress_instrumentation():
            work(made)

    return within


def filtered(work: Work, _name: str, exporter: SpanExporter | None = None) -> Work:
    """Return the work where another client is the one that is watched."""
    import openai

    import llm_otel_broadcast

    llm_otel_broadcast.instrument(
        destinations=[llm_otel_broadcast.Destination(exporter=exporter or Nowhere())],
        app_spans=False,
        client=openai.OpenAI(api_key="x"),
    )
    return work


# -- rivals, each in an environment of its own ------------------------------------------------------------------------------


def official(work: Work, _name: str, exporter: SpanExporter | None = None) -> Work:
    import os

    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "gen_ai_latest_experimental"
    os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "SPAN_ONLY"
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=new_provider(exporter))
    return work


def traceloop(work: Work, _name: str, exporter: SpanExporter | None = None) -> Work:
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=new_provider(exporter))
    return work


def openinference(work: Work, _name: str, exporter: SpanExporter | None = None) -> Work:
    from openinference.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=new_provider(exporter))
    return work


def langfuse(work: Work, _name: str, exporter: SpanExporter | None = None) -> Work:
    # It patches as it is imported.
    import langfuse.openai
    from langfuse import Langfuse

    assert langfuse.openai
    provider = new_provider(exporter)
    Langfuse(public_key="pk", secret_key="sk", base_url="http://127.0.0.1:9", tracer_provider=provider)
    return work


def logfire(work: Work, _name: str, exporter: SpanExporter | None = None) -> Work:
    import logfire

    processor = BatchSpanProcessor(exporter or Nowhere(), max_queue_size=_MAX_QUEUED_SPANS)
    logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[processor])
    logfire.instrument_openai()
    return work


MODES: dict[str, Callable[..., Work]] = {
    "plain": plain,
    "span": by_hand,
    "ours": partial(ours, content=False),
    "content": ours,
    "three": partial(ours, destinations=3),
    "ten": partial(ours, destinations=10),
    "context": in_context,
    "span_context": by_hand_in_context,
    "uninstrumented": uninstrumented,
    "suppressed": suppressed,
    "suppressed_plain": suppressed_plain,
    "filtered": filtered,
    "official": official,
    "traceloop": traceloop,
    "openinference": openinference,
    "langfuse": langfuse,
    "logfire": logfire,
}
