"""A body that would take a hundred times its bytes once it is parsed is refused before."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from llm_otel_broadcast.receiver import DecodeError, decode_json, decode_protobuf
from llm_otel_broadcast.receiver.amplification import MAX_PROTOBUF_FIELDS, has_too_many_fields

EMPTY = 3_000_000


def field(number, content):
    length, octets = len(content), bytearray([number << 3 | 2])
    while length > 0x7F:
        octets.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*octets, length]) + content


@pytest.mark.parametrize("piece", [b"[]", b"{}"])
def test_a_json_body_of_nothing_but_brackets_is_refused_unread(piece):
    body = b'{"resourceSpans":[' + (piece + b",") * EMPTY + piece + b"]}"
    with pytest.raises(DecodeError, match="objects and arrays"):
        decode_json(body)


@pytest.mark.parametrize(
    "body",
    [
        b"\x0a\x00" * EMPTY,
        b"\x08\x00" * EMPTY,
        field(1, b"\x12\x00" * EMPTY),
        field(1, field(2, b"\x12\x00" * EMPTY)),
        field(1, field(2, b"\x12\x00")) * (EMPTY // 6),
    ],
    ids=["groups", "integers", "scopes", "spans", "spans with groups of their own"],
)
def test_a_protobuf_body_of_nothing_but_empty_messages_is_refused_unread(body):
    """16 MiB of empty spans took 1.4 GB."""
    with pytest.raises(DecodeError, match="groups and spans"):
        decode_protobuf(body)


def test_a_large_request_of_real_spans_is_read():
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number in range(1, 20_001):
        spans.add(trace_id=b"1" * 16, span_id=number.to_bytes(8, "big"), name="x" * 100)
    assert len(decode_protobuf(request.SerializeToString())) == 20_000
    assert MAX_PROTOBUF_FIELDS > 20_000


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=60))
def test_whatever_comes_is_counted(body):
    assert has_too_many_fields(body) is False
