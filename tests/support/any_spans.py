"""Spans for the encoders: one by hand, any by hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from llm_otel_broadcast.record.span_data import (
    KIND_CLIENT,
    KIND_INTERNAL,
    STATUS_ERROR,
    STATUS_OK,
    STATUS_UNSET,
    Event,
    SpanData,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
KEYS = TEXT.filter(bool)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(
    TEXT,
    st.booleans(),
    NUMBERS,
    DOUBLES,
    st.lists(TEXT, max_size=3),
    st.lists(NUMBERS, max_size=3),
    st.lists(DOUBLES, max_size=3),
    st.lists(st.booleans(), max_size=3),
)
ATTRIBUTES = st.dictionaries(KEYS, VALUES, max_size=5)
MOMENTS = st.integers(1, 2**63 - 1)
SPANS = st.builds(
    SpanData,
    name=TEXT,
    trace_id=st.integers(1, 2**128 - 1),
    span_id=st.integers(1, 2**64 - 1),
    parent_span_id=st.integers(0, 2**64 - 1),
    kind=st.sampled_from([KIND_CLIENT, KIND_INTERNAL]),
    start_ns=MOMENTS,
    end_ns=MOMENTS,
    attributes=ATTRIBUTES,
    status_code=st.sampled_from([STATUS_UNSET, STATUS_OK]),
    events=st.lists(st.builds(Event, name=TEXT, time_ns=MOMENTS, attributes=ATTRIBUTES), max_size=2).map(tuple),
)


def span(**changed: Any) -> SpanData:
    given: dict[str, Any] = {
        "name": "chat gpt-4o",
        "trace_id": 0xAB,
        "span_id": 0xCD,
        "parent_span_id": 0xEF,
        "kind": KIND_CLIENT,
        "start_ns": 1_700_000_000_000_000_001,
        "end_ns": 1_700_000_000_500_000_002,
        "attributes": {"text": "ü", "flag": True, "count": 412, "share": 0.5, "names": ["a", "b"]},
        "status_code": STATUS_ERROR,
        "status_message": "refused",
        "events": (Event("exception", 1_700_000_000_400_000_000, {"exception.type": "APIError"}),),
    }
    return SpanData(**{**given, **changed})
