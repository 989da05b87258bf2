"""The test trace: a chat as a program might have made it, marked as a test, rendered and sent as all records are."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from typing import Final

from llm_otel_broadcast.connection.report import SentTrace
from llm_otel_broadcast.connection.time_limit import within
from llm_otel_broadcast.delivery.seams import LeftOut, Outcome
from llm_otel_broadcast.host.guard import Caught
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.generation import Choice, Generation
from llm_otel_broadcast.record.server import Server
from llm_otel_broadcast.record.span_data import SpanData
from llm_otel_broadcast.record.trace_fields import Fields
from llm_otel_broadcast.record.usage import Usage
from llm_otel_broadcast.runtime.assembly import parts_for
from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.presets import where_to_look

_SECOND: Final = 1_000_000_000
_NAME: Final = "Test trace of llm-otel-broadcast"
_USAGE: Final = {"input_tokens": 50, "output_tokens": 100, "total_tokens": 150, "cache_read_tokens": 20}
_COST: Final = {"reasoning_tokens": 10, "input_cost": 0.005, "output_cost": 0.015, "cost": 0.02}
_PATIENCE: Final = 4
"""Timeouts that rendering, an exporter and a second encoding may take together."""


def send_test_trace(destination: Destination) -> SentTrace:
    """Send a realistic trace, marked `test=true`: a root, a span and a generation with tokens, cost and, unless the
    destination is private, content. Never raises.

    Every call makes a new trace with a session of its own.
    """  # noqa: D205  # one sentence
    if not isinstance(destination, Destination):
        return SentTrace(
            ok=False, trace_id="", message=f"destination must be a Destination, got {type(destination).__name__}"
        )
    record = _record()
    trace_id = f"{record.trace_id:032x}"
    with Caught() as caught:
        outcome = within(_PATIENCE * destination.timeout, lambda: _send(destination, record))
        rejected = f"{outcome.rejected} span(s) rejected: " if outcome.rejected else ""
        ok = outcome.kind == "ok" and not outcome.rejected
        look = where_to_look(destination.endpoint, destination.name, trace_id) if ok else None
        return SentTrace(ok, trace_id, f"{rejected}{outcome.message}" if not ok else "sent", look)
    return SentTrace(ok=False, trace_id=trace_id, message=f"sending failed ({type(caught.error).__name__})")


def _send(destination: Destination, record: Generation) -> Outcome:
    parts = parts_for(replace(destination, sampling_rate=1.0, filter_rules=None, api_keys=None))
    try:
        made = parts.render(record)
        spans = [parts.enclosing_span(enclosing_span, record.fields) for enclosing_span in record.enclosing_spans]
        spans += [] if isinstance(made, LeftOut) else made
        outcome = parts.transport.send([_marked(span) for span in spans], divisible=False)
        if outcome.kind == "ok" and not parts.transport.flush():
            raise TimeoutError
        return outcome
    finally:
        parts.transport.close()


def _marked(span: SpanData) -> SpanData:
    return replace(span, attributes={**span.attributes, "test": True})


def _record() -> Generation:
    """Return a chat of a second and a half that has just ended."""
    end = time.time_ns()
    record = Generation("chat", "chat_completions")
    record.trace_id, record.span_id = secrets.randbits(128) or 1, secrets.randbits(64) or 1
    record.start_ns = end - _SECOND * 3 // 2
    record.fields = Fields(
        trace_name=_NAME,
        span_name="Answer a question",
        generation_name="Test generation",
        session_id=f"test-session-{end // 1_000_000}",
        user="test-user",
        metadata={"environment": "test", "source": "send-test-trace", "test": True},
    )
    record.server = Server("openrouter", "openrouter.ai", is_openrouter=True)
    _fill(record)
    _enclose(record, end)
    return record


def _fill(record: Generation) -> None:
    record.request_model = record.response_model = "openai/gpt-4o"
    record.parameters = {"temperature": 0.7, "max_tokens": 150}
    record.wants_content = True
    record.messages = [
        {"role": "system", "content": "You answer questions about geography."},
        {"role": "user", "content": "What is the capital of France?"},
    ]
    answer = "The capital of France is Paris. This is a test trace: no model was called."
    record.choices = [Choice(finish_reason="stop", content=answer)]
    record.response_id = f"gen-test-{record.span_id:016x}"
    record.usage = Usage(**_USAGE, **_COST)  # type: ignore[arg-type]


def _enclose(record: Generation, end: int) -> None:
    """Put the root and a span around it."""
    root = EnclosingSpan(_NAME, record.trace_id, secrets.randbits(64) or 1, 0, record.start_ns - _SECOND // 10)
    span = EnclosingSpan(
        str(record.fields.span_name),
        record.trace_id,
        secrets.randbits(64) or 1,
        root.span_id,
        record.start_ns - _SECOND // 20,
    )
    record.parent_span_id = span.span_id
    record.enclosing_spans = (root, span)
    root.end_ns = span.end_ns = record.end_ns = end
    record.ended = True
