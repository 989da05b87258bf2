"""A busy thread of ours lets the program's run."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from itertools import groupby

import pytest

from llm_otel_broadcast.delivery.ledger import Books
from llm_otel_broadcast.delivery.queue import RecordQueue
from llm_otel_broadcast.delivery.seams import Item
from llm_otel_broadcast.delivery.watch import RenderingWatch
from llm_otel_broadcast.host import turns
from llm_otel_broadcast.host.turns import in_turns
from llm_otel_broadcast.record.span_data import KIND_CLIENT, Scope, SpanData
from llm_otel_broadcast.wire import otlp_json

ITEMS = 100
BUSY_S = 0.002


@pytest.fixture
def no_switching():
    """Python takes the lock from no busy thread: only a pause gives it away."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(60.0)
    yield
    sys.setswitchinterval(before)


@contextmanager
def waiting_thread():
    """Yield what begins to wait for the lock, and the list of one item that tells whether it has got it."""
    go, ran = threading.Event(), []

    def run() -> None:
        go.wait()
        ran.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield go, ran
    finally:
        go.set()
        thread.join()


def compute(until=BUSY_S):
    until += time.perf_counter()
    while time.perf_counter() < until:
        pass


def runs_meanwhile(wrap):
    """Go through the items with much to do for each; return whether another thread has run before the end."""
    with waiting_thread() as (go, ran):
        for _ in wrap(range(ITEMS)):
            go.set()
            compute()
        return bool(ran)


def test_a_thread_of_the_program_runs_between_two_items(no_switching):
    assert runs_meanwhile(in_turns)
    # and without the pauses it would have had to wait for the end
    assert not runs_meanwhile(iter)


def test_a_thread_of_the_program_runs_while_a_batch_is_rendered(no_switching):
    with waiting_thread() as (go, ran):

        def render(_item):
            go.set()
            compute()

        items = [Item(object(), 0) for _ in range(ITEMS)]
        assert RenderingWatch(RecordQueue(Books("x"), 1)).render_each(items, render) == items
        assert ran


def test_a_thread_of_the_program_runs_while_a_batch_is_encoded(no_switching):
    span = SpanData("chat", 1, 2, 0, KIND_CLIENT, 1, 2, {"numbers": range(100)})
    # what it imports at its first use gives the lock away as well, and so does joining more than a megabyte
    otlp_json.encode({}, Scope("1"), [span])
    with waiting_thread() as (go, ran):
        go.set()
        otlp_json.encode({}, Scope("1"), [span] * 400)
        assert ran


def test_all_items_come_in_order():
    assert list(in_turns(range(10))) == list(range(10))


def test_one_thread_works_at_a_time(monkeypatch):
    """With ten destinations, an event loop waited for ten threads at each of its steps."""
    # on a busy machine it may take long
    monkeypatch.setattr(turns, "_PATIENCE_S", 60.0)
    monkeypatch.setattr(turns, "_STINT_S", 60.0)
    order = []

    def work(name):
        for _ in in_turns(range(ITEMS)):
            order.append(name)
            compute(0.0001)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(order) == 3 * ITEMS
    assert len([name for name, _ in groupby(order)]) == 3


def test_a_thread_that_blocks_keeps_no_other_one_from_its_work():
    go = threading.Event()

    def block():
        for _ in in_turns(range(1)):
            assert go.wait(60.0)

    blocked = threading.Thread(target=block)
    blocked.start()
    try:
        assert list(in_turns(range(ITEMS))) == list(range(ITEMS))
        assert list(in_turns(range(ITEMS))) == list(range(ITEMS))
        assert blocked.is_alive()
    finally:
        go.set()
        blocked.join()


def test_a_slow_thread_lets_others_work(monkeypatch):
    """A redaction that waits for a service is one destination's."""
    monkeypatch.setattr(turns, "_PATIENCE_S", 60.0)
    begun, over = threading.Event(), threading.Event()

    def work():
        for _ in in_turns(iter(over.is_set, True)):
            begun.set()
            over.wait(0.03)

    slow = threading.Thread(target=work)
    slow.start()
    try:
        assert begun.wait(60.0)
        # it would go on for ever
        assert list(in_turns(range(10))) == list(range(10))
    finally:
        over.set()
        slow.join()


def test_an_error_leaves_the_place_to_the_next_one(monkeypatch):
    monkeypatch.setattr(turns, "_PATIENCE_S", 60.0)
    with pytest.raises(ZeroDivisionError):
        for _ in in_turns(range(2)):
            raise ZeroDivisionError
    began = time.monotonic()
    assert list(in_turns(range(2))) == [0, 1]
    assert time.monotonic() - began < 30.0


def pauses(monkeypatch, item_s, wait_s):
    """Return before which items it pauses, where each item takes so long, and so does getting the lock again."""
    now, before = 0.0, []
    items = iter(range(ITEMS))

    def watch(_frame, event, function):
        nonlocal now
        if event == "c_call" and function is time.sleep:
            now += wait_s
            before.append(number + 1)

    number = -1
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    sys.setprofile(watch)
    try:
        for number in in_turns(items):  # noqa: B007
            now += item_s
    finally:
        sys.setprofile(None)
    return before


def test_it_pauses_after_each_third_of_a_millisecond(monkeypatch):
    assert pauses(monkeypatch, item_s=0.000101, wait_s=0.00006)[:4] == [3, 6, 9, 12]


def test_it_does_not_pause_where_there_is_little_to_do(monkeypatch):
    assert pauses(monkeypatch, item_s=0.000_001, wait_s=0.0) == []


def test_beside_a_computing_thread_it_works_for_a_quarter_of_what_it_waits(monkeypatch):
    # at first it does not know
    assert pauses(monkeypatch, item_s=0.00051, wait_s=0.005)[:4] == [1, 4, 7, 10]


def test_a_wait_of_seconds_makes_no_turn_of_seconds(monkeypatch):
    assert pauses(monkeypatch, item_s=0.00051, wait_s=10.0)[:3] == [1, 11, 21]


def test_a_sleep_of_gevents_is_not_used(monkeypatch):
    def sleep(_seconds):
        pytest.fail("a hub of gevent's would start in a thread of the system's")

    monkeypatch.setattr(time, "sleep", sleep)
    assert pauses(monkeypatch, item_s=0.001, wait_s=0.0) == []
