"""What counts as an answer of OTLP, and what is read from any other, in bounded time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast.wire.answers import is_otlp, is_page, text_of

PAGE = b"<!DOCTYPE html><html><title>Please log in</title></html>"
PAGES = [
    PAGE,
    b"\xef\xbb\xbf" + PAGE,
    b"<!-- of the proxy -->\n<!-- twice -->" + PAGE,
    b'<?xml version="1.0" encoding="utf-8"?>\n' + PAGE,
    b'<?xml version="1.0"?><!-- and --> ' + PAGE,
    b"<head><title>Please log in</title></head>",
    b" \r\n<HTML lang=en><TITLE>Please log in</TITLE>",
    b"<!-- " + b"x" * 10_000 + b" -->" + PAGE,
]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("content_type", ["text/html", "application/json", "application/x-protobuf", ""])
def test_a_web_page_is_no_answer_however_it_begins(page, content_type):
    assert is_page(page)
    assert not is_otlp(page, content_type, whole=True)
    assert not is_otlp(page, content_type, whole=False)
    assert text_of(page, content_type, page=True) in ("Please log in", "")


@pytest.mark.parametrize(
    "text", [b"Please log in first", b"Access denied", b'"Please log in"', b"a,b,c", b"{", b"<ok/>"]
)
def test_text_of_a_portal_is_no_answer(text):
    assert not is_otlp(text, "text/plain", whole=True)


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"", "application/json"),
        (b" \n", "text/plain"),
        (b"", "text/html"),
        (b"{}", "application/json"),
        (b"{}", "text/plain"),
        (b'{"partialSuccess":null}', ""),
        (b'{"spans_written":1}', "application/json"),
        (b"null", "application/json"),
        (b"ok", "text/plain"),
        (b'"OK"\n', "application/json"),
        (b"Accepted.", "text/plain"),
        (b"\x0a\x03\x12\x01x", "application/x-protobuf"),
        (b"\x0a\x03\x12\x01\xff", "application/octet-stream"),
    ],
)
def test_what_real_receivers_answer_is_an_answer(content, content_type):
    assert is_otlp(content, content_type, whole=True)


def test_of_an_answer_that_was_cut_off_the_beginning_decides():
    assert is_otlp(b'{"partialSucc', "application/json", whole=False)
    assert not is_otlp(b"Please log", "text/plain", whole=False)


@pytest.mark.parametrize(
    "content",
    [
        b"<html>" + b"<title>" * 9_300,
        b"<html>" + b"<title" * 10_000,
        b"<!--" * 16_000,
        b"<html><title>" + b"</titl" * 10_000,
        b"[" * 65_536,
        b'{"error":' * 7_000,
        b" " * 65_536,
        b"<?" * 32_000,
    ],
)
def test_no_answer_holds_up_the_process(content):
    """A regular expression over it would keep the GIL for seconds."""
    started = time.perf_counter()
    page = is_page(content)
    is_otlp(content, "text/html", whole=True)
    assert isinstance(text_of(content, "text/html", page=page), str)
    assert time.perf_counter() - started < 0.5


@given(
    st.binary(max_size=80),
    st.sampled_from(["application/json", "application/x-protobuf", "text/html", ""]),
    st.booleans(),
)
def test_no_answer_makes_judging_it_fail(content, content_type, whole):
    assert is_otlp(content, content_type, whole=whole) in (True, False)
    assert isinstance(text_of(content, content_type, page=is_page(content)), str)
