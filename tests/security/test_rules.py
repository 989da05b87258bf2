"""A regular expression of a rule meets texts of strangers: a prompt, an answer. It takes bounded time, and means one thing."""

from __future__ import annotations

import sys
import time

import pytest
import regex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_otel_broadcast.delivery import regex_search
from llm_otel_broadcast.delivery.regex_search import Searches

ALIKE = (
    "a",
    "b",
    ".",
    "^",
    "(a|b)",
    "(?:ab)",
    "a*",
    "b+?",
    "[^a]",
    "[a-b]",
    "a{1,2}",
    "|",
    r"\.",
    "$",
    "é",
    r"\$",
    r"\\",
)
APART = (r"\d", "{,2}", "(?=a)", "[[:alpha:]]", "(?i)", "a++", "{2")
PIECES = st.sampled_from((*ALIKE, *APART))


@pytest.fixture(autouse=True)
def anew(monkeypatch):
    regex_search._search_for.cache_clear()
    yield
    regex_search._search_for.cache_clear()


@pytest.fixture
def without_re2(monkeypatch):
    monkeypatch.setitem(sys.modules, "re2", None)


def test_without_re2_a_search_that_never_ends_is_stopped(without_re2):
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        Searches().finds("^(a|aa)+$", "a" * 60 + "!")
    assert time.monotonic() - began < 10 * regex_search.SEARCH_TIMEOUT_S


def test_all_searches_for_one_generation_share_a_time(without_re2):
    """A server can state a thousand finish reasons."""
    searches = Searches()
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(TimeoutError):
            searches.finds("^(a|aa)+$", "a" * 60 + "!")
    assert time.monotonic() - began < 10 * regex_search._GENERATION_TIMEOUT_S


def test_with_re2_the_same_search_is_decided():
    pytest.importorskip("re2")
    for expression in ("^(a|aa)+$", "(a+)+b", "(.*)*(.*)*(.*)*z"):
        assert Searches().finds(expression, "a" * 100_000 + "!") is False


@pytest.mark.parametrize(
    "expression",
    [r"\d", r"\bx", "(?i)x", "(?=x)", "x$y", "($)", "x{,2}", "[[:alpha:]]", "x++", r"x\$$$", r"\p{L}", "x\\"],
)
def test_what_re2_would_read_differently_is_not_left_to_it(expression):
    assert regex_search._linear_search(expression) is None


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(PIECES, min_size=1, max_size=6).map("".join), st.text("abé.$\\\n", max_size=8))
def test_an_expression_means_the_same_with_re2_and_without(expression, text):
    pytest.importorskip("re2")
    try:
        expected = regex.search(expression, text) is not None
    except regex.error:
        return
    search = regex_search._linear_search(expression)
    assert search is None or search(text) is expected


def test_a_text_that_utf8_cannot_carry_is_searched_all_the_same():
    assert Searches().finds("a.b$", "a\ud800b")
