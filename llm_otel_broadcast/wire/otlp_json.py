"""OTLP JSON in its strictly canonical form, which the strictest readers take (OTLP specification, JSON Protobuf Encoding)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final

from llm_otel_broadcast.record.span_data import STATUS_UNSET, Attributes, Event, Link, Scope, SpanData

_INT64: Final = range(-(2**63), 2**63)
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def encode(resource: Attributes, scope: Scope, spans: Sequence[SpanData]) -> bytes:
    """Return an ExportTraceServiceRequest as JSON bytes; resource and scope are those of our own spans."""
    origins: dict[int, tuple[Attributes, dict[Scope, list[SpanData]]]] = {}
    for span in spans:
        made_by = span.origin
        around, inside = (resource, scope) if made_by is None else (made_by.resource, made_by.scope)
        origins.setdefault(id(around), (around, {}))[1].setdefault(inside, []).append(span)
    document = {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(around)},
                "scopeSpans": [
                    {"scope": {"name": one.name, "version": one.version}, "spans": [_span(span) for span in made]}
                    for one, made in scopes.items()
                ],
            }
            for around, scopes in origins.values()
        ]
    }
    return _encoder.encode(document).encode("utf-8", "replace")


def _span(span: SpanData) -> dict[str, Any]:
    document: dict[str, Any] = {
        "traceId": f"{span.trace_id:032x}",
        "spanId": f"{span.span_id:016x}",
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _attributes(span.attributes),
    }
    if span.parent_span_id:
        document["parentSpanId"] = f"{span.parent_span_id:016x}"
    if span.trace_state:
        document["traceState"] = span.trace_state
    if span.links:
        document["links"] = [_link(link) for link in span.links]
    if span.events:
        document["events"] = [_event(event) for event in span.events]
    if span.status_code != STATUS_UNSET:
        status: dict[str, Any] = {"code": span.status_code}
        if span.status_message:
            status["message"] = span.status_message
        document["status"] = status
    return document


def _event(event: Event) -> dict[str, Any]:
    return {"timeUnixNano": str(event.time_ns), "name": event.name, "attributes": _attributes(event.attributes)}


def _link(link: Link) -> dict[str, Any]:
    return {
        "traceId": f"{link.trace_id:032x}",
        "spanId": f"{link.span_id:016x}",
        "attributes": _attributes(link.attributes),
    }


def _attributes(attributes: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)} if value in _INT64 else {"stringValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value} if math.isfinite(value) else {"stringValue": _not_finite(value)}
    if isinstance(value, Sequence):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": str(value)}


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
