"""Letting the program's threads run while a thread of ours has much to do."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

_TURN_S: Final = 0.001
# Any pause gives the interpreter's lock away for long enough that a thread which waits for it wakes up: one of 0 seconds is
# over before.
_PAUSE_S: Final = 0.000_001

Item = TypeVar("Item")


def in_turns(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items, with a pause between two of them once a millisecond.

    Python takes the interpreter's lock from a busy thread after five milliseconds only (`sys.getswitchinterval`, which is the
    program's to set). An event loop that answers a request waits for it at each of its steps.
    """
    began = time.perf_counter()
    for item in items:
        if time.perf_counter() - began > _TURN_S:
            time.sleep(_PAUSE_S)
            began = time.perf_counter()
        yield item
