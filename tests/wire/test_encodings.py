"""Both encodings say what the span says, in the form that the strictest readers take."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from enum import IntEnum

import pytest
from hypothesis import given
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource

from llm_otel_broadcast.fields.metadata import metadata_attributes
from llm_otel_broadcast.receiver.decoding import decode_json, decode_protobuf
from llm_otel_broadcast.record.span_data import STATUS_UNSET, Scope
from llm_otel_broadcast.wire import otlp_json, otlp_protobuf
from llm_otel_broadcast.wire.sdk_span import to_readable
from tests.support.any_spans import ATTRIBUTES, SPANS, span

SCOPE = Scope("1.2.3")
RESOURCE = {"service.name": "shop"}


def as_json(made, resource=RESOURCE):
    return otlp_json.encode(resource, SCOPE, [made])


def as_protobuf(made, resource=RESOURCE):
    return otlp_protobuf.encode(resource, SCOPE, [made])


def written(made):
    return json.loads(as_json(made))["resourceSpans"][0]["scopeSpans"][0]["spans"][0]


def plain(attributes):
    return {key: list(value) if isinstance(value, list | tuple) else value for key, value in attributes.items()}


def same(made, read):
    assert (read.name, read.kind, read.start_ns, read.end_ns) == (made.name, made.kind, made.start_ns, made.end_ns)
    assert (int(read.trace_id, 16), int(read.span_id, 16)) == (made.trace_id, made.span_id)
    assert int(read.parent_span_id or "0", 16) == made.parent_span_id
    assert plain(read.attributes) == plain(made.attributes)
    assert (read.status_code, read.status_message) == (made.status_code, made.status_message)
    assert [(event.name, event.time_ns, plain(event.attributes)) for event in read.events] == [
        (event.name, event.time_ns, plain(event.attributes)) for event in made.events
    ]
    assert (read.scope_name, read.scope_version) == ("llm_otel_broadcast", "1.2.3")


@given(SPANS, ATTRIBUTES)
def test_any_span_survives_json(made, resource):
    (read,) = decode_json(as_json(made, resource))
    same(made, read)
    assert plain(read.resource) == plain(resource)


@given(SPANS)
def test_any_span_survives_protobuf(made):
    (read,) = decode_protobuf(as_protobuf(made))
    same(made, read)


@pytest.mark.parametrize(("encode", "decode"), [(as_json, decode_json), (as_protobuf, decode_protobuf)])
def test_status_and_events_survive(encode, decode):
    (read,) = decode(encode(span()))
    same(span(), read)


def test_spans_of_one_scope_that_follow_different_conventions_are_told_apart():
    spans = [
        span(),
        replace(span(), schema_url="https://example.com/1"),
        replace(span(), schema_url="https://example.com/1"),
    ]
    document = json.loads(otlp_json.encode(RESOURCE, SCOPE, spans))
    scopes = document["resourceSpans"][0]["scopeSpans"]
    assert [(scope.get("schemaUrl"), len(scope["spans"])) for scope in scopes] == [
        (None, 1),
        ("https://example.com/1", 2),
    ]


def test_both_encodings_say_which_conventions_a_span_follows():
    made = replace(span(), schema_url="https://example.com/1")
    request = ExportTraceServiceRequest.FromString(as_protobuf(made))
    assert request.resource_spans[0].scope_spans[0].schema_url == "https://example.com/1"
    assert len(decode_json(as_json(made))) == 1


def test_ids_are_lower_case_hex_of_full_length():
    document = written(span())
    assert document["traceId"] == "000000000000000000000000000000ab"
    assert document["spanId"] == "00000000000000cd"
    assert document["parentSpanId"] == "00000000000000ef"


def test_numbers_of_64_bits_are_strings_and_enums_integers():
    document = written(span())
    values = {pair["key"]: pair["value"] for pair in document["attributes"]}
    assert values["count"] == {"intValue": "412"}
    assert values["share"] == {"doubleValue": 0.5}
    assert document["startTimeUnixNano"] == "1700000000000000001"
    assert document["kind"] == 3
    assert document["status"]["code"] == 2


def test_nothing_is_null_or_empty_when_it_is_absent():
    document = written(span(parent_span_id=0, events=(), status_code=STATUS_UNSET, status_message=""))
    assert {"parentSpanId", "events", "status"}.isdisjoint(document)
    assert b"null" not in as_json(span())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (2**64, str(2**64)),
    ],
)
def test_what_json_numbers_cannot_say_becomes_text(value, text):
    (read,) = decode_json(as_json(span(attributes={"odd": value})))
    assert read.attributes == {"odd": text}


class Level(IntEnum):
    HIGH = 3


@pytest.mark.timeout(20)
@pytest.mark.parametrize("value", [Level.HIGH, True, 2**63 - 1, -(2**63)])
def test_an_integer_of_a_class_of_its_own_is_one_everywhere(value):
    """Looked for in a `range`, an `IntEnum` is compared with each of its numbers: that took for ever."""
    own = span(attributes={"level": value})
    (in_json,), (in_protobuf,) = decode_json(as_json(own)), decode_protobuf(as_protobuf(own))
    assert in_json.attributes == in_protobuf.attributes == {"level": value}
    assert to_readable(own, Resource({}), SCOPE).attributes == {"level": value}
    assert metadata_attributes({"level": value}) == {"trace.metadata.level": value}


@pytest.mark.parametrize(("encode", "decode"), [(as_json, decode_json), (as_protobuf, decode_protobuf)])
def test_lone_surrogates_do_not_spoil_the_batch(encode, decode):
    (read,) = decode(encode(span(name="a\ud800b", attributes={"k\udfff": "v\ud83d"}, status_message="m\ud800")))
    assert read.name == "a?b"
    assert read.attributes == {"k?": "v?"}


def test_names_that_somebody_makes_up_at_length_are_not_held_in_memory():
    otlp_json.encode({}, SCOPE, [span(attributes={f"{number}{'x' * 1_000}": 1}) for number in range(50)])
    tracemalloc.start()
    try:
        otlp_json.encode({}, SCOPE, [span(attributes={f"{number}{'y' * 100_000}": 1}) for number in range(50)])
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


def test_many_spans_share_one_scope():
    body = otlp_json.encode(RESOURCE, SCOPE, [replace(span(), span_id=number) for number in range(1, 6)])
    assert [int(read.span_id, 16) for read in decode_json(body)] == [1, 2, 3, 4, 5]
