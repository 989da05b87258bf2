"""Merging what is said about a call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast.clients.extra_body import read_fields
from llm_otel_broadcast.fields.ids import parse_traceparent
from llm_otel_broadcast.fields.merge import ID_KEYS, TEXT_KEYS, as_text, is_private, merge
from llm_otel_broadcast.record.trace_fields import NO_FIELDS

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(object()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["trace_id", "parent_span_id", "trace_name", "privacy", "traceparent", "user", "team"]) | ODD


def _hashable(value):
    return not isinstance(value, list | dict)


class Unprintable:
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


def test_nothing_said_is_no_fields():
    assert merge(None, None, None, {}) is NO_FIELDS
    assert merge({}, "", "", {}) is NO_FIELDS


def test_user_and_session_alone_are_read():
    fields = merge(None, "s", "u", {})
    assert (fields.session_id, fields.user, dict(fields.metadata)) == ("s", "u", {})


def test_the_call_wins_over_the_defaults_key_by_key():
    fields = merge(
        {"trace_name": "Call", "team": "red"}, None, None, {"trace_name": "Default", "environment": "staging"}
    )
    assert fields.trace_name == "Call"
    assert dict(fields.metadata) == {"team": "red", "environment": "staging"}


def test_a_default_session_and_user_give_way_to_the_calls():
    defaults = {"session_id": "default", "user": "default"}
    assert merge(None, None, None, defaults)[5:7] == ("default", "default")
    assert merge(None, "s", "u", defaults)[5:7] == ("s", "u")


def test_ids_of_two_sources_are_never_mixed():
    fields = merge({"trace_id": "mine"}, None, None, {"parent_span_id": "theirs", "traceparent": TRACEPARENT})
    assert (fields.trace_id, fields.parent_span_id) == ("mine", None)


def test_a_traceparent_gives_both_ids_unless_they_are_given():
    fields = merge({"traceparent": TRACEPARENT}, None, None, {})
    assert (fields.trace_id, fields.parent_span_id) == (TRACEPARENT[3:35], TRACEPARENT[36:52])
    assert merge({"traceparent": TRACEPARENT, "parent_span_id": "p"}, None, None, {}).parent_span_id == "p"


@pytest.mark.parametrize(
    ("value", "private"),
    [(True, True), (False, False), (None, False), ("no", False), ("0", False), (0, False), ("yes", True), (1, True)],
)
def test_privacy_in_doubt_is_privacy(value, private):
    assert is_private(value) is private


def test_a_value_that_cannot_be_read_is_no_error_and_private():
    assert is_private(Unprintable())
    assert merge({"trace_name": Unprintable(), "team": Unprintable()}, None, None, {}).trace_name is None


@given(st.dictionaries(NAMES.filter(_hashable), ODD) | st.none(), ODD, ODD)
def test_no_value_makes_merging_fail(trace, session_id, user):
    fields = merge(trace, session_id, user, {})
    for text in fields[:7]:
        assert text is None or (isinstance(text, str) and text)


@given(st.dictionaries(st.sampled_from(["extra_body", "extra_headers", "user", "trace"]), ODD))
def test_no_arguments_make_reading_them_fail(kwargs):
    said = read_fields(kwargs, {})
    merge(said.trace, said.session_id, said.user, {})


def test_what_the_caller_changes_later_changes_nothing():
    tags = ["first"]
    fields = merge({"tags": tags}, None, None, {})
    tags.append("second")
    assert fields.metadata["tags"] == ["first"]


def _merged_key_by_key(trace, session_id, user, outer):
    """Merge as documented, one look-up a key, whatever that takes."""
    merged = dict(outer)
    if any(as_text((trace or {}).get(key)) for key in ID_KEYS):
        merged = {key: value for key, value in merged.items() if key not in ID_KEYS}
    merged |= {key: value for key, value in (trace or {}).items() if value is not None or key not in RESERVED}
    merged |= {name: value for name, value in (("session_id", session_id), ("user", user)) if as_text(value)}
    texts = {key: as_text(merged.pop(key, None)) for key in TEXT_KEYS}
    private = is_private(outer.get("privacy")) or is_private(merged.pop("privacy", None))
    merged.pop("privacy", None)
    parent = parse_traceparent(as_text(merged.pop("traceparent", None)) or "") or (None, None)
    texts["trace_id"] = texts["trace_id"] or parent[0]
    texts["parent_span_id"] = texts["parent_span_id"] or parent[1]
    return (*(texts[key] for key in TEXT_KEYS), private, {as_text(key) or "": value for key, value in merged.items()})


class Word(str):
    """A text as members of a `str` enum are."""

    __slots__ = ()


RESERVED = (*TEXT_KEYS, "traceparent", "privacy")
WORDS = st.sampled_from(["", "a", Word("b"), Word(""), TRACEPARENT, 7, False, True, None, "no"])
SOURCES = st.dictionaries(st.sampled_from([*RESERVED, *map(Word, RESERVED), "team", "tags", 3]), WORDS, max_size=8)


@given(SOURCES | st.none(), WORDS, WORDS, SOURCES)
def test_one_way_through_the_members_gives_what_looking_each_key_up_does(trace, session_id, user, outer):
    fields = merge(trace, session_id, user, outer)
    assert (*fields[:8], dict(fields.metadata)) == _merged_key_by_key(trace, session_id, user, outer)
    assert list(fields.metadata) == list(_merged_key_by_key(trace, session_id, user, outer)[8])
