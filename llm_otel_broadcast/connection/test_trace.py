"""The test trace: a chat as a program might have made it, marked as a test, rendered and sent as all records are."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from typing import Final

from llm_otel_broadcast.connection.report import SentTrace
from llm_otel_broadcast.connection.time_limit import within
from llm_otel_broadcast.delivery.seams import LeftOut
from llm_otel_broadcast.delivery.sender import post
from llm_otel_broadcast.host.guard import or_else
from llm_otel_broadcast.record.content import Content
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.generation import Choice, Generation
from llm_otel_broadcast.record.server import Server
from llm_otel_broadcast.record.trace_fields import Fields
from llm_otel_broadcast.record.usage import Usage
from llm_otel_broadcast.runtime.assembly import parts_for
from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.presets import where_to_look

_SECOND_NS: Final = 1_000_000_000
_NAME: Final = "Test trace of llm-otel-broadcast"
_USAGE: Final = {"input_tokens": 50, "output_tokens": 100, "total_tokens": 150, "cache_read_tokens": 20}
_COST: Final = {"reasoning_tokens": 10, "input_cost": 0.005, "output_cost": 0.015, "cost": 0.02}
_CONTENT: Final = Content(
    inputs=[
        {"role": "system", "parts": [{"type": "text", "content": "You answer questions about geography."}]},
        {"role": "user", "parts": [{"type": "text", "content": "What is the capital of France?"}]},
    ],
    outputs=[
        {
            "role": "assistant",
            "parts": [
                {
                    "type": "text",
                    "content": "The capital of France is Paris. This is a test trace: no model was called.",
                }
            ],
            "finish_reason": "stop",
        }
    ],
)
# Of the destination's timeouts: what rendering, an exporter and a second encoding may take together.
_MAX_TIMEOUTS: Final = 4


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

    def send() -> SentTrace:
        # All of it arrives, whatever the destination chooses of real traces.
        parts = parts_for(replace(destination, sampling_rate=1.0, filter_rules=None, api_keys=None))
        try:
            rendered = parts.render(record)
            enclosing = [parts.enclosing_span(enclosing_span, record) for enclosing_span in record.enclosing_spans]
            spans = [span for span in enclosing if span is not None]
            spans += [] if isinstance(rendered, LeftOut) else rendered
            # After rendering: privacy settings keep metadata back, and the mark must get through.
            spans = [replace(span, attributes={**span.attributes, "test": True}) for span in spans]
            _, answer = post(parts.transport, parts.transport.encode(spans), spans)
            if answer.kind == "ok" and not parts.transport.flush():
                raise TimeoutError
        finally:
            parts.transport.close()
        rejected = f"{answer.rejected} span(s) rejected: " if answer.rejected else ""
        ok = answer.kind == "ok" and not answer.rejected
        look = where_to_look(destination.endpoint, destination.name, trace_id) if ok else None
        return SentTrace(ok, trace_id, f"{rejected}{answer.message}" if not ok else "sent", look)

    return or_else(
        lambda: within(_MAX_TIMEOUTS * destination.timeout, send),
        recover=lambda error: SentTrace(
            ok=False, trace_id=trace_id, message=f"sending failed ({type(error).__name__})"
        ),
    )


def _record() -> Generation:
    """Return a chat of a second and a half that has just ended, with a root and a span around it."""
    end = time.time_ns()
    record = Generation("chat", "chat_completions")
    record.trace_id, record.span_id = secrets.randbits(128) or 1, secrets.randbits(64) or 1
    record.start_ns = end - _SECOND_NS * 3 // 2
    record.fields = Fields(
        trace_name=_NAME,
        span_name="Answer a question",
        generation_name="Test generation",
        session_id=f"test-session-{end // 1_000_000}",
        user="test-user",
        metadata={"environment": "test", "source": "send-test-trace", "test": True},
    )
    record.server = Server("openrouter", "openrouter.ai", is_openrouter=True)
    record.request_model = record.response_model = "openai/gpt-4o"
    record.parameters = {"temperature": 0.7, "max_tokens": 150}
    record.wants_content = True
    record.read_content = lambda _: _CONTENT
    record.choices = [Choice(finish_reason="stop")]
    record.response_id = f"gen-test-{record.span_id:016x}"
    record.usage = Usage(**_USAGE, **_COST)  # type: ignore[arg-type]
    root = EnclosingSpan(_NAME, record.trace_id, secrets.randbits(64) or 1, 0, record.start_ns - _SECOND_NS // 10)
    span = EnclosingSpan(
        str(record.fields.span_name),
        record.trace_id,
        secrets.randbits(64) or 1,
        root.span_id,
        record.start_ns - _SECOND_NS // 20,
    )
    record.parent_span_id = span.span_id
    record.enclosing_spans = (root, span)
    root.end_ns = span.end_ns = record.end_ns = end
    record.ended = True
    return record
