"""Letting the program's threads run while a thread of ours has much to do."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType
from typing import Final, TypeVar

# What a thread of the program's waits for ours at most, but for a step that cannot be divided. Python itself takes the
# interpreter's lock from a busy thread after 5 ms only (`sys.getswitchinterval`, which is the program's to set).
_TURN_S: Final = 0.0003
# The shortest that is a pause: one of 0 seconds ends before the thread that waits for the lock wakes up.
_PAUSE_S: Final = 0.000_001
# Where the program computes without a pause of its own, each of ours takes the switch interval: with turns of a tenth of that
# we would send 500 records a second. A turn of half of what we waited for it leaves us a third of the lock.
_SHARE_OF_WAIT: Final = 0.5
_MAX_TURN_S: Final = 0.005

Item = TypeVar("Item")


def in_turns(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items, with a pause before one of them as often as we have had the interpreter's lock for a turn.

    Beside 1,000 records a second, one timer of an event loop in a hundred was late by 5 ms; with the pauses, by half a millisecond.
    They take 4 % of the background's time.
    """
    clock = time.perf_counter
    end = clock() + _TURN_S
    for item in items:
        now = clock()
        # gevent's and eventlet's own would start a hub in a thread of the system's.
        if now >= end and isinstance(time.sleep, BuiltinFunctionType):
            time.sleep(_PAUSE_S)
            resumed = clock()
            end = resumed + min(max((resumed - now) * _SHARE_OF_WAIT, _TURN_S), _MAX_TURN_S)
        yield item
