"""Letting the program's threads run while a thread of ours has much to do."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from types import BuiltinFunctionType
from typing import Final, TypeVar

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

# Of the thread that runs: each has a context of its own, and so has a greenlet.
_own_flavor: ContextVar[object] = ContextVar("llm_otel_broadcast_thread_flavor", default=None)

Item = TypeVar("Item")


def begin_thread() -> None:
    """Note at the start of a thread of ours of which kind it is."""
    _own_flavor.set(flavor())


def in_turns(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items, with a pause before one of them as often as we have had the interpreter's lock for a turn.

    Beside 1,000 records a second, one timer of an event loop in a hundred was late by 5 ms; with the pauses, by 0.6. Greenlets of
    gevent's stood still for 30 ms at each batch, and now do for 3 at most. The pauses take 4 % of the background's time.
    """
    clock = time.perf_counter
    end = clock() + _TURN_S
    for item in items:
        now = clock()
        if now >= end and _can_pause():
            time.sleep(_PAUSE_S)
            resumed = clock()
            end = resumed + min(max((resumed - now) * _SHARE_OF_WAIT, _TURN_S), _MAX_TURN_S)
        yield item


def _can_pause() -> bool:
    """Return whether `time.sleep` lets the program run: it is of the same kind as the thread that calls it."""
    is_systems = isinstance(time.sleep, BuiltinFunctionType)
    # Greenlets stand still for as long as one of them works. In a thread that was started before the program was patched, the
    # sleep of gevent or eventlet would start another hub.
    return is_systems if is_native() else not is_systems and _own_flavor.get() is flavor()
