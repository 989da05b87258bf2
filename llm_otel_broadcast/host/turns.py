"""Letting the program's threads run while a thread of ours has much to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from types import BuiltinFunctionType
from typing import Final, TypeVar

from llm_otel_broadcast.host.forks import begin_anew_in_child
from llm_otel_broadcast.host.green_threads import flavor, is_native

# What a thread of the program's waits for ours at most, but for a step that cannot be divided. Python itself takes the
# interpreter's lock from a busy thread after 5 ms only (`sys.getswitchinterval`, which is the program's to set).
_TURN_S: Final = 0.0003
# The shortest that is a pause: one of 0 seconds ends before the thread that waits for the lock wakes up.
_PAUSE_S: Final = 0.000_001
# Where the program computes without end, each pause takes a switch interval or more, and turns of that length would send 250
# records a second. A quarter of what we waited leaves us a fifth of the lock; a record's work is a tenth of its call's. More
# would keep an event loop waiting that computes for milliseconds at a step.
_SHARE_OF_WAIT: Final = 0.25
_MAX_TURN_S: Final = 0.005

# After so long, another one of ours is let in: a function of the program's may be slow, and is one destination's.
_STINT_S: Final = 0.02
# A thread that has been at one step for so long is blocked by an object or a function of the program's: the others go on.
_PATIENCE_S: Final = 0.05

# Of the thread that runs: each has a context of its own, and so has a greenlet.
_own_flavor: ContextVar[object] = ContextVar("llm_otel_broadcast_thread_flavor", default=None)

Item = TypeVar("Item")


def begin_thread() -> None:
    """Note at the start of a thread of ours of which kind it is."""
    _own_flavor.set(flavor())


class _Workplace:
    """One of our threads works at a time: each that waits for the interpreter's lock is one more before the program's.

    Ten that pause in turns, for ten destinations, leave no pause at all; an event loop waited for 150 ms beside them.
    """

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Take a lock that nobody holds, of the kind that threads have now."""
        self._flavor = flavor()
        self._lock = threading.Lock()
        self.step_began = time.perf_counter()

    def enter(self) -> threading.Lock:
        """Wait until no other one is at work; return what is to be released afterwards."""
        while True:
            # A lock of another kind stops all greenlets, and the holder with them.
            if self._flavor is not flavor():
                self.begin_anew()
            lock = self._lock
            if lock.acquire(timeout=_PATIENCE_S):
                self.step_began = time.perf_counter()
                return lock
            # Blocked by something of the program's.
            if lock is self._lock and time.perf_counter() - self.step_began > _PATIENCE_S:
                self.begin_anew()


_workplace = _Workplace()
begin_anew_in_child(_workplace.begin_anew)


def in_turns(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items, with a pause before one of them as often as we have had the interpreter's lock for a turn.

    Beside 1,000 records a second, one timer of an event loop in a hundred was late by 5 ms; with the pauses, by 0.6. Greenlets of
    gevent's stood still for 30 ms at each batch, and now do for 3 at most. The pauses take 4 % of the background's time.
    """
    if not _can_pause():
        yield from items
        return
    clock = time.perf_counter
    lock = _workplace.enter()
    try:
        stint_end = clock() + _STINT_S
        end = clock() + _TURN_S
        for item in items:
            now = clock()
            if now >= end and _can_pause():
                is_for_others = now >= stint_end
                if is_for_others:
                    lock.release()
                time.sleep(_PAUSE_S)
                turn_s = min(max((clock() - now) * _SHARE_OF_WAIT, _TURN_S), _MAX_TURN_S)
                if is_for_others:
                    lock = _workplace.enter()
                    stint_end = clock() + _STINT_S
                _workplace.step_began = resumed = clock()
                end = resumed + turn_s
            yield item
    finally:
        lock.release()


def _can_pause() -> bool:
    """Return whether `time.sleep` lets the program run: it is of the same kind as the thread that calls it."""
    is_systems = isinstance(time.sleep, BuiltinFunctionType)
    # Greenlets stand still for as long as one of them works. In a thread that was started before the program was patched, the
    # sleep of gevent or eventlet would start another hub.
    return is_systems if is_native() else not is_systems and _own_flavor.get() is flavor()
