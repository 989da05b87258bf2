"""The queue: bounded in bytes, nothing forgotten, nothing counted twice, and never a lock that somebody waits for."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections import deque
from queue import SimpleQueue

import pytest

from llm_otel_broadcast.delivery import queue
from llm_otel_broadcast.delivery.broadcaster import Broadcaster
from llm_otel_broadcast.delivery.lane import Lane
from llm_otel_broadcast.delivery.ledger import Books
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.wire.exchange import Answer
from tests.delivery.test_batches import Faulty
from tests.support import broken_backends
from tests.support.books import balanced
from tests.support.broken_backends import backend, refusing
from tests.support.deadlines import until
from tests.support.lanes import flushed, parts, record, running


def within(seconds, work):
    """Do the work on a thread and return whether it ended in time: a deadlock must not stop the test run."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def test_at_the_bound_the_oldest_are_dropped_counted_and_said_once(receiver, caplog):
    receiver.hang = threading.Event()
    with running(receiver.endpoint, max_bytes=100_000) as lane:
        lane.enqueue(record("in flight"))
        receiver.wait_for_requests(1)
        for number in range(100):
            lane.enqueue(record(str(number), size=10_000))
            books = lane.status()
            assert books.queued_bytes <= 100_000
            assert balanced(books)
        receiver.hang.set()
        assert flushed(lane)
        books = lane.status()
    assert (books.delivered, books.dropped, books.queued_bytes) == (10, {"queue_full": 91}, 0)
    assert [span.name for span in receiver.store.spans()] == ["chat in flight", *(f"chat {n}" for n in range(91, 100))]
    (said,) = caplog.records
    assert "queue_full" in said.getMessage()


@pytest.mark.parametrize("size", [10, 2_000, 60_000])
def test_what_nobody_has_counted_yet_is_no_more_than_a_small_part_of_the_bound(size):
    """Records are counted a few at a time: what is held meanwhile stays within 3 % of the bound, whatever their size."""
    waiting = queue.RecordQueue(Books("backend"), max_bytes=1_000_000)
    for number in range(1_000):
        waiting.enqueue(record(str(number), size=size))
        uncounted = len(waiting._arrivals)
        assert uncounted < 64
        assert uncounted * size <= 31_250
        assert waiting.size()[1] <= 1_000_000
    with waiting.locked():
        books = waiting.books.status(*waiting.size(), 0)
    assert books.produced == 1_000
    assert balanced(books)


def test_a_record_over_the_bound_is_dropped_and_counted(receiver):
    with running(receiver.endpoint, max_bytes=100_000) as lane:
        lane.enqueue(record(size=100_001))
        assert flushed(lane)
        assert lane.status().dropped == {"too_large": 1}


def test_memory_stays_bounded_with_a_dead_destination():
    """Here 100 MB of answers meet a bound of one."""
    with running(refusing(), max_bytes=1_000_000, delay=lambda *_: 30.0) as lane:
        lane.enqueue(record())
        until(lambda: lane.status().last_error)
        tracemalloc.start()
        try:
            for number in range(1_000):
                made = record(str(number), size=100_000)
                made.response_id = "x" * 98_000
                lane.enqueue(made)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 2_000_000
        assert lane.status().queued_bytes <= 1_000_000


def test_what_is_read_late_does_not_upset_the_count_of_bytes(receiver):
    """A raw response is read on the first lane that meets it, and is larger for the others from then on."""
    receiver.hang = threading.Event()
    with running(receiver.endpoint) as lane:
        lane.enqueue(record("in flight"))
        receiver.wait_for_requests(1)
        late = record(size=1_000)
        lane.enqueue(late)
        lane.enqueue(record(size=5_000))
        late.size += 50_000
        assert lane.status().queued_bytes == record().size + 6_000
        receiver.hang.set()
        assert flushed(lane)
        assert lane.status().queued_bytes == 0


def test_a_record_that_comes_while_the_bell_is_emptied_does_not_silence_it(receiver):
    """The wake-up of the record after it was lost: it lay in the queue until a flush or 511 more."""

    class Bell(SimpleQueue):
        calls = 0

        def empty(self):
            self.calls += 1
            if self.calls == 1:
                lane.enqueue(record("second"))
            return super().empty()

    with running(receiver.endpoint, started=False) as lane:
        lane._bell = Bell()
        lane.start()
        lane.enqueue(record("first"))
        receiver.store.wait_for(2)
        until(lambda: not lane.status().queued_records)
        lane.enqueue(record("third"))
        receiver.store.wait_for(3)


