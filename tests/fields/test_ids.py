"""Ids: verbatim where they are ids, hashed the way OpenRouter hashes where they are not."""

from __future__ import annotations

import random
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast.fields import ids

HEX32 = "0123456789abcdef0123456789ABCDEF"


@pytest.mark.parametrize("text", [HEX32, HEX32.lower(), "01234567-89ab-cdef-0123-456789abcdef"])
def test_a_trace_id_or_uuid_is_taken_verbatim(text):
    assert f"{ids.derive_trace_id(text):032x}" == HEX32.lower()


@pytest.mark.parametrize("text", ["app_trace_001", "", "0" * 32, HEX32[:31], HEX32 + "0", HEX32[:31] + "g", "ü"])
def test_any_other_text_is_hashed(text):
    assert f"{ids.derive_trace_id(text):032x}" == sha256(text.encode()).hexdigest()[:32]


def test_a_span_id_is_taken_verbatim_or_hashed():
    assert f"{ids.derive_span_id('00F067AA0BA902B7'):016x}" == "00f067aa0ba902b7"
    assert f"{ids.derive_span_id('parent'):016x}" == sha256(b"parent").hexdigest()[:16]
    assert f"{ids.derive_span_id('0' * 16):016x}" == sha256(b"0" * 16).hexdigest()[:16]


def test_a_root_has_the_same_id_in_every_process():
    trace_id = ids.derive_trace_id(HEX32)
    expected = sha256(f"{HEX32.lower()}/Chat Handler".encode()).hexdigest()[:16]
    assert f"{ids.root_span_id(trace_id, 'Chat Handler'):016x}" == expected


@given(st.text(st.characters()))
def test_no_text_makes_an_invalid_id(text):
    assert 0 < ids.derive_trace_id(text) < 2**128
    assert 0 < ids.derive_span_id(text) < 2**64


def test_the_hosts_seed_does_not_make_ids_repeat():
    random.seed(1)
    first = ids.new_trace_id(), ids.new_span_id()
    random.seed(1)
    assert (ids.new_trace_id(), ids.new_span_id()) != first


def test_a_traceparent_is_read():
    text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert ids.parse_traceparent(text) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00-0-0-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
    ],
)
def test_what_is_no_traceparent_is_nothing(text):
    assert ids.parse_traceparent(text) is None


@given(st.text())
def test_no_text_makes_reading_a_traceparent_fail(text):
    parsed = ids.parse_traceparent(text)
    assert parsed is None or (len(parsed[0]), len(parsed[1])) == (32, 16)
