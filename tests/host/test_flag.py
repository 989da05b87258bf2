"""The flag that a signal handler may set on top of a thread that is at it."""

from __future__ import annotations

import signal
import sys
import threading
import time

import pytest

from llm_otel_broadcast.host.flag import Flag


def test_who_waits_is_woken_up():
    flag, woken = Flag(), []
    waiting = [threading.Thread(target=lambda: woken.append(flag.wait(10))) for _ in range(3)]
    for thread in waiting:
        thread.start()
    time.sleep(0.02)
    flag.set()
    for thread in waiting:
        thread.join(10)
    assert woken == [True, True, True]
    assert flag.wait(10)


def test_nobody_waits_for_longer_than_the_timeout():
    flag = Flag()
    start = time.monotonic()
    assert not flag.wait(0.05)
    assert time.monotonic() - start < 5
    assert not flag._waiting


def test_it_can_be_taken_back():
    flag = Flag()
    flag.set()
    flag.clear()
    assert not flag.is_set()
    assert not flag.wait(0)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs SIGALRM")
def test_a_signal_handler_may_set_it_at_any_step_of_setting_it():
    """`threading.Event` waits for itself then."""
    flag = Flag()
    steps = 0

    def trace(frame, event, argument):
        nonlocal steps
        if frame.f_code is Flag.set.__code__:
            steps += 1
            sys.settrace(None)
            signal.raise_signal(signal.SIGALRM)
            sys.settrace(trace)
        return trace

    former = signal.signal(signal.SIGALRM, lambda *_: flag.set())
    waiting = threading.Thread(target=flag.wait, args=(10,))
    waiting.start()
    former_trace = sys.gettrace()
    try:
        sys.settrace(trace)
        flag.set()
    finally:
        sys.settrace(former_trace)
        signal.signal(signal.SIGALRM, former)
    waiting.join(10)
    assert steps > 2
    assert not waiting.is_alive()
