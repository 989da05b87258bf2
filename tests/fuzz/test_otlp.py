"""Spans as OTLP, against what protobuf itself makes of them; and requests of anybody's, read by the receiver."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource

from llm_otel_broadcast.receiver.decoding import DecodeError, decode_json, decode_protobuf
from llm_otel_broadcast.record.span_data import STATUS_ERROR, STATUS_OK, STATUS_UNSET, Link, Origin, Scope, SpanData
from llm_otel_broadcast.wire import otlp_json, otlp_protobuf
from llm_otel_broadcast.wire.sdk_span import to_readable
from tests.support.any_spans import ATTRIBUTES, SPANS, span
from tests.support.fuzzing import TEXTS, fuzzed, json_values

SCOPE = Scope("1.2.3")
NAMES = TEXTS.map(lambda text: f"n{text}")
ORIGINS = st.builds(
    Origin, scope=st.builds(Scope, st.none() | NAMES, NAMES), resource=st.dictionaries(NAMES, NAMES, max_size=2)
)
OTHER_SPANS = st.builds(
    replace,
    SPANS,
    kind=st.integers(0, 7),
    status_code=st.sampled_from([STATUS_UNSET, STATUS_OK, STATUS_ERROR]),
    status_message=TEXTS,
    links=st.lists(
        st.builds(Link, st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.dictionaries(NAMES, NAMES)),
        max_size=2,
    ).map(tuple),
    trace_state=st.sampled_from(["", "a=1", "a=1,b=2", "no state", "a=1,,a=2"]),
    schema_url=st.sampled_from(["", "https://example.com/schema"]),
    # Another one for each span: those that are equal are one resource to OpenTelemetry's encoder.
    origin=st.none()
    | st.builds(
        lambda origin, number: replace(origin, resource={**origin.resource, "number": number}),
        ORIGINS,
        st.uuids().map(str),
    ),
    attributes=st.dictionaries(
        TEXTS.filter(bool), st.one_of(TEXTS, st.integers(-(2**70), 2**70), st.floats(allow_nan=False)), max_size=4
    ),
)
IDS = frozenset({"traceId", "spanId", "parentSpanId"})
KEYS = (
    *("resourceSpans", "resource", "scopeSpans", "scope", "spans", "schemaUrl", "attributes", "key", "value", "name"),
    *("traceId", "spanId", "parentSpanId", "kind", "startTimeUnixNano", "endTimeUnixNano", "events", "links", "status"),
    *("timeUnixNano", "code", "message", "stringValue", "intValue", "boolValue", "doubleValue", "bytesValue"),
    *("arrayValue", "kvlistValue", "values", "version", "flags", "droppedAttributesCount", "traceState"),
)
VALUES = json_values(KEYS)


def as_proto_json(value: Any) -> Any:
    """Return OTLP JSON as protobuf's own: ids are base64 there, hex in OTLP."""
    if isinstance(value, list):
        return [as_proto_json(item) for item in value]
    if isinstance(value, dict):
        return {
            key: base64.b64encode(bytes.fromhex(item)).decode() if key in IDS else as_proto_json(item)
            for key, item in value.items()
        }
    return value


def read_by_protobuf(body: bytes) -> ExportTraceServiceRequest:
    return json_format.ParseDict(as_proto_json(json.loads(body)), ExportTraceServiceRequest())


@fuzzed
@given(spans=st.lists(SPANS, min_size=1, max_size=3), resource=ATTRIBUTES)
def test_json_says_to_protobuf_what_our_protobuf_says(spans, resource):
    in_json = read_by_protobuf(otlp_json.encode(resource, SCOPE, spans))
    in_protobuf = ExportTraceServiceRequest()
    in_protobuf.ParseFromString(otlp_protobuf.encode(resource, SCOPE, spans))
    made, read = (
        [message for group in request.resource_spans for scope in group.scope_spans for message in scope.spans]
        for request in (in_json, in_protobuf)
    )
    for message in (*made, *read):
        # what OpenTelemetry's encoder adds: the sampled flag, and a status that says nothing
        message.ClearField("flags")
        if not message.status.code:
            message.ClearField("status")
    assert made == read
    ours, theirs = (dict(_pairs(request.resource_spans[0].resource)) for request in (in_json, in_protobuf))
    assert ours == theirs


