"""Our spans as OpenTelemetry SDK's `ReadableSpan`, for exporters handed over."""

from __future__ import annotations

from typing import Final, cast

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link as SdkLink
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from llm_otel_broadcast.record.int64 import MAX_INT64, MIN_INT64
from llm_otel_broadcast.record.span_data import (
    KIND_CLIENT,
    KIND_CONSUMER,
    KIND_INTERNAL,
    KIND_PRODUCER,
    KIND_SERVER,
    STATUS_ERROR,
    STATUS_OK,
    STATUS_UNSET,
    Attributes,
    AttributeValue,
    Scope,
    SpanData,
)

_KINDS: Final = {
    KIND_INTERNAL: SpanKind.INTERNAL,
    KIND_SERVER: SpanKind.SERVER,
    KIND_CLIENT: SpanKind.CLIENT,
    KIND_PRODUCER: SpanKind.PRODUCER,
    KIND_CONSUMER: SpanKind.CONSUMER,
}
_STATUSES: Final = {STATUS_UNSET: StatusCode.UNSET, STATUS_OK: StatusCode.OK, STATUS_ERROR: StatusCode.ERROR}
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)


def to_readable(span: SpanData, resource: Resource, scope: Scope) -> ReadableSpan:
    """Return the span as the SDK's exporters take it; resource and scope are those of our own spans."""
    # Spans of other instrumentations keep the resource and the scope that they were made with.
    if span.origin is not None:
        resource, scope = Resource(_attributes(span.origin.resource)), span.origin.scope
    parent = _context(span.trace_id, span.parent_span_id) if span.parent_span_id else None
    return ReadableSpan(
        name=_clean(span.name),
        context=_context(span.trace_id, span.span_id, span.trace_state),
        parent=parent,
        resource=resource,
        attributes=_attributes(span.attributes),
        events=[Event(_clean(event.name), _attributes(event.attributes), event.time_ns) for event in span.events],
        links=[SdkLink(_context(link.trace_id, link.span_id), _attributes(link.attributes)) for link in span.links],
        kind=_KINDS.get(span.kind, SpanKind.INTERNAL),
        status=Status(_STATUSES[span.status_code], _clean(span.status_message) or None),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=InstrumentationScope(scope.name, scope.version, span.schema_url),
    )


def _context(trace_id: int, span_id: int, trace_state: str = "") -> SpanContext:
    # Marked as sampled: exporters leave out the others, and what was to be left out has been.
    state = TraceState.from_header([trace_state]) if trace_state else None
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED, trace_state=state)


def _attributes(attributes: Attributes) -> dict[str, AttributeValue]:
    return {_clean(key): _value(value) for key, value in attributes.items()}


def _value(value: AttributeValue) -> AttributeValue:
    if isinstance(value, str):
        return _clean(value)
    # Protobuf has 64 bits, and the encoder fails for the whole batch on a larger number.
    if isinstance(value, int) and not isinstance(value, bool) and not MIN_INT64 <= value <= MAX_INT64:
        return str(value)
    if isinstance(value, list | tuple):
        return cast("AttributeValue", tuple(_value(item) for item in value))
    return value


def _clean(text: str) -> str:
    """Replace lone surrogates, which no UTF-8 encoder takes."""
    return text.encode("utf-8", "replace").decode("utf-8")
