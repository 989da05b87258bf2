"""What a caller may say about a call: anything, and it never fails, and can be sent."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast.fields.ids import derive_span_id, derive_trace_id, parse_traceparent
from llm_otel_broadcast.fields.json_text import bounded_json
from llm_otel_broadcast.fields.merge import ID_KEYS, TEXT_KEYS, merge
from llm_otel_broadcast.fields.metadata import MAX_VALUE_CHARACTERS, metadata_attributes
from llm_otel_broadcast.receiver.decoding import decode_json
from llm_otel_broadcast.record.span_data import Scope
from llm_otel_broadcast.wire import otlp_json
from tests.support.any_spans import span
from tests.support.fuzzing import SCALARS, TEXTS, fuzzed, json_values

ODD = st.binary(max_size=8) | st.just(object()) | st.dates() | st.complex_numbers() | st.integers(2**1_100, 2**1_101)
VALUES = json_values((*TEXT_KEYS, *ID_KEYS, "privacy"), SCALARS | ODD)
KEYS = st.sampled_from((*TEXT_KEYS, *ID_KEYS, "privacy")) | TEXTS | st.integers() | st.none() | st.tuples(TEXTS)
FIELDS = st.none() | st.dictionaries(KEYS, VALUES, max_size=6)


@fuzzed
@given(own=FIELDS, session=VALUES, user=VALUES, outer=FIELDS)
def test_any_fields_are_merged_and_can_be_sent(own, session, user, outer):
    fields = merge(own, session, user, outer or {})
    for name in TEXT_KEYS:
        assert getattr(fields, name) is None or type(getattr(fields, name)) is str
    attributes = metadata_attributes({key: value for key, value in fields.metadata.items() if key})
    assert all(len(value) <= MAX_VALUE_CHARACTERS for value in attributes.values() if isinstance(value, str))
    made = span(attributes=attributes, trace_id=derive_trace_id(fields.trace_id or "x"))
    (read,) = decode_json(otlp_json.encode({}, Scope("1"), [made]))
    assert len(read.attributes) == len(attributes)


@fuzzed
@given(text=TEXTS | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"))
def test_any_text_is_an_id(text):
    assert 0 < derive_trace_id(text) < 2**128
    assert 0 < derive_span_id(text) < 2**64
    parsed = parse_traceparent(text)
    assert parsed is None or (derive_trace_id(parsed[0]), derive_span_id(parsed[1])) == tuple(
        int(part, 16) for part in parsed
    )


@fuzzed
@given(value=VALUES, limit=st.integers(120, 2_000))
def test_any_value_is_json_within_its_bound(value, limit):
    text, _ = bounded_json(value, limit)
    json.loads(text)
    assert len(text) <= limit
