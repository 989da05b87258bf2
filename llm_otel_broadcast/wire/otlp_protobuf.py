"""OTLP protobuf, written straight from our spans, as bytes that say what OpenTelemetry's own encoder says of them.

By way of the SDK's spans and protobuf's messages it takes four times as long, and a tenth of a second to import. Numbers of fields
as in opentelemetry-proto 1.10: `collector/trace/v1/trace_service.proto`, `trace/v1/trace.proto`, `common/v1/common.proto`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final

from llm_otel_broadcast.host.turns import in_turns
from llm_otel_broadcast.record.int64 import MAX_INT64, MIN_INT64
from llm_otel_broadcast.record.span_data import KIND_CONSUMER, KIND_INTERNAL, STATUS_ERROR, Scope, SpanData
from llm_otel_broadcast.wire.attribute_starts import AttributeStarts
from llm_otel_broadcast.wire.span_groups import grouped

_MAX_ONE_BYTE: Final = 0x7F
_UINT64_MASK: Final = 2**64 - 1
# Whether the parent is in another process is known: it is not.
_FLAGS: Final = b"\x85\x01" + struct.pack("<I", 0x100)
_LINK_FLAGS: Final = b"\x35" + struct.pack("<I", 0x100)
_DOUBLE: Final = struct.Struct("<cd").pack
_TIMES: Final = struct.Struct("<cQcQ").pack
_TIME: Final = struct.Struct("<cQ").pack


def encode(
    resource: Mapping[str, object], scope: Scope, spans: Sequence[SpanData], resource_schema_url: str = ""
) -> bytes:
    """Return an ExportTraceServiceRequest as protobuf bytes; resource and scope are those of our own spans."""
    request: list[bytes] = []
    for span_resource, scopes in grouped(resource, scope, spans):
        resource_spans = [_field(b"\x0a", _attributes(b"\x0a", span_resource))]
        for (span_scope, schema_url), scope_spans in scopes.items():
            scope_message = _text(b"\x0a", span_scope.name) + _text(b"\x12", span_scope.version or "")
            pieces = [_field(b"\x0a", scope_message)]
            for span in in_turns(scope_spans):
                shared = span.shared_text
                message = None if shared is None else shared.protobuf
                if message is None:
                    message = _span(span)
                    if shared is not None:
                        shared.protobuf = message
                pieces += (b"\x12" + _varint(len(message)), message)
            pieces.append(_text(b"\x1a", schema_url))
            resource_spans += _fields(b"\x12", pieces)
        if span_resource is resource:
            resource_spans.append(_text(b"\x1a", resource_schema_url))
        request += _fields(b"\x0a", resource_spans)
    return b"".join(request)


def _span(span: SpanData) -> bytes:
    kind = span.kind if KIND_INTERNAL <= span.kind <= KIND_CONSUMER else KIND_INTERNAL
    message = b"\x0a\x10%b\x12\x08%b" % (span.trace_id.to_bytes(16, "big"), span.span_id.to_bytes(8, "big"))
    if span.trace_state:
        message += _text(b"\x1a", _trace_state(span.trace_state))
    if span.parent_span_id:
        message += b"\x22\x08" + span.parent_span_id.to_bytes(8, "big")
    message += (
        _text(b"\x2a", span.name) + b"\x30" + _varint(kind) + _TIMES(b"\x39", span.start_ns, b"\x41", span.end_ns)
    )
    message += _attributes(b"\x4a", span.attributes)
    for event in span.events:
        event_message = (
            _TIME(b"\x09", event.time_ns) + _text(b"\x12", event.name) + _attributes(b"\x1a", event.attributes)
        )
        message += _field(b"\x5a", event_message)
    for link in span.links:
        ids = b"\x0a\x10%b\x12\x08%b" % (link.trace_id.to_bytes(16, "big"), link.span_id.to_bytes(8, "big"))
        message += _field(b"\x6a", ids + _attributes(b"\x22", link.attributes) + _LINK_FLAGS)
    # The API: only an error has a text.
    text = _text(b"\x12", span.status_message) if span.status_code == STATUS_ERROR else b""
    status = text + b"\x18" + _varint(span.status_code) if span.status_code else b""
    return message + _field(b"\x7a", status) + _FLAGS


def _trace_state(header: str) -> str:
    # Few spans have any, and those are another instrumentation's.
    from opentelemetry.trace import TraceState

    return ",".join(f"{key}={value}" for key, value in TraceState.from_header([header]).items())


_STARTS: Final = AttributeStarts(lambda key: _field(b"\x0a", _utf8(key)) + b"\x12")


def _attributes(tag: bytes, attributes: Mapping[str, object]) -> bytes:
    """Return attributes, each as a field with this tag."""
    starts, pieces = _STARTS, list[bytes]()
    for key, value in attributes.items():
        any_value = _any_value(value)
        pair = starts[key] + _varint(len(any_value)) + any_value
        pieces += (tag, _varint(len(pair)), pair)
    return b"".join(pieces)


def _any_value(value: object) -> bytes:
    if isinstance(value, str):
        text = _utf8(value)
        return b"\x0a" + _varint(len(text)) + text
    # Before int, of which bool is a subclass.
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        # A larger one would be refused together with the whole request.
        is_int64 = MIN_INT64 <= value <= MAX_INT64
        return b"\x18" + _varint(value & _UINT64_MASK) if is_int64 else _any_value(str(value))
    if isinstance(value, float):
        return _DOUBLE(b"\x21", value)
    if isinstance(value, bytes):
        return _field(b"\x3a", value)
    if isinstance(value, Sequence):
        return _field(b"\x2a", b"".join(_field(b"\x0a", _any_value(item)) for item in value))
    if isinstance(value, Mapping):
        return _field(b"\x32", _attributes(b"\x0a", {str(key): item for key, item in value.items()}))
    return b"" if value is None else _any_value(str(value))


def _text(tag: bytes, text: str) -> bytes:
    """Return a field, which is left out where it is empty."""
    return _field(tag, _utf8(text)) if text else b""


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def _fields(tag: bytes, pieces: list[bytes]) -> list[bytes]:
    """Return a field in pieces, of which many megabytes are put together once."""
    return [tag + _varint(sum(map(len, pieces))), *pieces]


def _utf8(text: str) -> bytes:
    # A lone surrogate, as half an emoji in a cut text is, has no UTF-8.
    return text.encode("utf-8", "replace")


def _varint(number: int) -> bytes:
    if number <= _MAX_ONE_BYTE:
        return _ONE_BYTE[number]
    groups = bytearray()
    while number > _MAX_ONE_BYTE:
        groups.append(number & _MAX_ONE_BYTE | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


_ONE_BYTE: Final = tuple(bytes((number,)) for number in range(_MAX_ONE_BYTE + 1))
