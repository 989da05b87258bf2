"""What is tried again, when, and what is final."""

from __future__ import annotations

import threading
import time
from email.utils import formatdate

import pytest

from llm_otel_broadcast.delivery import sender
from llm_otel_broadcast.receiver import OtlpReceiver, Reply
from llm_otel_broadcast.wire import retry
from llm_otel_broadcast.wire.exchange import Answer, Body
from tests.support import broken_backends
from tests.support.books import balanced
from tests.support.broken_backends import backend
from tests.support.deadlines import until
from tests.support.lanes import flushed, record, running


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_backend_gets_the_same_request_again(receiver, status):
    receiver.script(Reply(status), Reply(status))
    with running(receiver.endpoint) as lane:
        lane.enqueue(record())
        assert flushed(lane)
        books = lane.status()
    assert (books.delivered, books.retried, books.dropped) == (1, 2, {})
    assert str(status) in books.last_error
    assert len({request.body for request in receiver.requests}) == 1
    assert len(receiver.requests) == 3
    assert balanced(books)


@pytest.mark.parametrize("status", [400, 401, 404, 409, 500, 501])
def test_a_refusal_is_final_and_says_why(receiver, status):
    receiver.script(Reply(status, body=b"because"))
    with running(receiver.endpoint) as lane:
        lane.enqueue(record())
        flushed(lane)
        books = lane.status()
    assert (books.delivered, books.retried, books.dropped) == (0, 0, {"refused": 1})
    assert f"answered {status}" in books.last_error
    assert "because" in books.last_error
    assert len(receiver.requests) == 1
    assert balanced(books)


def test_a_backend_that_comes_up_later_gets_what_waited():
    receiver = OtlpReceiver()
    receiver.start()
    receiver.stop()
    with running(receiver.endpoint) as lane:
        lane.enqueue(record())
        until(lambda: lane.status().retried)
        assert "connection refused" in lane.status().last_error
        with receiver:
            assert flushed(lane)
            assert len(receiver.store.spans()) == 1
        assert lane.status().delivered == 1


@pytest.mark.parametrize(
    "fault", [broken_backends.resets_before_the_answer, broken_backends.breaks_off_in_the_status_line]
)
def test_a_connection_lost_before_the_answer_is_tried_again(fault):
    with backend(fault, broken_backends.answers) as seen, running(seen.endpoint) as lane:
        lane.enqueue(record())
        assert flushed(lane)
        assert (lane.status().delivered, lane.status().retried) == (1, 1)
        assert len(seen.requests) == 2


def test_a_backend_that_does_not_answer_is_left_at_the_timeout():
    with backend(broken_backends.hangs, broken_backends.answers) as seen, running(seen.endpoint, timeout=0.3) as lane:
        started = time.monotonic()
        lane.enqueue(record())
        assert flushed(lane)
        assert time.monotonic() - started > 0.25
        assert "timeout" in lane.status().last_error
        assert (lane.status().delivered, lane.status().retried) == (1, 1)


@pytest.mark.parametrize(
    "fault",
    [
        broken_backends.resets_in_the_answer,
        broken_backends.breaks_off_in_the_body,
        broken_backends.breaks_off_in_a_chunk,
        broken_backends.lies_about_its_packing,
        broken_backends.drips_headers,
        broken_backends.drips_body,
    ],
)
def test_what_fails_after_the_status_line_of_an_answer_is_delivered_all_the_same(fault):
    """The backend has the batch: sent again it would be there twice. A dripping one is left at the timeout."""
    with backend(fault, broken_backends.answers) as seen, running(seen.endpoint, timeout=0.3) as lane:
        started = time.monotonic()
        for number in (1, 2):
            lane.enqueue(record())
            assert flushed(lane)
            assert (lane.status().delivered, lane.status().retried) == (number, 0)
        assert time.monotonic() - started < 3.0
        assert (len(seen.requests), seen.connections) == (2, 2)


def test_interim_answers_are_no_answers():
    """102 and 103 come before the real one; taken for it, each later answer would be that of the request before."""
    with backend(broken_backends.thinks_aloud) as seen, running(seen.endpoint) as lane:
        for _ in range(3):
            lane.enqueue(record())
            assert flushed(lane)
        books = lane.status()
        assert (books.delivered, books.dropped) == (2, {"refused": 1})
        assert (len(seen.requests), seen.connections) == (3, 1)


