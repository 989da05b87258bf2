"""Reads an OTLP trace export request, JSON or protobuf, into plain spans.

Deliberately stricter than the specification: it refuses whatever any known backend refuses (null, unknown keys,
upper-case identifiers, 64-bit numbers that are not strings), so that what passes here passes everywhere.
"""

from __future__ import annotations

import base64
import json
import math
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn

from llm_otel_broadcast.receiver.amplification import (
    MAX_JSON_CONTAINERS,
    MAX_PROTOBUF_FIELDS,
    has_too_many_containers,
    has_too_many_fields,
)
from llm_otel_broadcast.receiver.store import ReceivedEvent, ReceivedSpan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8
_MAX_KIND: Final = 5
_MAX_STATUS: Final = 2
_MAX_UINT32: Final = 2**32 - 1
_MAX_UINT64: Final = 2**64 - 1
_MAX_INT64: Final = 2**63 - 1
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,19})", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-f]*", re.ASCII)
# ProtoJSON's names for what JSON has no number for.
_NON_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
# Deeper nesting than protobuf's own limit of 100 messages cannot come from a well-behaved sender.
_MAX_DEPTH: Final = 32

_Fields = dict[str, object]


class DecodeError(ValueError):
    """The bytes are no acceptable export request; the message says where and why."""


def decode_json(body: bytes) -> list[ReceivedSpan]:
    """Read a request in the OTLP JSON encoding.

    Raises:
        DecodeError: The first fault found, with its path.

    """
    if has_too_many_containers(body):
        raise DecodeError(f"the body has more than {MAX_JSON_CONTAINERS} objects and arrays")
    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except DecodeError:
        raise
    except (ValueError, RecursionError) as fault:
        # Not UTF-8, not JSON, a number of 5000 digits, a tower of brackets.
        raise DecodeError("the body is not JSON") from fault
    request = _object(document, "request", {"resourceSpans"})
    spans: list[ReceivedSpan] = []
    for value, path in _items(request, "resourceSpans", ""):
        fields = _object(value, path, {"resource", "scopeSpans", "schemaUrl"})
        _text(fields, "schemaUrl", path)
        resource_path = f"{path}.resource"
        resource = _object(fields.get("resource", {}), resource_path, {"attributes", "droppedAttributesCount"})
        attributes = _attributes(resource, resource_path)
        for group, group_path in _items(fields, "scopeSpans", path):
            scope_fields = _object(group, group_path, {"scope", "spans", "schemaUrl"})
            _text(scope_fields, "schemaUrl", group_path)
            scope_path = f"{group_path}.scope"
            keys = {"name", "version", "attributes", "droppedAttributesCount"}
            scope = _object(scope_fields.get("scope", {}), scope_path, keys)
            _attributes(scope, scope_path)
            origin = _text(scope, "name", scope_path), _text(scope, "version", scope_path)
            for inner, span_path in _items(scope_fields, "spans", group_path):
                spans.append(_span(inner, span_path, attributes, origin))
    return spans


def _unique(pairs: list[tuple[str, object]]) -> _Fields:
    # Readers differ in which of two equal keys counts; Python's takes the last one without a word.
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise DecodeError("an object has the same key twice")
    return fields


def _no_constant(constant: str) -> NoReturn:
    raise DecodeError(f"{constant} is not JSON")


def _object(value: object, path: str, keys: set[str], required: tuple[str, ...] = ()) -> _Fields:
    if not isinstance(value, dict):
        raise DecodeError(f"{path}: an object is expected")
    for key, inner in value.items():
        if key not in keys:
            raise DecodeError(f"{path}: unknown key {key[:60]!r}")
        if inner is None:
            raise DecodeError(f"{path}.{key}: null is not allowed")
    for key in required:
        if key not in value:
            raise DecodeError(f"{path}.{key}: missing")
    return value


def _items(fields: _Fields, key: str, path: str) -> Iterator[tuple[object, str]]:
    value = fields.get(key, [])
    if not isinstance(value, list):
        raise DecodeError(f"{path}.{key}: an array is expected")
    return ((inner, f"{path}.{key}[{index}]".lstrip(".")) for index, inner in enumerate(value))


def _checked_text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise DecodeError(f"{path}: a string is expected")
    # JSON can escape half a surrogate pair, which no UTF-8 can have: neither can protobuf's strings.
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as fault:
        raise DecodeError(f"{path}: half a surrogate pair is not text") from fault
    return value


def _text(fields: _Fields, key: str, path: str) -> str:
    return _checked_text(fields.get(key, ""), f"{path}.{key}")


def _small(fields: _Fields, key: str, path: str, most: int) -> int:
    value = fields.get(key, 0)
    # True is an int for Python, and would pass as 1.
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise DecodeError(f"{path}.{key}: an integer from 0 to {most} is expected")
    return value


