"""JSON text by the `json` module or by orjson: whoever reads it finds no difference."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast.fields.json_encoder import Encoder

TEXTS = st.text(st.characters(exclude_categories=()))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda values: st.lists(values) | st.dictionaries(TEXTS, values),
    max_leaves=20,
)


@pytest.fixture(params=["json", "orjson"], scope="module")
def encoder(request):
    made = Encoder()
    if request.param == "orjson":
        pytest.importorskip("orjson")
        assert made.use_compiled()
    return made


@given(VALUES)
def test_any_value_is_written_as_it_is(encoder, value):
    assert json.loads(encoder.encode(value)) == value


@given(TEXTS, st.integers(1, 300))
def test_any_text_is_quoted_as_it_is(encoder, text, times):
    """Short and long ones, half an emoji in them included."""
    assert json.loads(encoder.quote(text * times)) == text * times


def test_what_is_written_is_short_and_in_its_own_letters(encoder):
    assert encoder.encode({"a": ["ü", 1.5, None]}) == '{"a":["ü",1.5,null]}'


def test_a_number_that_json_does_not_have_is_a_mistake():
    with pytest.raises(ValueError, match="JSON"):
        Encoder().encode(float("nan"))


def test_without_orjson_the_json_module_writes(monkeypatch):
    monkeypatch.setitem(sys.modules, "orjson", None)
    made = Encoder()
    assert not made.use_compiled()
    assert made.encode(["ü" * 200]) == json.dumps(["ü" * 200], ensure_ascii=False, separators=(",", ":"))