def test_an_answer_nobody_asked_for_is_not_that_of_the_next_request():
    with backend(broken_backends.answers_twice, broken_backends.answers) as seen, running(seen.endpoint) as lane:
        for _ in range(2):
            lane.enqueue(record())
            assert flushed(lane)
        assert (lane.status().delivered, lane.status().dropped, seen.connections) == (2, {}, 2)


def test_an_idle_connection_that_was_closed_is_no_outage(caplog):
    """Servers close idle connections; the request that meets the closing one goes out again at once, on a new one."""
    with backend(broken_backends.answers_once, broken_backends.answers) as seen, running(seen.endpoint) as lane:
        for _ in range(2):
            lane.enqueue(record())
            assert flushed(lane)
        books = lane.status()
        assert seen.connections == 2
    assert (books.delivered, books.retried, books.last_error) == (2, 0, None)
    assert not caplog.records


def test_connections_are_kept():
    with backend(broken_backends.answers) as seen, running(seen.endpoint) as lane:
        for _ in range(3):
            lane.enqueue(record())
            assert flushed(lane)
        assert (seen.connections, len(seen.requests)) == (1, 3)


def test_each_try_waits_by_the_policy_with_the_servers_wish():
    asked = []

    def policy(attempt, retry_after, random):
        asked.append((attempt, retry_after, 0 <= random() < 1))
        return 0.0

    with OtlpReceiver() as receiver, running(receiver.endpoint, delay=policy) as lane:
        receiver.script(Reply(503), Reply(429, {"Retry-After": "7"}), Reply(504))
        lane.enqueue(record())
        assert flushed(lane)
    assert asked == [(0, None, True), (1, 7.0, True), (2, None, True)]


def test_retry_after_is_honoured_in_seconds_and_as_a_date():
    with OtlpReceiver() as seconds, OtlpReceiver() as date:
        seconds.script(Reply(429, {"Retry-After": "2"}))
        date.script(Reply(503, {"Retry-After": formatdate(time.time() + 2.5, usegmt=True)}))
        with running(seconds.endpoint, delay=retry.delay) as first, running(date.endpoint, delay=retry.delay) as second:
            started = time.monotonic()
            for lane in (first, second):
                lane.enqueue(record())
            date.wait_for_requests(2)
            assert 1.2 < time.monotonic() - started < 5.0
            seconds.wait_for_requests(2)
            assert 1.9 < time.monotonic() - started < 5.0


@pytest.mark.parametrize("retry_after", ["0", "Wed, 21 Oct 2015 07:27:00 GMT"])
def test_retry_after_of_nothing_leads_to_no_hot_loop(receiver, retry_after):
    receiver.script(*[Reply(503, {"Retry-After": retry_after})] * 100)
    with running(receiver.endpoint, delay=retry.delay) as lane:
        started = time.monotonic()
        lane.enqueue(record())
        receiver.wait_for_requests(3)
        assert time.monotonic() - started > 1.4
        assert len(receiver.requests) == 3


@pytest.mark.parametrize("seconds", [60, 120, None])
def test_the_wait_a_server_asks_for_holds_for_every_batch(receiver, caplog, seconds):
    """Rate limits per minute answer so: asked again within the minute they lose each batch."""
    wait = str(seconds) if seconds else formatdate(time.time() + 91, usegmt=True)
    receiver.script(*[Reply(429, {"Retry-After": wait})] * 10)
    with running(receiver.endpoint, delay=retry.delay) as lane:
        for number in range(3):
            lane.enqueue(record(size=1000))
            assert not flushed(lane, 0.05)
            until(lambda: lane.status().last_error)
            assert lane.status().queued_bytes == (number + 1) * 1000
        books = lane.status()
        assert (books.queued_records, books.dropped, len(receiver.requests)) == (3, {}, 1)
        assert balanced(books)
        stopping = time.monotonic()
        lane.stop(stopping + 0.2)
        assert time.monotonic() - stopping < 1.5
        assert lane.status().dropped == {"stopped": 3}
    assert f"trying again in {seconds} s" in caplog.text if seconds else "trying again in 9" in caplog.text