def test_threads_that_put_at_the_same_time_lose_nothing(receiver):
    with running(receiver.endpoint) as lane:
        threads = [
            threading.Thread(target=lambda: [lane.enqueue(record()) for _ in range(500)], daemon=True) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert flushed(lane, 20.0)
        books = lane.status()
    assert (books.produced, books.delivered, books.dropped) == (2_000, 2_000, {})
    assert len({span.span_id for span in receiver.store.spans()}) == 2_000


class Nesting(Generation):
    """A record in whose hand-over the garbage collector ends another call, as it may at any allocation."""

    __slots__ = ("nested",)

    def __init__(self, nested) -> None:
        super().__init__("chat")
        self.trace_id, self.span_id = 1, 1
        self.nested = nested
        self.end()

    @property
    def size(self) -> int:
        nested, self.nested = self.nested, None
        if nested is not None:
            nested()
        return 2_000

    @size.setter
    def size(self, value: int) -> None: ...


def test_a_finalizer_may_hand_over_a_record_in_the_middle_of_another(receiver):
    with running(receiver.endpoint) as lane:
        outer = Nesting(lambda: lane.enqueue(record("inner")))
        assert within(5.0, lambda: lane.enqueue(outer))
        assert flushed(lane)
        books = lane.status()
    assert (books.produced, books.delivered, books.queued_bytes) == (2, 2, 0)


def test_a_finalizer_may_hand_over_a_record_while_the_threads_are_started(receiver):
    class Collecting(Lane):
        def start(self) -> None:
            broadcaster.put_generation(record("inner"))
            super().start()

    with running(receiver.endpoint, started=False) as plain:
        lane = Collecting("backend", 0.0, 1_000_000, plain._make_parts)
        broadcaster = Broadcaster([lane])
        assert within(5.0, lambda: broadcaster.put_generation(record("outer")))
        assert broadcaster.flush(5.0)
        assert lane.status().delivered == 2
        broadcaster.stop(1.0)


def test_a_signal_handler_may_flush_and_stop_in_the_middle_of_a_hand_over(receiver, monkeypatch):
    """It runs on top of the very thread that holds the lock."""
    monkeypatch.setattr(queue, "_LOCK_TIMEOUT_S", 0.02)
    with running(receiver.endpoint) as lane:

        def handler():
            flushed(lane, 0.1)
            lane.stop(time.monotonic() + 0.1)
            lane.status()

        assert within(5.0, lambda: lane.enqueue(Nesting(handler)))
        lane.enqueue(record())
        assert balanced(lane.status())


def test_a_record_that_could_not_wait_for_the_lock_is_pending_until_it_is_sent(receiver):
    with running(receiver.endpoint) as lane:
        lane.enqueue(record("first"))
        assert flushed(lane)
        with lane._queue._lock:
            lane.enqueue(record("stray"))
            assert not flushed(lane, 0.1)
        assert flushed(lane)
        assert lane.status().delivered == 2


def test_a_record_on_its_way_from_the_queue_is_pending(receiver):
    """Between the two it was in neither, and a flush of that moment found nothing left to do."""
    seen = []

    class Watched(deque):
        def popleft(self):
            taken = super().popleft()
            threading.Thread(target=lambda: seen.append(flushed(lane, 0.05)), daemon=True).start()
            until(lambda: seen)
            return taken

    receiver.hang = threading.Event()
    with running(receiver.endpoint, started=False) as lane:
        lane._queue._records = Watched()
        lane.enqueue(record())
        lane.start()
        receiver.wait_for_requests(1)
        receiver.hang.set()
        assert flushed(lane)
    assert seen == [False]


def test_stopping_counts_what_is_left_once():
    with backend(broken_backends.hangs) as seen, running(seen.endpoint) as lane:
        lane.enqueue(record())
        until(lambda: seen.requests)
        lane.enqueue(record())
        with lane._queue._lock:
            lane.enqueue(record())
        lane.stop(time.monotonic() + 0.1)
        lane.stop(time.monotonic() + 0.1)
        lane.enqueue(record())
        seen.stopped.set()
        until(lambda: not lane.is_running)
        books = lane.status()
    assert (books.produced, books.dropped, books.queued_records) == (4, {"unanswered": 1, "stopped": 3}, 0)


def test_what_a_stopped_lane_still_gets_through_comes_too_late_for_the_books(receiver):
    receiver.hang = threading.Event()
    with running(receiver.endpoint) as lane:
        lane.enqueue(record())
        receiver.wait_for_requests(1)
        lane.stop(time.monotonic())
        receiver.hang.set()
        until(lambda: not lane.is_running)
        assert (lane.status().delivered, lane.status().dropped) == (0, {"unanswered": 1})


def test_a_lane_that_was_stopped_sends_no_second_half():
    sending, stopped = threading.Event(), threading.Event()

    class Slow(Faulty):
        def post(self, body):
            sending.set()
            stopped.wait(5.0)
            return super().post(body)

    transport = Slow(Answer("too_large", 413, "too large", None, 0))
    with running(transport=transport, started=False) as lane:
        for _ in range(2):
            lane.enqueue(record())
        lane.start()
        sending.wait(5.0)
        lane.stop(time.monotonic())
        stopped.set()
        until(lambda: not lane.is_running)
        assert len(transport.sent) == 1
        assert lane.status().dropped == {"unanswered": 2}


def test_a_record_is_kept_when_no_thread_can_be_started(receiver, monkeypatch):
    with running(receiver.endpoint, started=False) as lane:
        broadcaster = Broadcaster([lane])
        with monkeypatch.context() as patched:

            def full(thread):
                raise RuntimeError("can't start new thread")

            patched.setattr(threading.Thread, "start", full)
            broadcaster.put_generation(record())
        broadcaster.put_generation(record())
        assert broadcaster.flush(5.0)
        assert lane.status().delivered == 2
        broadcaster.stop(1.0)


def test_a_record_that_is_too_large_leaves_alone_what_waits(receiver):
    with running(receiver.endpoint, max_bytes=100_000, started=False) as lane:
        for size in (10_000, 10_000, 100_001, 10_000):
            lane.enqueue(record(size=size))
        assert (lane.status().queued_records, lane.status().dropped) == (3, {"too_large": 1})
        lane.start()
        assert flushed(lane)
        assert lane.status().delivered == 3


def test_a_record_beside_which_too_much_is_in_flight_leaves_alone_what_waits(receiver):
    receiver.hang = threading.Event()
    with running(receiver.endpoint, max_bytes=100_000) as lane:
        lane.enqueue(record(size=60_000))
        receiver.wait_for_requests(1)
        lane.enqueue(record(size=10_000))
        lane.enqueue(record(size=50_000))
        assert (lane.status().queued_records, lane.status().dropped) == (2, {"queue_full": 1})
        receiver.hang.set()
        assert flushed(lane)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_died_is_started_again_by_the_next_record(receiver, monkeypatch):
    with running(receiver.endpoint, started=False) as lane:
        broadcaster = Broadcaster([lane])
        with monkeypatch.context() as patched:

            def die():
                raise SystemExit

            patched.setattr(lane, "_drain", die)
            broadcaster.put_generation(record("first"))
            until(lambda: not lane.is_running)
        broadcaster.put_generation(record("second"))
        receiver.store.wait_for(2)


def test_a_lane_may_be_stopped_while_its_thread_is_being_started(receiver, monkeypatch):
    """`shutdown()` raised: a thread cannot be joined before it has been started."""
    starting, go = threading.Event(), threading.Event()
    start = threading.Thread.start

    def slowly(thread):
        if threading.current_thread() is calling:
            starting.set()
            go.wait(5.0)
        start(thread)

    with running(receiver.endpoint, started=False) as lane:
        broadcaster = Broadcaster([lane])
        monkeypatch.setattr(threading.Thread, "start", slowly)
        calling = threading.Thread(target=broadcaster.put_generation, args=(record(),))
        calling.start()
        assert starting.wait(5.0)
        broadcaster.stop(0.2)
        go.set()
        calling.join(5.0)
        until(lambda: not lane.is_running)
        assert balanced(lane.status())


def test_the_thread_makes_its_parts_anew_after_a_failure(receiver):
    made = []

    def make():
        made.append(1)
        if len(made) == 1:
            raise ImportError("not now")
        return parts(Faulty())

    lane = Lane("backend", 0.0, 1_000_000, make)
    lane.start()
    for _ in range(2):
        lane.enqueue(record())
        assert flushed(lane)
    assert (lane.status().delivered, lane.status().dropped) == (1, {"internal_error": 1})
    lane.stop(time.monotonic() + 1.0)