def _their_encoder_is_complete() -> bool:
    """Return whether the installed encoder sends all that ours does: in OpenTelemetry 1.27 no scope's schema, for one."""
    span = SpanData("a", 1, 1, 0, 1, 1, 1, {}, schema_url="https://example.com/schema")
    encoded = encode_spans([to_readable(span, Resource({}), SCOPE)])
    return bool(encoded.resource_spans[0].scope_spans[0].schema_url)


def _pairs(resource: Any) -> list[tuple[str, bytes]]:
    return [(pair.key, pair.value.SerializeToString(deterministic=True)) for pair in resource.attributes]


@st.composite
def spoilt_requests(draw: Any) -> bytes:
    """A request of ours, with one of its values replaced by any other."""
    document = json.loads(otlp_json.encode(draw(ATTRIBUTES), SCOPE, [draw(SPANS)]))
    place = document
    while True:
        keys = list(range(len(place))) if isinstance(place, list) else list(place)
        key = draw(st.sampled_from(keys))
        if not place[key] or not isinstance(place[key], dict | list) or draw(st.integers(0, 7)) == 0:
            place[key] = draw(VALUES)
            return json.dumps(document).encode()
        place = place[key]


@fuzzed
@given(body=st.one_of(spoilt_requests(), spoilt_requests(), VALUES.map(lambda value: json.dumps(value).encode())))
def test_a_json_request_is_refused_or_means_what_protobuf_reads(body):
    try:
        spans = decode_json(body)
    except DecodeError:
        return
    message = read_by_protobuf(body)
    assert decode_protobuf(message.SerializeToString()) == spans


@fuzzed
@given(body=st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(body):
    for decode in (decode_json, decode_protobuf):
        with suppress(DecodeError):
            assert isinstance(decode(body), list)


@fuzzed
@given(made=SPANS, at=st.integers(0, 2_000), byte=st.integers(0, 255), extra=st.binary(max_size=8))
def test_a_damaged_protobuf_request_is_refused_or_read(made, at, byte, extra):
    body = bytearray(otlp_protobuf.encode({}, SCOPE, [made]))
    body[at % len(body)] = byte
    body += extra
    with suppress(DecodeError):
        assert isinstance(decode_protobuf(bytes(body)), list)


@pytest.mark.parametrize("depth", [40, 99, 101, 5_000])
def test_a_deep_value_is_refused(depth):
    value = '{"arrayValue":{"values":[' * depth + "]}}" * depth
    with pytest.raises(DecodeError):
        decode_json(b'{"resourceSpans":[{"resource":{"attributes":[{"key":"a","value":%s}]}}]}' % value.encode())
    inner = b""
    for _ in range(min(depth, 500)):
        inner = b"\x2a" + _length(inner_list := b"\x0a" + _length(inner) + inner) + inner_list
    pair = b"\x0a\x01a\x12" + _length(inner) + inner
    resource = b"\x0a" + _length(pair) + pair
    group = b"\x0a" + _length(resource) + resource
    body = b"\x0a" + _length(group) + group
    with suppress(DecodeError):
        assert isinstance(decode_protobuf(body), list)


def _length(message: bytes) -> bytes:
    size, octets = len(message), bytearray()
    while size > 127:
        octets.append(size & 127 | 128)
        size >>= 7
    return bytes([*octets, size])


@fuzzed
@given(text=TEXTS)
def test_any_text_survives_both_encodings(text):
    made = span(name=text, attributes={"text": text})
    (in_json,) = decode_json(otlp_json.encode({}, SCOPE, [made]))
    (in_protobuf,) = decode_protobuf(otlp_protobuf.encode({}, SCOPE, [made]))
    assert in_json.attributes == in_protobuf.attributes
    assert in_json.name == in_protobuf.name


@pytest.mark.skipif(not _their_encoder_is_complete(), reason="the installed encoder leaves out what ours sends")
@fuzzed
@given(spans=st.lists(st.one_of(SPANS, OTHER_SPANS), min_size=1, max_size=4), resource=ATTRIBUTES)
def test_our_protobuf_says_what_opentelemetrys_encoder_says(spans, resource):
    base = Resource(resource, "https://example.com/resource")
    ours, theirs = ExportTraceServiceRequest(), encode_spans([to_readable(each, base, SCOPE) for each in spans])
    ours.ParseFromString(otlp_protobuf.encode(base.attributes, SCOPE, spans, base.schema_url))
    assert ours == theirs
