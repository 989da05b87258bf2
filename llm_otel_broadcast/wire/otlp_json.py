"""OTLP JSON in its strictly canonical form, which the strictest readers take (OTLP specification, JSON Protobuf Encoding)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Final, TypeAlias

from llm_otel_broadcast.record.span_data import STATUS_UNSET, Attributes, Scope, SpanData

_INT64: Final = range(-(2**63), 2**63)
# As proto3 JSON writes them; as numbers JSON does not have them, so here they are text.
_NOT_FINITE: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
JsonObject: TypeAlias = dict[str, object]
# JSON has no NaN and no Infinity: a mistake of ours must fail here, not in the backend's parser.
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def encode(resource: Attributes, scope: Scope, spans: Sequence[SpanData]) -> bytes:
    """Return an ExportTraceServiceRequest as JSON bytes; resource and scope are those of our own spans."""
    origins: dict[int, tuple[Attributes, dict[tuple[Scope, str], list[SpanData]]]] = {}
    for span in spans:
        origin = span.origin
        span_resource, span_scope = (resource, scope) if origin is None else (origin.resource, origin.scope)
        # By identity: a resource is a mapping, which cannot be a key, and all spans of one origin have the same one.
        origins.setdefault(id(span_resource), (span_resource, {}))[1].setdefault(
            (span_scope, span.schema_url), []
        ).append(span)
    document = {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(span_resource)},
                "scopeSpans": [
                    {
                        "scope": {"name": span_scope.name}
                        | ({} if span_scope.version is None else {"version": span_scope.version}),
                        "spans": [_span(span) for span in scope_spans],
                    }
                    | ({"schemaUrl": schema_url} if schema_url else {})
                    for (span_scope, schema_url), scope_spans in scopes.items()
                ],
            }
            for span_resource, scopes in origins.values()
        ]
    }
    # A lone surrogate, as half an emoji in a cut text is, has no UTF-8.
    return _encoder.encode(document).encode("utf-8", "replace")


def _span(span: SpanData) -> JsonObject:
    # Ids are hex and 64-bit numbers are text; strict readers refuse anything else.
    document: JsonObject = {
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
        document["links"] = [
            {
                "traceId": f"{link.trace_id:032x}",
                "spanId": f"{link.span_id:016x}",
                "attributes": _attributes(link.attributes),
            }
            for link in span.links
        ]
    if span.events:
        document["events"] = [
            {"timeUnixNano": str(event.time_ns), "name": event.name, "attributes": _attributes(event.attributes)}
            for event in span.events
        ]
    if span.status_code != STATUS_UNSET:
        status: JsonObject = {"code": span.status_code}
        if span.status_message:
            status["message"] = span.status_message
        document["status"] = status
    return document


def _attributes(attributes: Attributes) -> list[JsonObject]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: object) -> JsonObject:
    if isinstance(value, str):
        return {"stringValue": value}
    # Before int, of which bool is a subclass.
    if isinstance(value, bool):
        return {"boolValue": value}
    # A larger one would be refused together with the whole request.
    if isinstance(value, int):
        return {"intValue": str(value)} if value in _INT64 else {"stringValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value} if math.isfinite(value) else {"stringValue": _NOT_FINITE[str(float(value))]}
    if isinstance(value, Sequence):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": str(value)}
