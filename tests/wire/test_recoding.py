"""Encoded requests made anew: the same spans in the other encoding, in halves, with less content."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_otel_broadcast.receiver.decoding import decode_json, decode_protobuf
from llm_otel_broadcast.record.span_data import CONTENT_TOO_LARGE, Event, Scope, SpanData
from llm_otel_broadcast.wire import otlp_json
from llm_otel_broadcast.wire.exchange import Body
from llm_otel_broadcast.wire.http import compressed
from llm_otel_broadcast.wire.recoding import UnreadableBodyError, halve, recode, shrink

DECODERS = {"json": decode_json, "protobuf": decode_protobuf}
VALUES = st.one_of(
    st.text(max_size=20),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)


def span(number: int = 1, **attributes: object) -> SpanData:
    return SpanData(
        name=f"chat {number}",
        kind=3,
        trace_id=7,
        span_id=number,
        parent_span_id=9,
        start_ns=1_800_000_000_000_000_000,
        end_ns=1_800_000_001_000_000_000,
        attributes=attributes,
        events=(Event("exception", 1_800_000_000_500_000_000, {"exception.type": "E"}),),
        status_code=2,
        status_message="it failed",
    )


def body(*spans: SpanData, compression: str = "none") -> Body[bytes]:
    content = otlp_json.encode({"service.name": "tests"}, Scope("1"), spans)
    return Body(compressed(content, compression), len(spans), "json", compression)


def spans_of(encoded: Body[bytes]):
    return DECODERS[encoded.encoding](encoded.content)


@settings(max_examples=50, deadline=None)
@given(attributes=st.dictionaries(st.text(min_size=1, max_size=10), VALUES, max_size=6))
def test_the_other_encoding_has_the_very_same_spans_and_back_again(attributes):
    original = body(span(1), SpanData("chat", 3, 7, 2, 0, 1, 2, attributes))
    packed = recode(original, "protobuf")
    assert spans_of(packed) == spans_of(original)
    assert spans_of(recode(packed, "json")) == spans_of(original)


def test_compression_stays():
    packed = recode(body(span(), compression="gzip"), "protobuf")
    assert (packed.compression, packed.content[:2]) == ("gzip", b"\x1f\x8b")


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_halves_have_every_span_once(encoding):
    whole = recode(body(*(span(number) for number in range(1, 6))), encoding)
    first, second = halve(whole)
    assert (first.spans, second.spans) == (2, 3)
    assert [found.name for found in spans_of(first) + spans_of(second)] == [f"chat {number}" for number in range(1, 6)]
    assert first.encoding == second.encoding == encoding


def test_a_single_span_has_no_halves():
    assert halve(body(span())) is None


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_content_is_cut_in_half_and_json_stays_json(encoding):
    messages = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "x" * 20_000}]}])
    smaller = shrink(
        recode(body(span(1, **{"gen_ai.input.messages": messages, "plain": "y" * 20_000, "n": 1})), encoding)
    )
    (cut,) = spans_of(smaller)
    (message,) = json.loads(cut.attributes["gen_ai.input.messages"])
    assert len(message["parts"][0]["content"]) == 10_000
    assert len(cut.attributes["plain"]) == 10_000
    assert cut.attributes["n"] == 1
    assert cut.attributes[CONTENT_TOO_LARGE] == "cut"


def test_content_is_left_out_in_the_end_and_the_rest_stays():
    smaller = body(span(1, text="x" * 40_000, model="gpt-4o"))
    marks = []
    while (next_smaller := shrink(smaller)) is not None:
        smaller = next_smaller
        marks.append(spans_of(smaller)[0].attributes[CONTENT_TOO_LARGE])
    assert marks == ["cut", "cut", "cut", "left_out"]
    assert spans_of(smaller)[0].attributes == {"model": "gpt-4o", CONTENT_TOO_LARGE: "left_out"}


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
@pytest.mark.parametrize("content", [b"\xff\xff", b"[1", b"\x00" * 9, b'{"resourceSpans": 3}'])
def test_what_cannot_be_read_says_so(encoding, content):
    with pytest.raises(UnreadableBodyError):
        recode(Body(content, 2, encoding), "json")


def test_what_unpacks_without_end_is_not_unpacked(monkeypatch):
    monkeypatch.setattr("llm_otel_broadcast.wire.recoding._MAX_UNPACKED_BYTES", 1_000)
    with pytest.raises(UnreadableBodyError):
        recode(Body(compressed(b" " * 2_000, "gzip"), 1, "json", "gzip"), "protobuf")
