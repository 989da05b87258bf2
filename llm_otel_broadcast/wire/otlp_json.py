"""OTLP JSON in its strictly canonical form, which the strictest readers take (OTLP specification, JSON Protobuf Encoding).

Written as text straight away: a tree of dictionaries for the `json` module takes three times as long, and most of what a lane's thread
does is this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from math import isfinite
from typing import Any, Final

from llm_otel_broadcast.fields.json_encoder import MAX_SHORT_CHARS, encoder, quote_short
from llm_otel_broadcast.host.turns import in_turns
from llm_otel_broadcast.record.int64 import MAX_INT64, MIN_INT64
from llm_otel_broadcast.record.span_data import STATUS_UNSET, Scope, SpanData
from llm_otel_broadcast.wire.attribute_starts import AttributeStarts
from llm_otel_broadcast.wire.span_groups import grouped

# As proto3 JSON writes them; as numbers JSON does not have them, so here they are text.
_NOT_FINITE: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def encode(resource: Mapping[str, object], scope: Scope, spans: Sequence[SpanData]) -> bytes:
    """Return an ExportTraceServiceRequest as JSON bytes; resource and scope are those of our own spans."""
    # One buffer, which is the body in the end: as a list of pieces that are joined, the megabytes of a batch are twice in fresh
    # memory, which takes a fifth of all that is done here.
    body = BytesIO()
    write = body.write
    write(b'{"resourceSpans":[')
    for number, (span_resource, scopes) in enumerate(grouped(resource, scope, spans)):
        text = f'{"," if number else ""}{{"resource":{{"attributes":{_attributes(span_resource)}}},"scopeSpans":['
        for (span_scope, schema_url), scope_spans in scopes.items():
            version = "" if span_scope.version is None else f',"version":{encoder.quote(span_scope.version)}'
            text += f'{{"scope":{{"name":{encoder.quote(span_scope.name)}{version}}},"spans":['
            for span in in_turns(scope_spans):
                # Bytes span by span: one emoji would make four bytes of each character of a text with all of them.
                shared = span.shared_text
                write(_bytes(text))
                if shared is None:
                    write(_bytes(_span(span)))
                else:
                    if shared.json is None:
                        shared.json = _bytes(_span(span))
                    write(shared.json)
                text = ","
            schema = f',"schemaUrl":{encoder.quote(schema_url)}' if schema_url else ""
            text = f"]{schema}}},"
        write(_bytes(f"{text.removesuffix(',')}]}}"))
    write(b"]}")
    return body.getvalue()


def _bytes(text: str) -> bytes:
    # A lone surrogate, as half an emoji in a cut text is, has no UTF-8.
    return text.encode("utf-8", "replace")


def _span(span: SpanData) -> str:
    quote = encoder.quote
    # Ids are hex and 64-bit numbers are text; strict readers refuse anything else.
    text = (
        f'{{"traceId":"{span.trace_id:032x}","spanId":"{span.span_id:016x}","name":{quote(span.name)},"kind":{span.kind},'
        f'"startTimeUnixNano":"{span.start_ns}","endTimeUnixNano":"{span.end_ns}","attributes":{_attributes(span.attributes)}'
    )
    if span.parent_span_id:
        text += f',"parentSpanId":"{span.parent_span_id:016x}"'
    if span.trace_state:
        text += f',"traceState":{quote(span.trace_state)}'
    if span.links:
        links = [
            f'{{"traceId":"{link.trace_id:032x}","spanId":"{link.span_id:016x}","attributes":{_attributes(link.attributes)}}}'
            for link in span.links
        ]
        text += f',"links":[{",".join(links)}]'
    if span.events:
        events = [
            f'{{"timeUnixNano":"{event.time_ns}","name":{quote(event.name)},"attributes":{_attributes(event.attributes)}}}'
            for event in span.events
        ]
        text += f',"events":[{",".join(events)}]'
    if span.status_code != STATUS_UNSET:
        message = f',"message":{quote(span.status_message)}' if span.status_message else ""
        text += f',"status":{{"code":{span.status_code}{message}}}'
    return text + "}"


_STARTS: Final = AttributeStarts(lambda key: f'{{"key":{encoder.quote(key)},"value":')


def _attributes(attributes: Mapping[str, object]) -> str:
    starts = _STARTS
    # Type checkers do not follow a type that has been looked up once for all its comparisons.
    values: Mapping[str, Any] = attributes
    # In one expression, and by the types that nearly all values have: this is a quarter of what a lane's thread does.
    pairs = [
        f'{starts[key]}{{"stringValue":{quote_short(value)}}}}}'
        if (kind := type(value)) is str and len(value) <= MAX_SHORT_CHARS
        else f'{starts[key]}{{"intValue":"{value}"}}}}'
        if kind is int and MIN_INT64 <= value <= MAX_INT64
        else f'{starts[key]}{{"doubleValue":{value!r}}}}}'
        if kind is float and isfinite(value)
        else f"{starts[key]}{_value(value)}}}"
        for key, value in values.items()
    ]
    return f"[{','.join(pairs)}]"


def _value(value: object) -> str:
    if isinstance(value, str):
        return f'{{"stringValue":{encoder.quote(value)}}}'
    # Before int, of which bool is a subclass.
    if isinstance(value, bool):
        return '{"boolValue":true}' if value else '{"boolValue":false}'
    # A larger one would be refused together with the whole request.
    if isinstance(value, int):
        if MIN_INT64 <= value <= MAX_INT64:
            return f'{{"intValue":"{int(value)}"}}'
        return f'{{"stringValue":{encoder.quote(str(value))}}}'
    if isinstance(value, float):
        if isfinite(value):
            return f'{{"doubleValue":{float.__repr__(value)}}}'
        return f'{{"stringValue":"{_NOT_FINITE[str(float(value))]}"}}'
    if isinstance(value, Sequence):
        return f'{{"arrayValue":{{"values":[{",".join(map(_value, value))}]}}}}'
    return f'{{"stringValue":{encoder.quote(str(value))}}}'