def test_what_waits_for_a_server_is_bounded_like_all_of_the_queue(receiver):
    receiver.script(Reply(429, {"Retry-After": "60"}))
    with running(receiver.endpoint, delay=retry.delay, max_bytes=3000) as lane:
        for _ in range(5):
            lane.enqueue(record(size=1000))
            until(lambda: lane.status().last_error)
        books = lane.status()
        assert (books.queued_records, books.queued_bytes, books.dropped) == (3, 3000, {"queue_full": 2})


def test_the_minute_of_a_batch_begins_when_it_may_be_sent(receiver, monkeypatch):
    monkeypatch.setattr(sender, "_MAX_RETRY_S", 0.5)
    receiver.script(Reply(429, {"Retry-After": "1"}), Reply(429, {"Retry-After": "1"}), Reply(503))
    with running(receiver.endpoint, delay=lambda _, asked, __: asked or 0.01) as lane:
        lane.enqueue(record())
        assert flushed(lane)
        assert (lane.status().delivered, lane.status().dropped) == (1, {})


def test_a_program_that_flushes_after_each_call_sends_no_request_for_each(receiver):
    """Serverless programs do: a backend in trouble gets the first early, and then keeps its pauses."""
    receiver.script(*[Reply(503)] * 1000)
    with running(receiver.endpoint, delay=retry.delay) as lane:
        ends = time.monotonic() + 2.0
        while time.monotonic() < ends:
            lane.enqueue(record())
            flushed(lane, 0.01)
        books = lane.status()
    assert len(receiver.requests) <= 4
    assert (books.dropped, books.queued_records) == ({}, books.produced)


def test_a_batch_is_not_dropped_by_the_number_of_its_tries():
    class Busy:
        left = 1_100

        def encode(self, spans, *, divisible=False):
            return Body(b"", len(spans), "json")

        def post(self, body):
            self.left -= 1
            return Answer("retry" if self.left > 0 else "ok", None, "busy", None, 0)

        def flush(self):
            return True

        def close(self):
            pass

    with running(transport=Busy(), delay=lambda *_: 0.0) as lane:
        lane.enqueue(record())
        assert flushed(lane)
        assert (lane.status().delivered, lane.status().retried) == (1, 1_099)


def test_after_a_minute_and_a_last_try_the_batch_is_dropped_and_the_next_has_its_turn(receiver, monkeypatch):
    monkeypatch.setattr(sender, "_MAX_RETRY_S", 0.1)
    receiver.script(Reply(503), Reply(503, body=b"maintenance"))
    with running(receiver.endpoint, delay=lambda *_: 61.0) as lane:
        lane.enqueue(record("lost"))
        flushed(lane)
        lane.enqueue(record("kept"))
        assert flushed(lane)
        books = lane.status()
    assert (books.delivered, books.dropped) == (1, {"retries_exhausted": 1})
    assert "maintenance" in books.last_error
    assert [span.name for span in receiver.store.spans()] == ["chat kept"]


def test_a_flush_tries_again_at_once(receiver):
    receiver.script(Reply(503))
    with running(receiver.endpoint, delay=lambda *_: 30.0) as lane:
        lane.enqueue(record())
        until(lambda: lane.status().last_error)
        assert flushed(lane)


def test_a_flush_respects_the_wait_a_server_asks_for(receiver):
    receiver.script(Reply(503, {"Retry-After": "30"}))
    with running(receiver.endpoint, delay=retry.delay) as lane:
        lane.enqueue(record())
        until(lambda: lane.status().last_error)
        assert not flushed(lane, 0.3)
        assert len(receiver.requests) == 1


def test_the_books_balance_at_every_moment(receiver):
    """Read by another thread while batches are halved, tried again, refused and delivered."""
    receiver.script(*[Reply(status) for status in (413, 503, 413, 400, 503, 413)] * 20)
    stop = threading.Event()
    wrong = []
    reads = []

    def read(lane):
        while not stop.is_set():
            books = lane.status()
            reads.append(books.queued_records)
            if not balanced(books) or books.queued_bytes < 0:
                wrong.append(books)

    with running(receiver.endpoint) as lane:
        reader = threading.Thread(target=read, args=(lane,))
        reader.start()
        for _ in range(600):
            lane.enqueue(record())
        flushed(lane, 20.0)
        stop.set()
        reader.join()
        books = lane.status()
    assert not wrong
    assert len(reads) > 100
    assert books.produced == 600
    assert books.queued_records == books.queued_bytes == 0
    assert books.delivered == len(receiver.store.spans()) > 0
    assert balanced(books)
