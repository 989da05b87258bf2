"""Any value becomes valid JSON text of bounded length."""

from __future__ import annotations

import json

import openai.types.chat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast.fields.json_text import bounded_json, plain

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(object()) | st.dates(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.booleans(), inner) | st.frozensets(st.text())
    ),
    max_leaves=30,
)


@given(anything)
def test_any_value_becomes_valid_json(value):
    text, cut = bounded_json(value)
    json.loads(text)
    assert not cut


@given(anything, st.integers(min_value=120, max_value=600))
def test_a_bound_is_kept_and_the_rest_still_json(value, limit):
    text, cut = bounded_json([value] * 20, limit)
    json.loads(text)
    assert len(text) <= limit
    assert cut == (len(bounded_json([value] * 20)[0]) > limit)


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(), st.lists))
def test_json_itself_is_unchanged(value):
    assert json.loads(bounded_json(value)[0]) == value


def test_a_cut_list_says_how_much_is_left_out():
    items = json.loads(bounded_json(list(range(1000)), 200)[0])
    assert items[-1] == {"truncated": {"omitted_items": 1000 - (len(items) - 1)}}


def test_a_cut_object_says_how_much_is_left_out():
    members = json.loads(bounded_json({f"key {n}": n for n in range(1000)}, 200)[0])
    assert members["truncated"] == {"omitted_keys": 1000 - (len(members) - 1)}


def test_a_cut_text_keeps_its_beginning():
    text = json.loads(bounded_json("beginning" + "x" * 1000, 200)[0])
    assert text.startswith("beginning")
    assert text.endswith("[truncated]")


@pytest.mark.parametrize("text", ["\n" * 5_000, "\x00" * 5_000, "\\" * 5_000, "é" * 5_000, "\ud800" * 5_000])
def test_text_full_of_escapes_keeps_the_bound_too(text):
    assert len(bounded_json(text, 1_000)[0]) <= 1_000


def test_a_large_text_inside_is_cut_where_it_stands():
    messages = [{"role": "user", "content": "x" * 10_000}, {"role": "user", "content": "last"}]
    kept = json.loads(bounded_json(messages, 1_000)[0])
    assert kept[0]["role"] == "user"
    assert kept[0]["content"].endswith("[truncated]")
    assert kept[1] == {"truncated": {"omitted_items": 1}}


def test_a_cycle_becomes_a_marker():
    items: list[object] = [1]
    items.append(items)
    assert plain(items) == [1, "<cycle>"]


def test_a_value_that_only_occurs_twice_is_no_cycle():
    twice = {"a": 1}
    assert plain([twice, twice]) == [twice, twice]


def test_deep_nesting_becomes_a_marker():
    deep: list[object] = []
    for _ in range(5_000):
        deep = [deep]
    assert "nested too deep" in bounded_json(deep)[0]


def test_the_clients_own_objects_become_their_members():
    message = openai.types.chat.ChatCompletionMessage(role="assistant", content="Hi.")
    assert plain(message) == {"role": "assistant", "content": "Hi."}


def test_numbers_that_json_cannot_carry_become_text():
    assert plain([float("nan"), float("-inf"), 10**400]) == ["nan", "-inf", "<huge number>"]
