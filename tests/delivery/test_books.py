"""The books of a destination balance at every look, whatever it does."""

from __future__ import annotations

import pytest

from llm_otel_broadcast.delivery import sender
from llm_otel_broadcast.receiver import Reply
from tests.support import broken_backends
from tests.support.books import always_balanced, assert_balanced
from tests.support.broken_backends import backend, refusing
from tests.support.lanes import flushed, record, running

_RECORDS = 20
_CONDUCTS = [
    broken_backends.answers,
    broken_backends.answers_once,
    broken_backends.answers_twice,
    broken_backends.resets_in_the_answer,
    broken_backends.resets_before_the_answer,
    broken_backends.breaks_off_in_the_body,
    broken_backends.breaks_off_in_the_status_line,
    broken_backends.breaks_off_in_a_chunk,
    broken_backends.lies_about_its_packing,
    broken_backends.thinks_aloud,
    broken_backends.hangs,
    broken_backends.drips_headers,
    broken_backends.drips_body,
]


def put_and_flush(lane, timeout=0.3):
    """Record one by one, so that batches of all sizes go out; what is too large and what cannot be rendered is among it."""
    with always_balanced(lane.status):
        for number in range(_RECORDS):
            lane.enqueue(record(size=90_000 if number % 7 == 3 else None))
            if number % 3 == 0:
                flushed(lane, 0.02)
        flushed(lane, timeout)
    return lane.status()


@pytest.mark.parametrize("conduct", _CONDUCTS, ids=lambda conduct: conduct.__name__)
def test_they_balance_whatever_a_backend_does_on_the_socket(conduct, monkeypatch):
    monkeypatch.setattr(sender, "_MAX_RETRY_S", 0.1)
    with backend(conduct) as seen, running(seen.endpoint, max_bytes=40_000, timeout=0.05) as lane:
        books = put_and_flush(lane)
        assert books.produced == _RECORDS
    assert_balanced(lane.status())
    assert lane.status().queued_records == 0


@pytest.mark.parametrize("status", [200, 301, 400, 401, 404, 408, 413, 415, 429, 500, 503])
def test_they_balance_whatever_status_it_answers(receiver, status, monkeypatch):
    monkeypatch.setattr(sender, "_MAX_RETRY_S", 0.1)
    body = b'{"partialSuccess":{"rejectedSpans":"1","errorMessage":"no"}}' if status == 200 else b"no"
    receiver.script(*[Reply(status, body=body), Reply(200)] * 200)
    with running(receiver.endpoint, max_bytes=40_000) as lane:
        put_and_flush(lane, 5.0)
    assert_balanced(lane.status())


def test_they_balance_where_nobody_listens_and_the_lane_is_stopped():
    with running(refusing(), max_bytes=40_000) as lane:
        put_and_flush(lane)
    books = lane.status()
    assert_balanced(books)
    assert (books.delivered, books.queued_records, sum(books.dropped.values())) == (0, 0, _RECORDS)
    lane.enqueue(record())
    assert_balanced(lane.status())


def test_the_checker_finds_a_record_that_is_nowhere(receiver):
    with running(receiver.endpoint) as lane:
        lane.enqueue(record())
        assert flushed(lane)
        lane._books.delivered -= 1
        with pytest.raises(AssertionError, match="1 record"):
            assert_balanced(lane.status())
        lane._books.delivered += 1