def _decimal(value: object, path: str, least: int, most: int) -> int:
    # OTLP's JSON writes 64-bit integers as text, because JavaScript's numbers end at 2**53.
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise DecodeError(f"{path}: a 64-bit integer is written as a decimal string")
    number = int(value)
    if not least <= number <= most:
        raise DecodeError(f"{path}: out of range")
    return number


def _identifier(fields: _Fields, key: str, path: str, size: int) -> str:
    value = _text(fields, key, path)
    if len(value) != 2 * size or not _HEX.fullmatch(value):
        raise DecodeError(f"{path}.{key}: {2 * size} lower-case hex digits are expected")
    if not value.strip("0"):
        raise DecodeError(f"{path}.{key}: all zero")
    return value


_SPAN_REQUIRED: Final = ("traceId", "spanId", "name", "startTimeUnixNano", "endTimeUnixNano")
_SPAN_COUNTS: Final = ("flags", "droppedEventsCount", "droppedLinksCount")
_SPAN_OTHERS: Final = ("parentSpanId", "traceState", "kind", "status", "events", "links")
_SPAN_KEYS: Final = {*_SPAN_REQUIRED, *_SPAN_COUNTS, *_SPAN_OTHERS, "attributes", "droppedAttributesCount"}
_EVENT_KEYS: Final = {"timeUnixNano", "name", "attributes", "droppedAttributesCount"}
_LINK_KEYS: Final = {"traceId", "spanId", "traceState", "flags", "attributes", "droppedAttributesCount"}


def _span(value: object, path: str, resource: _Fields, scope: tuple[str, str]) -> ReceivedSpan:
    fields = _object(value, path, _SPAN_KEYS, _SPAN_REQUIRED)
    # Nothing of ours uses these; they are checked, because a backend refuses the whole request over any of them.
    for key in _SPAN_COUNTS:
        _small(fields, key, path, _MAX_UINT32)
    _text(fields, "traceState", path)
    for inner, link_path in _items(fields, "links", path):
        link = _object(inner, link_path, _LINK_KEYS, ("traceId", "spanId"))
        _identifier(link, "traceId", link_path, _TRACE_ID_BYTES)
        _identifier(link, "spanId", link_path, _SPAN_ID_BYTES)
        _text(link, "traceState", link_path)
        _small(link, "flags", link_path, _MAX_UINT32)
        _attributes(link, link_path)
    events: list[ReceivedEvent] = []
    for inner, event_path in _items(fields, "events", path):
        event = _object(inner, event_path, _EVENT_KEYS, ("timeUnixNano", "name"))
        time_ns = _decimal(event["timeUnixNano"], f"{event_path}.timeUnixNano", 0, _MAX_UINT64)
        events.append(ReceivedEvent(_text(event, "name", event_path), time_ns, _attributes(event, event_path)))
    status_path = f"{path}.status"
    status = _object(fields.get("status", {}), status_path, {"code", "message"})
    return ReceivedSpan(
        name=_text(fields, "name", path),
        trace_id=_identifier(fields, "traceId", path, _TRACE_ID_BYTES),
        span_id=_identifier(fields, "spanId", path, _SPAN_ID_BYTES),
        # Go's and Rust's decoders take "" for "no parent"; so does the specification.
        parent_span_id=_identifier(fields, "parentSpanId", path, _SPAN_ID_BYTES)
        if fields.get("parentSpanId", "") != ""
        else "",
        kind=_small(fields, "kind", path, _MAX_KIND),
        start_ns=_decimal(fields["startTimeUnixNano"], f"{path}.startTimeUnixNano", 0, _MAX_UINT64),
        end_ns=_decimal(fields["endTimeUnixNano"], f"{path}.endTimeUnixNano", 0, _MAX_UINT64),
        attributes=_attributes(fields, path),
        status_code=_small(status, "code", status_path, _MAX_STATUS),
        status_message=_text(status, "message", status_path),
        events=tuple(events),
        resource=resource,
        scope_name=scope[0],
        scope_version=scope[1],
    )


def _attributes(fields: _Fields, path: str) -> _Fields:
    _small(fields, "droppedAttributesCount", path, _MAX_UINT32)
    return _collect(_pair(inner, pair_path, 0) for inner, pair_path in _items(fields, "attributes", path))


def _pair(value: object, path: str, depth: int) -> tuple[str, object]:
    fields = _object(value, path, {"key", "value"}, ("key", "value"))
    return _text(fields, "key", path), _any(fields["value"], f"{path}.value", depth + 1)


def _collect(pairs: Iterable[tuple[str, object]]) -> _Fields:
    collected: _Fields = {}
    for key, value in pairs:
        if not key:
            raise DecodeError("an attribute has an empty key")
        if key in collected:
            raise DecodeError(f"the attribute {key[:60]!r} is given twice")
        collected[key] = value
    return collected


