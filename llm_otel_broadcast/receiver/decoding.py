"""Reads an OTLP trace export request, JSON or protobuf, into plain spans.

Deliberately stricter than the specification: it refuses whatever any known backend refuses (null, unknown keys,
upper-case identifiers, 64-bit numbers that are not strings), so that what passes here passes everywhere.
"""

from __future__ import annotations

import base64
import json
import math
import re
from typing import TYPE_CHECKING, Final, NoReturn

from llm_otel_broadcast.receiver.store import ReceivedEvent, ReceivedSpan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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
    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except DecodeError:
        raise
    except (ValueError, RecursionError) as fault:  # not UTF-8, not JSON, a number of 5000 digits, a tower of brackets
        raise DecodeError("the body is not JSON") from fault
    request = _object(document, "request", {"resourceSpans"})
    return [span for one, at in _items(request, "resourceSpans", "") for span in _resource_spans(one, at)]


def _unique(pairs: list[tuple[str, object]]) -> _Fields:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise DecodeError("an object has the same key twice")
    return fields


def _no_constant(constant: str) -> NoReturn:
    raise DecodeError(f"{constant} is not JSON")


def _object(value: object, at: str, keys: set[str], required: tuple[str, ...] = ()) -> _Fields:
    if not isinstance(value, dict):
        raise DecodeError(f"{at}: an object is expected")
    for key, inner in value.items():
        if key not in keys:
            raise DecodeError(f"{at}: unknown key {key[:60]!r}")
        if inner is None:
            raise DecodeError(f"{at}.{key}: null is not allowed")
    for key in required:
        if key not in value:
            raise DecodeError(f"{at}.{key}: missing")
    return value


def _items(fields: _Fields, key: str, at: str) -> Iterator[tuple[object, str]]:
    value = fields.get(key, [])
    if not isinstance(value, list):
        raise DecodeError(f"{at}.{key}: an array is expected")
    return ((inner, f"{at}.{key}[{index}]".lstrip(".")) for index, inner in enumerate(value))


def _checked_text(value: object, at: str) -> str:
    if not isinstance(value, str):
        raise DecodeError(f"{at}: a string is expected")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as fault:
        raise DecodeError(f"{at}: half a surrogate pair is not text") from fault
    return value


def _text(fields: _Fields, key: str, at: str) -> str:
    return _checked_text(fields.get(key, ""), f"{at}.{key}")


def _small(fields: _Fields, key: str, at: str, most: int) -> int:
    value = fields.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise DecodeError(f"{at}.{key}: an integer from 0 to {most} is expected")
    return value


def _decimal(value: object, at: str, least: int, most: int) -> int:
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise DecodeError(f"{at}: a 64-bit integer is written as a decimal string")
    number = int(value)
    if not least <= number <= most:
        raise DecodeError(f"{at}: out of range")
    return number


def _identifier(fields: _Fields, key: str, at: str, size: int) -> str:
    value = _text(fields, key, at)
    if len(value) != 2 * size or not _HEX.fullmatch(value):
        raise DecodeError(f"{at}.{key}: {2 * size} lower-case hex digits are expected")
    if not value.strip("0"):
        raise DecodeError(f"{at}.{key}: all zero")
    return value


def _resource_spans(value: object, at: str) -> Iterator[ReceivedSpan]:
    fields = _object(value, at, {"resource", "scopeSpans", "schemaUrl"})
    _text(fields, "schemaUrl", at)
    at_resource = f"{at}.resource"
    resource = _object(fields.get("resource", {}), at_resource, {"attributes", "droppedAttributesCount"})
    attributes = _attributes(resource, at_resource)
    for inner, at_scope in _items(fields, "scopeSpans", at):
        yield from _scope_spans(inner, at_scope, attributes)


def _scope_spans(value: object, at: str, resource: _Fields) -> Iterator[ReceivedSpan]:
    fields = _object(value, at, {"scope", "spans", "schemaUrl"})
    _text(fields, "schemaUrl", at)
    at_scope = f"{at}.scope"
    keys = {"name", "version", "attributes", "droppedAttributesCount"}
    scope = _object(fields.get("scope", {}), at_scope, keys)
    _attributes(scope, at_scope)
    name, version = _text(scope, "name", at_scope), _text(scope, "version", at_scope)
    for inner, at_span in _items(fields, "spans", at):
        yield _span(inner, at_span, resource, (name, version))


_SPAN_REQUIRED: Final = ("traceId", "spanId", "name", "startTimeUnixNano", "endTimeUnixNano")
_SPAN_COUNTS: Final = ("flags", "droppedEventsCount", "droppedLinksCount")
_SPAN_OTHERS: Final = ("parentSpanId", "traceState", "kind", "status", "events", "links")
_SPAN_KEYS: Final = {*_SPAN_REQUIRED, *_SPAN_COUNTS, *_SPAN_OTHERS, "attributes", "droppedAttributesCount"}


