"""A busy thread of ours lets the program's run."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from llm_otel_broadcast.host.turns import in_turns

ITEMS = 100
BUSY_S = 0.002


@pytest.fixture
def no_switching():
    """Python takes the lock from no busy thread: only a pause gives it away."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(60.0)
    yield
    sys.setswitchinterval(before)


def run_busily(items, waiting, ran):
    """Go through the items with much to do for each; return at which one the waiting thread has run, None: at none."""
    for number in items:
        if number == 0:
            waiting.set()
        until = time.perf_counter() + BUSY_S
        while time.perf_counter() < until:
            pass
        if ran:
            return number
    return None


def race(wrap):
    waiting, ran = threading.Event(), []

    def wait() -> None:
        waiting.wait()
        ran.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        return run_busily(wrap(range(ITEMS)), waiting, ran)
    finally:
        thread.join()


def test_a_thread_of_the_program_runs_between_two_items(no_switching):
    assert race(in_turns) is not None
    # and without the pauses it would have had to wait for the end
    assert race(iter) is None


def test_all_items_come_in_order():
    assert list(in_turns(range(10))) == list(range(10))