_SCALARS: Final = {"stringValue", "boolValue", "intValue", "doubleValue", "bytesValue"}


def _any(value: object, path: str, depth: int) -> object:
    if depth > _MAX_DEPTH:
        raise DecodeError("a value is nested too deeply")
    fields = _object(value, path, {*_SCALARS, "arrayValue", "kvlistValue"})
    # The specification's "empty value".
    if not fields:
        return None
    if len(fields) > 1:
        raise DecodeError(f"{path}: exactly one kind of value is expected")
    ((key, inner),) = fields.items()
    path = f"{path}.{key}"
    if key in _SCALARS:
        return _scalar(key, inner, path)
    values = _items(_object(inner, path, {"values"}), "values", path)
    if key == "arrayValue":
        return [_any(element, element_path, depth + 1) for element, element_path in values]
    return _collect(_pair(element, element_path, depth) for element, element_path in values)


def _scalar(kind: str, value: object, path: str) -> object:
    match kind:
        case "stringValue":
            return _checked_text(value, path)
        case "intValue":
            return _decimal(value, path, -_MAX_INT64 - 1, _MAX_INT64)
        case "boolValue" if not isinstance(value, bool):
            raise DecodeError(f"{path}: true or false is expected")
        case "boolValue":
            return value
        case "bytesValue":
            text = _checked_text(value, path)
            try:
                return base64.b64decode(text, validate=True)
            except ValueError as fault:
                raise DecodeError(f"{path}: base64 is expected") from fault
    # What is left is a double.
    if isinstance(value, str) and value in _NON_FINITE:
        return _NON_FINITE[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DecodeError(f"{path}: a number is expected")
    number = math.inf
    # An integer may be larger than any double.
    with suppress(OverflowError):
        number = float(value)
    if not math.isfinite(number):
        raise DecodeError(f"{path}: out of range")
    return number


def decode_protobuf(body: bytes) -> list[ReceivedSpan]:
    """Read a request in the OTLP protobuf encoding.

    Raises:
        DecodeError: Not protobuf, or a span breaks a rule the encoding cannot express.

    """
    # Imported here: a process that only ever sees JSON needs no protobuf.
    from google.protobuf.message import DecodeError as ProtobufError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    if has_too_many_fields(body):
        raise DecodeError(f"the request has more than {MAX_PROTOBUF_FIELDS} groups and spans")
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except ProtobufError as fault:
        raise DecodeError("the body is not an export request in protobuf") from fault
    spans = []
    for group in request.resource_spans:
        resource = _message_attributes(group.resource.attributes)
        for inner in group.scope_spans:
            scope = (inner.scope.name, inner.scope.version)
            spans += [_message_span(span, resource, scope) for span in inner.spans]
    return spans


def _message_span(span: Span, resource: _Fields, scope: tuple[str, str]) -> ReceivedSpan:
    if not 0 <= span.kind <= _MAX_KIND or not 0 <= span.status.code <= _MAX_STATUS:
        raise DecodeError("span: kind or status code out of range")
    events = (
        ReceivedEvent(event.name, event.time_unix_nano, _message_attributes(event.attributes)) for event in span.events
    )
    for link in span.links:
        _hex(link.trace_id, _TRACE_ID_BYTES, "link.trace_id")
        _hex(link.span_id, _SPAN_ID_BYTES, "link.span_id")
        _message_attributes(link.attributes)
    return ReceivedSpan(
        name=span.name,
        trace_id=_hex(span.trace_id, _TRACE_ID_BYTES, "span.trace_id"),
        span_id=_hex(span.span_id, _SPAN_ID_BYTES, "span.span_id"),
        parent_span_id=_hex(span.parent_span_id, _SPAN_ID_BYTES, "span.parent_span_id") if span.parent_span_id else "",
        kind=span.kind,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_message_attributes(span.attributes),
        status_code=span.status.code,
        status_message=span.status.message,
        events=tuple(events),
        resource=resource,
        scope_name=scope[0],
        scope_version=scope[1],
    )


def _hex(identifier: bytes, size: int, path: str) -> str:
    if len(identifier) != size or not any(identifier):
        raise DecodeError(f"{path}: {size} bytes, not all zero, are expected")
    return identifier.hex()


def _message_attributes(pairs: Iterable[KeyValue]) -> _Fields:
    return _collect((pair.key, _message_any(pair.value)) for pair in pairs)


def _message_any(value: AnyValue) -> object:
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [_message_any(inner) for inner in value.array_value.values]
        case "kvlist_value":
            return _message_attributes(value.kvlist_value.values)
        case "string_value" | "bool_value" | "int_value" | "double_value" | "bytes_value" as kind:
            scalar: object = getattr(value, kind)
            return scalar
        case other:
            raise DecodeError(f"a value of kind {other!r} is not expected in traces")
