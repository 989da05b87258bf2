"""Watching how long a worker's thread is at one record: what renders it calls objects and functions of the program's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias, TypeVar

from llm_otel_broadcast.delivery.queue import RecordQueue
from llm_otel_broadcast.delivery.seams import Item, LeftOut, Unreadable, Withdrawn
from llm_otel_broadcast.host.blocked_objects import objects
from llm_otel_broadcast.host.turns import in_turns

# Rendering takes microseconds to milliseconds; a thread that is at one record for so long waits for something.
_TIMEOUT_S: Final = 10.0
# When the process ends, one record must leave time for those behind it.
_MIN_LAST_TIMEOUT_S: Final = 1.0
_LAST_TIMEOUT_SHARE: Final = 1 / 3
# A thread that seems to be blocked may have been frozen with the whole process, and goes on by itself once that is thawed.
_GRACE_S: Final = 0.5
BLOCKED: Final = "a function or an object of the program's blocks while a record is rendered"

Value = TypeVar("Value")
Unsent: TypeAlias = LeftOut | Unreadable | Withdrawn
"""Why a record is not sent."""


def last_rendering_timeout(deadline: float) -> float:
    """Return the seconds that one record may take in a process that ends at the deadline (monotonic)."""
    # A share of what is left: where a program gives its end a minute, as one on a busy machine may have to, a record that is
    # merely slow is not taken for one that blocks.
    share_s = (deadline - time.monotonic()) * _LAST_TIMEOUT_SHARE
    return min(_TIMEOUT_S, max(_MIN_LAST_TIMEOUT_S, share_s))


class ReplacedError(Exception):
    """Ends a thread that another one has been started for."""


class RecordInHand(NamedTuple):
    """What a thread is at; compared by identity.

    Attributes:
        item: the record.
        batch: those that were taken with it.
        since: when it began (monotonic).
        claim: has one entry, which goes to whoever takes it first: the thread as it ends the record, or the one that replaces it.
    """

    item: Item
    batch: list[Item]
    since: float
    claim: list[None]


class RenderingWatch:
    """Knows the record that the thread is at, so that another thread can go on where it blocks."""

    def __init__(self, queue: RecordQueue) -> None:
        self._queue = queue
        self.current: RecordInHand | None = None
        self._suspect: RecordInHand | None = None
        self._suspected_since = 0.0

    def render_each(self, batch: list[Item], render: Callable[[Item], Unsent | None]) -> list[Item]:
        """Render a batch record by record; return those that are to be sent. The others are accounted for.

        Args:
            batch: what was taken from the queue.
            render: returns why a record is not sent; None: it is.

        Raises:
            ReplacedError: it took too long, and another thread has gone on with the rest.
        """
        rendered = []
        for item in in_turns(batch):
            unsent = self.render(item, batch, render)
            if unsent is None:
                rendered.append(item)
                continue
            with self._queue.locked():
                if not self._queue.is_closed:
                    self._queue.account([item])
                    self._queue.books.note_unsent(unsent)
        # Not under the lock: a log handler of the program's may take its time.
        self._queue.books.log_drops()
        return rendered

    def render(self, item: Item, batch: list[Item], work: Callable[[Item], Value]) -> Value:
        """Do something with one record that may call objects and functions of the program's; return what it returns.

        Args:
            item: the record.
            batch: what was taken from the queue with it.
            work: does it.

        Raises:
            ReplacedError: it took too long, and another thread has gone on with what is left of the batch.
        """
        # A new object each time: whoever finds another one here knows that this thread has been replaced.
        rendering = self.current = RecordInHand(item, batch, time.monotonic(), [None])
        try:
            return work(item)
        finally:
            try:
                # One step, and no lock, which would take two microseconds for each record.
                rendering.claim.pop()
            except IndexError:
                # The record has been accounted for, or put back, by the thread that replaced this one.
                raise ReplacedError from None
            self.current = None

    def blocked(self, last_timeout_s: float | None) -> RecordInHand | None:
        """Return what the thread is at if that takes too long, at the second look.

        Args:
            last_timeout_s: how long it may take in a process that is about to end; None: it is not.
        """
        rendering, now = self.current, time.monotonic()
        timeout_s = _TIMEOUT_S if last_timeout_s is None else last_timeout_s
        if rendering is None or now - rendering.since <= timeout_s:
            return None
        # The clock goes on while a process is frozen: only who looks twice knows that the thread could have run meanwhile.
        if self._suspect is not rendering:
            self._suspect, self._suspected_since = rendering, now
        return rendering if last_timeout_s is not None or now - self._suspected_since >= _GRACE_S else None

    def leave(self, rendering: RecordInHand, thread: int) -> bool:
        """Leave the thread to what it waits for, and put back what it had in hand. Under the queue's lock.

        Returns:
            False: it waits no more.
        """
        try:
            rendering.claim.pop()
        except IndexError:
            return False
        self.current = None
        # Without the object that blocks, the record can be rendered after all.
        if not objects.give_up(thread):
            self._queue.account([rendering.item])
            self._queue.books.drop("unreadable", 1, BLOCKED)
        self._queue.put_back(rendering.batch)
        return True
