"""When to try again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast.wire.retry import delay, parse_retry_after

NOW = 1_445_412_480.0  # Wed, 21 Oct 2015 07:28:00 GMT


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("5", 5.0),
        (" 120 ", 120.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    assert parse_retry_after(header, NOW) == seconds


@given(st.text())
def test_no_header_makes_it_fail(text):
    seconds = parse_retry_after(text, NOW)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("attempt", [0, 1, 2, 3])
def test_waiting_doubles_with_half_of_it_by_chance(attempt):
    assert delay(attempt, None, lambda: 0.0) == 2.0**attempt / 2
    assert delay(attempt, None, lambda: 1.0) == 2.0**attempt


def test_waiting_is_never_longer_than_half_a_minute():
    assert delay(500, None, lambda: 1.0) == 30.0


def test_a_servers_wish_is_followed_up_to_a_minute():
    assert delay(3, 7.0, lambda: 1.0) == 7.0
    assert delay(0, 86_400.0, lambda: 1.0) == 60.0
