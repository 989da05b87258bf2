"""When to try again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast.wire.retry import asked_pause, delay, parse_retry_after

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


def test_a_servers_wish_is_followed_up_to_an_hour():
    assert delay(3, 7.0, lambda: 1.0) == 7.0
    assert delay(0, 600.0, lambda: 1.0) == 600.0
    assert delay(0, 86_400.0, lambda: 1.0) == 3600.0


@pytest.mark.parametrize("retry_after", [0.0, 0.4])
def test_a_wish_for_no_pause_is_no_invitation_to_ask_without_one(retry_after):
    assert delay(3, retry_after, lambda: 0.0) == 4.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "0"}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:27:00 GMT"}, None),
        ({"Retry-After": "60"}, 60.0),
        ({"Retry-After": "9" * 30}, 3600.0),
        ({"Retry-After": "Fri, 21 Oct 2050 07:28:00 GMT"}, 3600.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:29:30 GMT"}, 90.0),
        ({"Retry-After": "Wed, 21 Oct 2015 09:29:30 GMT", "Date": "Wed, 21 Oct 2015 09:28:00 GMT"}, 90.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:29:30 GMT", "Date": "today"}, 90.0),
    ],
)
def test_what_an_answer_asks_for_is_a_second_to_an_hour_by_the_servers_clock(headers, seconds):
    assert asked_pause(headers.get("Retry-After"), headers.get("Date"), NOW) == seconds
