"""A worker without a destination: records are completed and handed to a reader, each once, whatever becomes of the others."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

from llm_otel_broadcast.delivery import watch, worker
from llm_otel_broadcast.delivery.recorder import Recorder
from llm_otel_broadcast.delivery.seams import RecordReader
from llm_otel_broadcast.host.deferred import Deferred
from tests.support.books import balanced
from tests.support.deadlines import until
from tests.support.lanes import flushed, record, running


def books_of(recorder):
    with recorder._queue.locked():
        return recorder._books.status(*recorder._queue.size())


@contextmanager
def recording(read, **steps):
    recorder = Recorder("metrics", 0.0, 1_000_000, lambda: RecordReader(read, **steps))
    recorder.start()
    try:
        yield recorder
    finally:
        recorder.stop(time.monotonic() + 1.0)


def test_each_record_is_handed_over_complete_and_then_the_batch_is_finished():
    events = []
    late = record("late")
    late.pending = Deferred(setattr, late, "response_model", "gpt-4o-2024")
    steps = {"finish": lambda: events.append("finish"), "close": lambda: events.append("close")}
    with recording(lambda read: events.append(read.response_model), **steps) as recorder:
        recorder.enqueue(late)
        assert flushed(recorder)
        assert events == ["gpt-4o-2024", "finish"]
    assert events[-1] == "close"


def test_a_reader_that_fails_costs_the_record_alone():
    names = []

    def read(generation):
        if generation.request_model == "odd":
            raise ZeroDivisionError
        names.append(generation.request_model)

    with recording(read) as recorder:
        for model in ("a", "odd", "b"):
            recorder.enqueue(record(model))
        assert flushed(recorder)
        books = books_of(recorder)
    assert names == ["a", "b"]
    assert (books.delivered, books.dropped, balanced(books)) == (2, {"unreadable": 1}, True)


def test_a_reader_that_blocks_costs_its_record_alone(monkeypatch):
    monkeypatch.setattr(watch, "_TIMEOUT_S", 0.05)
    free, names = threading.Event(), []

    def read(generation):
        if generation.request_model == "blocked":
            free.wait(30)
        names.append(generation.request_model)

    with recording(read) as recorder:
        recorder.enqueue(record("blocked"))
        until(lambda: recorder._watch.current)
        time.sleep(0.1)
        recorder.enqueue(record("free"))
        assert flushed(recorder)
        assert names == ["free"]
        books = books_of(recorder)
        free.set()
    assert (books.delivered, books.dropped) == (1, {"unreadable": 1})


def test_what_fails_after_a_batch_is_counted_and_the_thread_goes_on():
    def finish():
        if not fails.is_set():
            fails.set()
            raise RuntimeError("once")

    fails = threading.Event()
    with recording(lambda _: None, finish=finish) as recorder:
        for _ in range(2):
            recorder.enqueue(record())
            assert flushed(recorder)
        books = books_of(recorder)
    assert (books.delivered, books.dropped) == (1, {"internal_error": 1})


def test_what_is_rendered_while_threads_change_their_kind_is_not_lost(receiver, monkeypatch):
    """As where gevent patches a program that has made calls already: the former thread sends what it has in hand."""
    free = threading.Event()
    held = record("in hand")
    held.pending = Deferred(free.wait, 10)
    with running(receiver.endpoint) as lane:
        lane.enqueue(held)
        until(lambda: lane._watch.current)
        kind = object()
        monkeypatch.setattr(worker, "flavor", lambda: kind)
        lane.start()
        lane.enqueue(record("later"))
        free.set()
        assert flushed(lane)
        books = lane.status()
    assert (books.delivered, books.dropped, balanced(books)) == (2, {}, True)
    assert [span.name for span in receiver.store.spans()] == ["chat in hand", "chat later"]