def _span(value: object, at: str, resource: _Fields, scope: tuple[str, str]) -> ReceivedSpan:
    fields = _object(value, at, _SPAN_KEYS, _SPAN_REQUIRED)
    for key in _SPAN_COUNTS:
        _small(fields, key, at, _MAX_UINT32)
    _text(fields, "traceState", at)
    for link, at_link in _items(fields, "links", at):
        _check_link(link, at_link)
    at_status = f"{at}.status"
    status = _object(fields.get("status", {}), at_status, {"code", "message"})
    return ReceivedSpan(
        name=_text(fields, "name", at),
        trace_id=_identifier(fields, "traceId", at, _TRACE_ID_BYTES),
        span_id=_identifier(fields, "spanId", at, _SPAN_ID_BYTES),
        # Go's and Rust's decoders take "" for "no parent"; so does the specification.
        parent_span_id=_identifier(fields, "parentSpanId", at, _SPAN_ID_BYTES)
        if fields.get("parentSpanId", "") != ""
        else "",
        kind=_small(fields, "kind", at, _MAX_KIND),
        start_ns=_decimal(fields["startTimeUnixNano"], f"{at}.startTimeUnixNano", 0, _MAX_UINT64),
        end_ns=_decimal(fields["endTimeUnixNano"], f"{at}.endTimeUnixNano", 0, _MAX_UINT64),
        attributes=_attributes(fields, at),
        status_code=_small(status, "code", at_status, _MAX_STATUS),
        status_message=_text(status, "message", at_status),
        events=tuple(_event(inner, at_event) for inner, at_event in _items(fields, "events", at)),
        resource=resource,
        scope_name=scope[0],
        scope_version=scope[1],
    )


def _event(value: object, at: str) -> ReceivedEvent:
    keys = {"timeUnixNano", "name", "attributes", "droppedAttributesCount"}
    fields = _object(value, at, keys, ("timeUnixNano", "name"))
    time_ns = _decimal(fields["timeUnixNano"], f"{at}.timeUnixNano", 0, _MAX_UINT64)
    return ReceivedEvent(_text(fields, "name", at), time_ns, _attributes(fields, at))


def _check_link(value: object, at: str) -> None:
    keys = {"traceId", "spanId", "traceState", "flags", "attributes", "droppedAttributesCount"}
    fields = _object(value, at, keys, ("traceId", "spanId"))
    _identifier(fields, "traceId", at, _TRACE_ID_BYTES)
    _identifier(fields, "spanId", at, _SPAN_ID_BYTES)
    _text(fields, "traceState", at)
    _small(fields, "flags", at, _MAX_UINT32)
    _attributes(fields, at)


def _attributes(fields: _Fields, at: str) -> _Fields:
    _small(fields, "droppedAttributesCount", at, _MAX_UINT32)
    return _collect(_pair(inner, at_pair, 0) for inner, at_pair in _items(fields, "attributes", at))


def _pair(value: object, at: str, depth: int) -> tuple[str, object]:
    fields = _object(value, at, {"key", "value"}, ("key", "value"))
    return _text(fields, "key", at), _any(fields["value"], f"{at}.value", depth + 1)


def _collect(pairs: Iterable[tuple[str, object]]) -> _Fields:
    collected: _Fields = {}
    for key, value in pairs:
        if not key:
            raise DecodeError("an attribute has an empty key")
        if key in collected:
            raise DecodeError(f"the attribute {key[:60]!r} is given twice")
        collected[key] = value
    return collected


def _any(value: object, at: str, depth: int) -> object:
    if depth > _MAX_DEPTH:
        raise DecodeError("a value is nested too deeply")
    fields = _object(value, at, {*_SCALARS, "arrayValue", "kvlistValue"})
    if not fields:  # the specification's "empty value"
        return None
    if len(fields) > 1:
        raise DecodeError(f"{at}: exactly one kind of value is expected")
    ((key, inner),) = fields.items()
    at = f"{at}.{key}"
    if key in _SCALARS:
        return _SCALARS[key](inner, at)
    values = _items(_object(inner, at, {"values"}), "values", at)
    if key == "arrayValue":
        return [_any(one, at_one, depth + 1) for one, at_one in values]
    return _collect(_pair(one, at_one, depth) for one, at_one in values)


def _truth(value: object, at: str) -> bool:
    if not isinstance(value, bool):
        raise DecodeError(f"{at}: true or false is expected")
    return value


def _integer(value: object, at: str) -> int:
    return _decimal(value, at, -_MAX_INT64 - 1, _MAX_INT64)


def _double(value: object, at: str) -> float:
    if isinstance(value, str) and value in _NON_FINITE:
        return _NON_FINITE[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DecodeError(f"{at}: a number is expected")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise DecodeError(f"{at}: out of range")
    return number


def _octets(value: object, at: str) -> bytes:
    try:
        return base64.b64decode(_checked_text(value, at), validate=True)
    except DecodeError:
        raise
    except ValueError as fault:
        raise DecodeError(f"{at}: base64 is expected") from fault


_SCALARS: Final[dict[str, Callable[[object, str], object]]] = {
    "stringValue": _checked_text,
    "boolValue": _truth,
    "intValue": _integer,
    "doubleValue": _double,
    "bytesValue": _octets,
}


def decode_protobuf(body: bytes) -> list[ReceivedSpan]:
    """Read a request in the OTLP protobuf encoding.

    Raises:
        DecodeError: Not protobuf, or a span breaks a rule the encoding cannot express.

    """
    # Imported here: a process that only ever sees JSON needs no protobuf.
    from google.protobuf.message import DecodeError as ProtobufError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

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
    events = (ReceivedEvent(one.name, one.time_unix_nano, _message_attributes(one.attributes)) for one in span.events)
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


def _hex(identifier: bytes, size: int, at: str) -> str:
    if len(identifier) != size or not any(identifier):
        raise DecodeError(f"{at}: {size} bytes, not all zero, are expected")
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
