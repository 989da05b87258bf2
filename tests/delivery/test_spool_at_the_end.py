"""Flushing and ending with a spool: never on the program's thread, never for longer than asked, on top of whatever it was at."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager

import pytest

from llm_otel_broadcast.spool.file import SpoolFile
from llm_otel_broadcast.wire import retry
from tests.support.broken_backends import backend, hangs
from tests.support.deadlines import until
from tests.support.lanes import flushed, on_disk, record, running, shelf_at


@pytest.fixture
def at_the_disk(monkeypatch):
    """Has a function called at each use of the disk, which takes as long as that."""

    def watch(function):
        transaction, tidy = SpoolFile.transaction, SpoolFile.tidy

        @contextmanager
        def watched_transaction(*arguments, **options):
            with transaction(*arguments, **options) as connection:
                function()
                yield connection

        def watched_tidy(file):
            function()
            tidy(file)

        monkeypatch.setattr(SpoolFile, "transaction", watched_transaction)
        monkeypatch.setattr(SpoolFile, "tidy", watched_tidy)

    return watch


@pytest.mark.parametrize("works", [True, False])
def test_flushing_and_ending_leave_the_disk_to_threads_of_ours(receiver, nowhere, spool, works, at_the_disk):
    """A signal handler on top of a program's thread that uses the disk could save nothing."""
    threads = set()
    at_the_disk(lambda: threads.add(threading.current_thread()))
    endpoint = receiver.endpoint if works else nowhere
    with running(endpoint, shelf=shelf_at(spool, endpoint), delay=retry.delay, durable=True) as lane:
        lane.enqueue(record())
        assert flushed(lane) is works
        lane.enqueue(record())
        lane.end(time.monotonic() + 5.0)
        assert (lane.status().delivered, lane.status().spooled) == ((2, 0) if works else (0, 2))
        lane.stop(time.monotonic() + 5.0)
    assert threads
    assert threading.current_thread() not in threads


@pytest.mark.parametrize("durable", [False, True])
def test_a_disk_that_hangs_holds_up_neither_a_flush_nor_the_end(nowhere, spool, durable, at_the_disk):
    is_back = threading.Event()
    at_the_disk(lambda: is_back.wait(30.0))
    try:
        with running(nowhere, shelf=shelf_at(spool, nowhere), delay=retry.delay, durable=durable) as lane:
            lane.enqueue(record())
            began = time.monotonic()
            assert not flushed(lane, 0.3)
            assert time.monotonic() - began < 2.0
            lane.stop(time.monotonic() + 1.0)
            assert time.monotonic() - began < 5.0
            assert sum(lane.status().dropped.values()) == 1
    finally:
        is_back.set()


def test_what_others_have_sent_meanwhile_is_not_waited_for(nowhere, spool):
    with running(nowhere, shelf=shelf_at(spool, nowhere), durable=True) as lane:
        lane.enqueue(record("sent by another"))
        until(lambda: on_disk(spool, nowhere) == 1)
        other = shelf_at(spool, nowhere)
        until(lambda: (body := other.claim()) and not other.remove(body.id))
        until(lambda: flushed(lane))


def test_at_the_end_nothing_of_what_was_delivered_is_left_on_disk(receiver, spool):
    with running(receiver.endpoint, shelf=shelf_at(spool, receiver.endpoint), durable=True) as lane:
        for number in range(3):
            lane.enqueue(record(f"secret-{number}"))
            assert flushed(lane)
        lane.end(time.monotonic() + 5.0)
        assert b"secret-" not in b"".join(file.read_bytes() for file in spool.iterdir())


@pytest.fixture
def interrupt():
    """Has a handler run once on top of the program's thread, when the function that it yields is called on any."""

    @contextmanager
    def interrupting(handler):
        former = signal.signal(signal.SIGUSR1, lambda *_: handler())
        due = [signal.SIGUSR1]

        def interrupt_program():
            if due:
                signal.pthread_kill(threading.main_thread().ident, due.pop())
            # The handler is to come while the disk is in use.
            time.sleep(0.05)

        try:
            yield interrupt_program
        finally:
            signal.signal(signal.SIGUSR1, former)

    return interrupting


@pytest.mark.parametrize("interrupted", ["a flush", "an end"])
def test_a_signal_handler_that_ends_the_process_saves_what_it_has_interrupted(
    spool, nowhere, interrupted, interrupt, at_the_disk
):
    """The process ends with the handler: whatever the interrupted thread was about to do is not done any more."""
    at_its_end = []

    def end():
        lane.end(time.monotonic())
        at_its_end.append((on_disk(spool, hanging.endpoint), lane.status().dropped))

    with interrupt(end) as interrupt_program, backend(hangs) as hanging:
        shelf, other_shelf = shelf_at(spool, hanging.endpoint), shelf_at(spool, nowhere)
        # Destinations of one process share the file.
        other_shelf.store = shelf.store
        with (
            running(hanging.endpoint, shelf=shelf) as lane,
            running(nowhere, shelf=other_shelf, durable=True, delay=retry.delay) as other,
        ):
            # One is out, two wait in memory.
            for _ in range(3):
                lane.enqueue(record())
                until(lambda: not lane.status().queued_records)
            other.enqueue(record())
            until(lambda: hanging.requests and other.status().retried)
            at_the_disk(interrupt_program)
            if interrupted == "a flush":
                flushed(other, 1.0)
            else:
                lane.end(time.monotonic())
            until(lambda: at_its_end)
            assert at_its_end == [(4, {})]
