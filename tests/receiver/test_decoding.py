"""What the two decoders accept, and what they refuse."""

from __future__ import annotations

import contextlib
import copy
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from llm_otel_broadcast.receiver import DecodeError, ReceivedEvent, decode_json, decode_protobuf

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
VALUES = {
    "text": {"stringValue": "größe"},
    "yes": {"boolValue": True},
    "count": {"intValue": "-9223372036854775808"},
    "cost": {"doubleValue": 0.25},
    "whole": {"doubleValue": 2},
    "list": {"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "1"}]}},
    "map": {"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": False}}]}},
    "bytes": {"bytesValue": "AAE="},
    "empty": {},
}
SPAN = {
    "traceId": TRACE_ID,
    "spanId": SPAN_ID,
    "parentSpanId": "00f067aa0ba902b7",
    "name": "chat gpt",
    "kind": 3,
    "startTimeUnixNano": "1000000000",
    "endTimeUnixNano": "2500000000",
    "attributes": [{"key": key, "value": value} for key, value in VALUES.items()],
    "events": [{"timeUnixNano": "7", "name": "first", "attributes": []}],
    "links": [{"traceId": TRACE_ID, "spanId": SPAN_ID}],
    "status": {"code": 2, "message": "no"},
}
ABSENT = object()


def request_with(**changes: object) -> dict:
    span = {key: value for key, value in {**copy.deepcopy(SPAN), **changes}.items() if value is not ABSENT}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    scope = {"name": "scope", "version": "1"}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": [span]}]}]}


def attribute(value: object) -> bytes:
    return json.dumps(request_with(attributes=[{"key": "a", "value": value}])).encode()


def proto_request() -> tuple[ExportTraceServiceRequest, object]:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = bytes.fromhex(TRACE_ID), bytes.fromhex(SPAN_ID), "chat gpt"
    return request, span


def test_a_json_span_is_read_with_all_its_parts():
    (span,) = decode_json(json.dumps(request_with()).encode())
    assert (span.name, span.trace_id, span.span_id) == ("chat gpt", TRACE_ID, SPAN_ID)
    assert (span.parent_span_id, span.kind) == ("00f067aa0ba902b7", 3)
    assert span.duration_s == 1.5
    assert span.attributes == {
        "text": "größe",
        "yes": True,
        "count": -(2**63),
        "cost": 0.25,
        "whole": 2.0,
        "list": ["a", 1],
        "map": {"k": False},
        "bytes": b"\x00\x01",
        "empty": None,
    }
    assert (span.status_code, span.status_message) == (2, "no")
    assert span.events == (ReceivedEvent("first", 7, {}),)
    assert span.resource == {"service.name": "shop"}
    assert (span.scope_name, span.scope_version) == ("scope", "1")


@pytest.mark.parametrize("parent", ["", ABSENT])
def test_a_root_span_has_an_empty_parent(parent):
    assert decode_json(json.dumps(request_with(parentSpanId=parent)).encode())[0].parent_span_id == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"traceId": TRACE_ID.upper()},
        {"traceId": TRACE_ID[:-1]},
        {"traceId": "0" * 32},
        {"traceId": TRACE_ID + "\n"},
        {"traceId": ABSENT},
        {"spanId": "0" * 16},
        {"spanId": TRACE_ID},
        {"spanId": ABSENT},
        {"parentSpanId": "0" * 16},
        {"parentSpanId": None},
        {"parentSpanId": []},
        {"name": ABSENT},
        {"name": None},
        {"name": 1},
        {"name": "\ud800"},
        {"startTimeUnixNano": 1},
        {"startTimeUnixNano": ""},
        {"startTimeUnixNano": "1e3"},
        {"startTimeUnixNano": "-1"},
        {"startTimeUnixNano": "01"},
        {"startTimeUnixNano": "\u0661"},
        {"endTimeUnixNano": str(2**64)},
        {"endTimeUnixNano": ABSENT},
        {"kind": "SPAN_KIND_CLIENT"},
        {"kind": "3"},
        {"kind": 6},
        {"kind": True},
        {"kind": 3.0},
        {"status": {"code": "STATUS_CODE_OK"}},
        {"status": {"code": 3}},
        {"status": {"text": "x"}},
        {"status": None},
        {"attributes": {}},
        {"attributes": [{"key": "a"}]},
        {"attributes": [{"key": "", "value": {}}]},
        {"attributes": [{"key": "a", "value": {}}, {"key": "a", "value": {}}]},
        {"events": [{"name": "no time"}]},
        {"links": [{"traceId": TRACE_ID}]},
        {"flags": -1},
        {"start_time_unix_nano": "1"},
        {"surprise": 1},
    ],
    ids=lambda changes: re.sub("<object.*?>", "absent", ascii(changes))[:60],
)
def test_a_json_span_that_some_backend_would_refuse_is_refused(changes):
    with pytest.raises(DecodeError):
        decode_json(json.dumps(request_with(**changes)).encode())


