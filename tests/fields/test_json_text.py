"""Any value becomes valid JSON text of bounded length."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import openai.types.chat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast.fields.json_text import bounded_json, cut_plain, plain
from llm_otel_broadcast.fields.metadata import attribute_of


@dataclass(frozen=True)
class Holder:
    one: object
    other: object


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


def test_a_cut_text_keeps_both_its_ends():
    text = json.loads(bounded_json("beginning" + "x" * 1000 + "end", 200)[0])
    assert text.startswith("beginning")
    assert "x[truncated]x" in text
    assert text.endswith("end")


def test_a_cut_object_keeps_every_key_with_a_share():
    value = {"a": "x" * 5_000, "b": 1, "c": ["y" * 5_000, "z"], "d": {"e": "f"}}
    kept = json.loads(bounded_json(value, 500)[0])
    assert list(kept) == list(value)
    assert (kept["b"], kept["d"]) == (1, {"e": "f"})
    assert len(kept["a"]) > 150
    assert len(kept["c"][0]) > 100


SHARED = ["x", "y" * 100_000, b"b" * 100, {"k": "v"}]


@pytest.mark.parametrize("part", SHARED, ids=type)
@pytest.mark.parametrize(
    "join",
    [
        lambda value: [value, value],
        lambda value: (value, value),
        lambda value: {"a": value, "b": value},
        lambda value: Holder(value, value),
        lambda value: openai.types.chat.ChatCompletionMessage.model_construct(content=value, extra=value),
        lambda value: {(value, value) if isinstance(value, tuple | str) else "k": value, "b": value},
    ],
    ids=["list", "tuple", "dict", "dataclass", "model", "key"],
)
def test_a_value_with_shared_parts_is_never_written_out_whole(join, part):
    """24 small lists of two stand for 16 million elements: they took minutes and gigabytes."""
    value = part
    for _ in range(24):
        value = join(value)
    begun = time.process_time()
    for made, limit in ((bounded_json(value, 16_384)[0], 16_384), (bounded_json({"k": value})[0], 1_000_000)):
        json.loads(made)
        assert len(made) <= limit
    made = attribute_of(value)
    assert len(made) <= 16_384
    assert time.process_time() - begun < 5


def test_a_huge_object_is_not_asked_for_its_whole_repr():
    """The `repr` of a list is made in one go, in which no other thread runs."""
    asked = []

    class Odd:
        __slots__ = ("held",)

        def __repr__(self):
            asked.append(1)
            return repr(self.held)

    odd = Odd()
    odd.held = list(range(1_000_000))
    assert plain(odd) == "<Odd>"
    odd.held = [1]
    assert plain(odd) == "[1]"
    assert asked == [1]


@pytest.mark.parametrize("text", ["\n" * 5_000, "\x00" * 5_000, "\\" * 5_000, "é" * 5_000, "\ud800" * 5_000])
def test_text_full_of_escapes_keeps_the_bound_too(text):
    assert len(bounded_json(text, 1_000)[0]) <= 1_000


def test_a_large_text_inside_is_cut_where_it_stands():
    messages = [{"role": "user", "content": "x" * 10_000}, {"role": "user", "content": "last"}]
    kept = json.loads(bounded_json(messages, 1_000)[0])
    assert kept[0]["role"] == "user"
    assert kept[0]["content"].strip("x") == "[truncated]"
    assert kept[1] == messages[1]


TEXTS = st.text(max_size=2_000)
PARTS = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "content": TEXTS}),
    st.fixed_dictionaries({"type": st.just("reasoning"), "content": TEXTS}),
    st.fixed_dictionaries(
        {"type": st.just("tool_call"), "id": TEXTS, "name": TEXTS, "arguments": st.dictionaries(TEXTS, TEXTS)}
    ),
    st.fixed_dictionaries({"type": st.just("blob"), "modality": st.just("image"), "content": TEXTS}),
)
ANSWERS = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant", "tool"]),
            "parts": st.lists(PARTS, max_size=40),
            "finish_reason": st.sampled_from(["stop", "length"]),
        },
        optional={"name": TEXTS},
    ),
    min_size=1,
    max_size=30,
)
TOOLS = st.lists(
    st.fixed_dictionaries(
        {"type": st.just("function"), "name": st.text(min_size=1, max_size=80)},
        optional={"description": TEXTS, "parameters": st.dictionaries(TEXTS, TEXTS)},
    ),
    min_size=1,
    max_size=60,
)


def required(values, *names):
    """Return whether each value has these members as text: a reader of the conventions drops all values for one that has not."""
    return all(isinstance(value.get(name), str) for value in values for name in names)


@given(ANSWERS, st.integers(min_value=256, max_value=5_000))
def test_messages_that_are_cut_are_still_messages_of_typed_parts(messages, limit):
    shortened, _ = cut_plain(messages, limit)
    assert len(json.dumps(shortened, ensure_ascii=False, separators=(",", ":"))) <= limit
    assert required(shortened, "role", "finish_reason")
    assert all(isinstance(message["parts"], list) and required(message["parts"], "type") for message in shortened)


@given(TOOLS, st.integers(min_value=256, max_value=5_000))
def test_tools_that_are_cut_still_have_a_type_and_a_name(tools, limit):
    shortened, _ = cut_plain(tools, limit)
    assert len(json.dumps(shortened, ensure_ascii=False, separators=(",", ":"))) <= limit
    assert required(shortened, "type", "name")


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
