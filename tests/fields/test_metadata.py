"""The caller's own keys of `trace` become attributes, whatever they hold."""

from __future__ import annotations

import enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast.fields.metadata import MAX_KEYS, MAX_VALUE_CHARACTERS, metadata_attributes


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize("value", ["text", "", True, False, 5, -1, 0.5, 2**63 - 1])
def test_plain_values_stay_as_they_are(value):
    (made,) = metadata_attributes({"key": value}).values()
    assert made == value
    assert type(made) is type(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, None]}, '{"a":[1,null]}'),
        (["x", 1], '["x",1]'),
        (("x",), '["x"]'),
        ([], "[]"),
        (2**63, str(2**63)),
        (float("nan"), "nan"),
        (Colour.RED, "red"),
        (b"\xff", "b'\\xff'"),
        (1j, "1j"),
    ],
)
def test_everything_else_becomes_text(value, expected):
    assert metadata_attributes({"key": value}) == {"trace.metadata.key": expected}


def test_none_is_left_out():
    assert metadata_attributes({"key": None}) == {}


def test_a_megabyte_is_cut():
    attributes = metadata_attributes({"text": "x" * 1_000_000, "list": ["x" * 1_000_000]})
    assert [len(value) <= MAX_VALUE_CHARACTERS for value in attributes.values()] == [True, True]


def test_what_cannot_be_serialised_is_shown_cut():
    class Long:
        def __repr__(self) -> str:
            return "y" * 1_000

    assert metadata_attributes({"key": Long()}) == {"trace.metadata.key": "y" * 256}


def test_too_many_keys_are_counted():
    attributes = metadata_attributes({str(number): number for number in range(MAX_KEYS + 10)})
    assert len(attributes) == MAX_KEYS + 1
    assert attributes["trace.metadata_omitted"] == 10


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.none()))))
def test_every_value_is_one_that_a_span_can_carry(metadata):
    for value in metadata_attributes(metadata).values():
        assert type(value) in (str, bool, int, float)
        assert not isinstance(value, int) or -(2**63) <= value < 2**63