@pytest.mark.parametrize(
    "value",
    [
        None,
        "bare",
        {"stringValue": None},
        {"stringValue": 1},
        {"intValue": 1},
        {"intValue": "1.0"},
        {"intValue": str(2**63)},
        {"boolValue": "true"},
        {"doubleValue": "0.5"},
        {"doubleValue": True},
        {"doubleValue": 10**400},
        {"doubleValue": float("nan")},
        {"bytesValue": "?"},
        {"arrayValue": []},
        {"arrayValue": {"values": [None]}},
        {"kvlistValue": {"values": [{"key": "k"}]}},
        {"stringValue": "a", "boolValue": True},
        {"dateValue": "x"},
    ],
)
def test_a_json_value_of_the_wrong_form_is_refused(value):
    with pytest.raises(DecodeError):
        decode_json(attribute(value))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b'{"resourceSpans":null}',
        b'{"resourceSpans":[null]}',
        b'{"resource_spans":[]}',
        b'{"resourceSpans":[],"resourceSpans":[]}',
        b"[" * 100_000,
        b'{"a":' + b"1" * 5000 + b"}",
        b"{} {}",
        "{}".encode("utf-16"),
    ],
    ids=lambda body: ascii(body)[:40],
)
def test_a_body_that_is_no_json_request_is_refused(body):
    with pytest.raises(DecodeError):
        decode_json(body)


def test_a_value_nested_beyond_reason_is_refused():
    value: dict = {"stringValue": "core"}
    for _ in range(40):
        value = {"arrayValue": {"values": [value]}}
    with pytest.raises(DecodeError, match="nested too deeply"):
        decode_json(attribute(value))


def test_a_fault_is_named_with_its_path():
    with pytest.raises(DecodeError, match=r"resourceSpans\[0\]\.scopeSpans\[0\]\.spans\[0\]\.kind: an integer"):
        decode_json(json.dumps(request_with(kind="3")).encode())


def test_an_empty_request_holds_no_spans():
    assert decode_json(b"{}") == []
    assert decode_protobuf(b"") == []


def test_a_protobuf_span_reads_like_its_json_twin():
    request, span = proto_request()
    span.parent_span_id, span.kind = bytes.fromhex("00f067aa0ba902b7"), 3
    span.start_time_unix_nano, span.end_time_unix_nano = 1_000_000_000, 2_500_000_000
    span.status.code, span.status.message = 2, "no"
    span.events.add(name="first", time_unix_nano=7)
    group = request.resource_spans[0]
    group.scope_spans[0].scope.name, group.scope_spans[0].scope.version = "scope", "1"
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    value = {name: span.attributes.add(key=name).value for name in VALUES}
    value["text"].string_value, value["yes"].bool_value, value["count"].int_value = "größe", True, -(2**63)
    value["cost"].double_value, value["whole"].double_value, value["bytes"].bytes_value = 0.25, 2.0, b"\x00\x01"
    value["list"].array_value.values.add().string_value = "a"
    value["list"].array_value.values.add().int_value = 1
    value["map"].kvlist_value.values.add(key="k").value.bool_value = False
    assert decode_protobuf(request.SerializeToString()) == decode_json(json.dumps(request_with()).encode())


@pytest.mark.parametrize(
    ("field", "value"),
    [("trace_id", b""), ("trace_id", bytes(16)), ("span_id", b"123"), ("parent_span_id", bytes(8)), ("kind", 9)],
)
def test_a_protobuf_span_that_some_backend_would_refuse_is_refused(field, value):
    request, span = proto_request()
    setattr(span, field, value)
    with pytest.raises(DecodeError):
        decode_protobuf(request.SerializeToString())


def test_a_protobuf_attribute_given_twice_is_refused():
    request, span = proto_request()
    span.attributes.add(key="a")
    span.attributes.add(key="a")
    with pytest.raises(DecodeError, match="given twice"):
        decode_protobuf(request.SerializeToString())


def decodes_or_refuses(decode, body):
    # Any other exception fails the test by itself.
    with contextlib.suppress(DecodeError):
        assert isinstance(decode(body), list)


@given(st.binary())
def test_any_bytes_decode_or_are_refused(body):
    decodes_or_refuses(decode_json, body)
    decodes_or_refuses(decode_protobuf, body)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*SPAN, "values", "key", "value"]), inner),
)


@given(st.sampled_from([*SPAN, "flags"]), ANY_JSON)
def test_any_json_in_a_span_decodes_or_is_refused(key, value):
    decodes_or_refuses(decode_json, json.dumps(request_with(**{key: value})).encode())


@given(st.sampled_from(["stringValue", "intValue", "doubleValue", "bytesValue", "arrayValue", "kvlistValue"]), ANY_JSON)
def test_any_json_in_a_value_decodes_or_is_refused(key, value):
    decodes_or_refuses(decode_json, attribute({key: value}))


@given(st.data())
def test_a_damaged_protobuf_request_decodes_or_is_refused(data):
    request, span = proto_request()
    span.attributes.add(key="a").value.array_value.values.add().string_value = "text"
    body = bytearray(request.SerializeToString())
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    decodes_or_refuses(decode_protobuf, bytes(body[: data.draw(st.integers(0, len(body)))]))
