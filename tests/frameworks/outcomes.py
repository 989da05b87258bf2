"""What became of a framework's calls, and whether the trace tells the same as the API did."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from llm_otel_broadcast.receiver import ReceivedSpan
from llm_otel_broadcast.stand_in.answers import Answer
from llm_otel_broadcast.stand_in.server import SeenRequest

MODEL = "gpt-4o-mini"
HELLO = "Hello! How can I help you today?"
FIELDS = {
    "session_id": "session_abc",
    "trace": {"trace_name": "Chat Handler", "generation_name": "Generate Response", "environment": "staging"},
}
Way = Callable[[str], Any]
"""One way of calling a framework: takes the API's base URL, returns everything worth comparing."""


@dataclass(frozen=True, slots=True)
class Told:
    """Calls made without us and with us.

    Attributes:
        plain: what they returned without us.
        result: what they returned with us.
        plain_requests: what reached the API without us.
        requests: what reached it with us.
        answers: what the API said to those with us.
        spans: what was broadcast, in order of start.
        own: the spans in the app's own provider.
    """

    plain: Any
    result: Any
    plain_requests: list[SeenRequest]
    requests: list[SeenRequest]
    answers: list[Answer]
    spans: list[ReceivedSpan]
    own: list[ReadableSpan]

    @property
    def handler(self) -> ReadableSpan:
        (found,) = (span for span in self.own if span.name == "handler")
        return found

    @property
    def courtesy(self) -> list[ReadableSpan]:
        """The app's own spans of calls to an LLM, whoever made them."""
        return [span for span in self.own if span.kind is SpanKind.CLIENT]


def assert_invisible(told: Told) -> None:
    """The framework returns the same and asks the same as without us."""
    assert told.result == told.plain
    assert [request.json for request in told.requests] == [request.json for request in told.plain_requests]
    headers, plain_headers = ([sorted(made.headers) for made in all_] for all_ in (told.requests, told.plain_requests))
    assert headers == plain_headers


def assert_each_once(told: Told) -> None:
    """Each request is one generation below the app's span, and it says what the API said."""
    _assert_placed(told)
    assert sorted(map(_facts, told.spans)) == sorted(map(_said, told.answers))
    assert {span.status_code for span in told.spans} == {0}


def assert_each_once_alone(told: Told) -> None:
    """Each request is one generation in a trace of its own, because the thread that made it knew no span."""
    assert len(told.spans) == len(told.requests) > 1
    assert {span.parent_span_id for span in told.spans} == {""}
    assert len({span.trace_id for span in told.spans}) == len(told.spans)
    assert sorted(map(_facts, told.spans)) == sorted(map(_said, told.answers))


def assert_failed_once(told: Told, status: int = 400) -> None:
    """Each request is one generation that failed with a status."""
    _assert_placed(told)
    assert {span.status_code for span in told.spans} == {2}
    assert {span.attributes["http.response.status_code"] for span in told.spans} == {status}


def assert_broken_off_once(told: Told, kind: str = "abandoned") -> None:
    """The only request is a stream that its reader left before the end."""
    _assert_placed(told)
    (span,) = told.spans
    assert (span.status_code, span.attributes["error.type"]) == (2, kind)


def assert_fields_arrive(told: Told) -> None:
    """What `FIELDS` says is in the trace, below the app's span, and not in the request."""
    assert told.result == told.plain
    assert [request.json.keys() & FIELDS.keys() for request in told.requests] == [set()]
    root, generation = sorted(told.spans, key=lambda span: "gen_ai.operation.name" in span.attributes)
    assert (root.name, generation.name) == ("Chat Handler", "Generate Response")
    assert root.parent_span_id == f"{told.handler.get_span_context().span_id:016x}"
    assert generation.parent_span_id == root.span_id
    assert generation.attributes["session.id"] == "session_abc"
    assert generation.attributes["trace.metadata.environment"] == "staging"
    assert _facts(generation) == _said(told.answers[0])


def _assert_placed(told: Told) -> None:
    """There are as many generations as requests, all below the app's span, each with one span in the app's own tracing."""
    assert len(told.spans) == len(told.requests) > 0, [span.name for span in told.spans]
    handler = told.handler.get_span_context()
    assert {span.trace_id for span in told.spans} == {f"{handler.trace_id:032x}"}
    assert {span.parent_span_id for span in told.spans} == {f"{handler.span_id:016x}"}
    assert {span.attributes["gen_ai.request.model"] for span in told.spans} == {MODEL}
    courtesy = [f"{span.get_span_context().span_id:016x}" for span in told.courtesy]
    assert sorted(courtesy) == sorted(span.span_id for span in told.spans)


def _facts(span: ReceivedSpan) -> tuple[Any, ...]:
    """Return what a span tells of the answer."""
    said = span.attributes
    counts = tuple(said.get(f"gen_ai.usage.{name}_tokens", -1) for name in ("input", "output", "total"))
    reasons = tuple(said.get("gen_ai.response.finish_reasons", ()))
    return said["gen_ai.response.id"], said["gen_ai.response.model"], reasons, counts


def _said(answer: Answer) -> tuple[Any, ...]:
    """Return the same, read from the answer itself."""
    documents = [json.loads(answer.body)] if answer.events is None else _documents(answer.events)
    usage = next((document["usage"] for document in reversed(documents) if document.get("usage")), {})
    counts = tuple(usage.get(f"{name}_tokens", -1) for name in ("prompt", "completion", "total"))
    reasons = tuple(
        choice["finish_reason"]
        for document in documents
        for choice in document["choices"]
        if choice["finish_reason"] is not None
    )
    return documents[0]["id"], documents[0]["model"], reasons, counts


def _documents(events: Sequence[bytes]) -> list[dict[str, Any]]:
    return [json.loads(event.removeprefix(b"data: ")) for event in events if b"[DONE]" not in event]
