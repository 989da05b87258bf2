"""Encoded requests of one destination that wait to be posted: in memory while it works, on disk while it does not.

With a spool the lane's thread only renders and encodes, and a thread of the outbox's posts: however long a server takes, what is
recorded meanwhile gets to disk, and so does what is left at the end of the process. Records in here count as `spooled`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from llm_otel_broadcast.delivery.ledger import UNANSWERED
from llm_otel_broadcast.delivery.queue import RecordQueue
from llm_otel_broadcast.host.guard import or_else
from llm_otel_broadcast.host.logs import own
from llm_otel_broadcast.spool.directory import SpoolError
from llm_otel_broadcast.spool.shelf import Shelf
from llm_otel_broadcast.spool.store import StoredBody
from llm_otel_broadcast.wire.exchange import Body

Value = TypeVar("Value")
# In memory, while the destination works: what is posted next, while one is out.
_MAX_WAITING: Final = 2
_MAX_WAITING_BYTES: Final = 8_000_000
_POLL_INTERVAL_S: Final = 0.01


@dataclass(slots=True, eq=False)
class Pending:
    """A body in hand or in memory.

    Attributes:
        body: what is posted.
        records: how many records it carries.
        stored: its place on disk; None: it is in memory alone.
        is_own: its records are of this lane.
        is_storing: somebody puts it on disk, or has.
        is_settled: its records are counted as delivered or dropped.
        failed_since: when it failed first (monotonic); 0: it has not.
    """

    body: Body[bytes]
    records: int
    stored: StoredBody | None = None
    is_own: bool = True
    is_storing: bool = False
    is_settled: bool = False
    failed_since: float = 0.0


def _attempt(action: Callable[[], Value]) -> Value:
    """Do something with the disk, once more if it fails: other processes may have been at it for too long."""
    try:
        return action()
    except SpoolError:
        return action()


class Outbox:
    """What waits for one destination. Several threads use it; the lock of the lane's queue guards it.

    Args:
        queue: of the lane, with its books.
        shelf: the destination's part of the spool.
        is_durable: a body is on disk before it is posted.
    """

    def __init__(self, queue: RecordQueue, shelf: Shelf, *, is_durable: bool) -> None:
        self._queue = queue
        self._books = queue.books
        self.shelf = shelf
        self._is_durable = is_durable
        self._memory: deque[Pending] = deque()
        self._in_hand: Pending | None = None
        self._leaving: list[Pending] = []
        """What the end of the process is putting on disk."""
        self._storing: list[Pending] = []
        """What threads are putting on disk at the moment."""
        self._own_rows: set[int] = set()
        """Bodies of this lane on disk. Other processes may have sent them: the poster's thread asks the disk now and then."""
        self.is_troubled = False
        """The destination has not taken the last body: what comes goes to disk."""
        self.is_closing = False
        """Nothing is posted any more: what comes goes to disk."""
        self.has_backlog = True
        """Something may lie on disk."""
        shelf.watch(self._note_loss)

    # -- the lane's thread ------------------------------------------------------------------------------------------

    def take(self, body: Body[bytes], records: int) -> None:
        """Take a body over, whose records the books have as spooled.

        Waits for the disk alone; where that cannot be used the memory is bounded.
        """
        pending = Pending(body, records)
        with self._queue.locked():
            is_full = len(self._memory) >= _MAX_WAITING or len(body.content) + self._bytes() > _MAX_WAITING_BYTES
            if not (is_full or self._is_durable or self.is_troubled or self.is_closing):
                self._memory.append(pending)
                return
        # Whatever the disk does, the body is somewhere.
        if not or_else(lambda: self.store(pending), default=False):
            self.keep(pending)

    def _bytes(self) -> int:
        return sum(len(pending.body.content) for pending in self._memory)

    # -- any thread -------------------------------------------------------------------------------------------------

    def store(self, pending: Pending) -> bool:
        """Put a body on disk, once; False: the disk cannot be used."""
        with self._queue.locked():
            if pending.is_storing or pending.is_settled:
                return True
            pending.is_storing = True
            self._storing.append(pending)
        number = 0
        try:
            number = _attempt(lambda: self.shelf.add(pending.body, pending.records))
        except SpoolError:
            return False
        finally:
            with self._queue.locked():
                self._storing.remove(pending)
                pending.is_storing = number > 0
                if number:
                    pending.stored = StoredBody(number, self.shelf.owner, pending.records, pending.body)
                    self._own_rows.add(number)
                    self.has_backlog = True
        return True

    def keep(self, pending: Pending, *, is_first: bool = False) -> None:
        """Hold a body in memory that the disk does not take, within what the lane's queue may hold in all.

        Args:
            pending: the body.
            is_first: it is the next to be posted.
        """
        with self._queue.locked():
            if is_first:
                self._memory.appendleft(pending)
            else:
                self._memory.append(pending)
            room = self._queue.max_bytes - self._queue.size()[1]
            while len(self._memory) > 1 and self._bytes() > room:
                oldest = self._memory.popleft()
                if self.settle(oldest):
                    self._books.drop("queue_full", oldest.records)
        self._books.log_drops()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in memory, in hand, or on its way to the disk."""
        with self._queue.locked():
            return not (self._memory or self._in_hand or self._storing)

    @property
    def is_delivered(self) -> bool:
        """Whether nothing of this lane's waits anywhere, as far as is known. Does not ask the disk, which may take its time."""
        return self.is_empty and not self._own_rows and not self.shelf.store.has_leftovers

    def save(self, deadline: float) -> None:
        """Put on disk what is in memory, until the deadline (monotonic). What that does not take is counted as dropped."""
        with self._queue.locked():
            in_hand = self._in_hand
            # And what a call of this that was interrupted by a signal, whose handler is here now, has not stored yet.
            self._leaving += [*self._memory, *self._storing]
            self._memory.clear()
            rest = [pending for pending in (in_hand, *self._leaving) if pending and pending.stored is None]
        if not rest:
            return

        def store() -> None:
            for pending in rest:
                # Whether a request that is out has arrived is not known: it may arrive twice.
                self.store(pending)

        # A disk that hangs must not hold up the end of the process.
        thread = threading.Thread(target=own(store), name="llm-otel-broadcast saving", daemon=True)
        try:
            thread.start()
            thread.join(max(0.0, deadline - time.monotonic()))
        except RuntimeError:
            # No thread can be started any more: the interpreter ends.
            store()
        # Another thread may be at one of them.
        while self._storing and time.monotonic() < deadline:
            time.sleep(_POLL_INTERVAL_S)
        with self._queue.locked():
            self._leaving.clear()
            for pending in rest:
                if pending.stored is None and self.settle(pending):
                    is_unknown = pending is in_hand or pending.is_storing
                    self._books.drop(UNANSWERED if is_unknown else "stopped", pending.records)
        self._books.log_drops()

    def settle(self, pending: Pending) -> bool:
        """Take a body's records out of what is spooled, once; False: that has been done, or they are not of this lane. Under the lock."""
        if pending.is_settled or not pending.is_own:
            return False
        pending.is_settled = True
        self._books.spooled -= pending.records
        return True

    def _note_loss(self, reason: str, records: int) -> None:
        """Note that the spool has removed what lay there too long, or had no room for."""
        with self._queue.locked():
            self._books.spooled -= records
            self._books.drop(reason, records)
        self._books.log_drops()

    # -- the poster's thread ----------------------------------------------------------------------------------------

    def next_in_memory(self) -> Pending | None:
        """Take the oldest body in memory in hand."""
        with self._queue.locked():
            self._in_hand = self._memory.popleft() if self._memory else None
            return self._in_hand

    def next_on_disk(self) -> Pending | None:
        """Take the oldest body on disk in hand; None: there is none that may be sent now."""
        # Not opened, and so not made, before there is something to store.
        if not self.shelf.exists:
            self.has_backlog = False
            return None
        try:
            stored = self.shelf.claim()
            self.has_backlog = stored is not None or self.shelf.count() > 0
        except SpoolError:
            self.has_backlog = True
            return None
        if stored is None:
            return None
        with self._queue.locked():
            self._in_hand = Pending(
                stored.body, stored.records, stored, stored.owner == self.shelf.owner, is_storing=True
            )
            return self._in_hand

    def note_sent_by_others(self) -> None:
        """Ask the disk which bodies of this lane other processes have sent, or have removed."""
        with self._queue.locked():
            rows = self._own_rows.copy()
        if rows:
            with suppress(SpoolError):
                rows -= self.shelf.own_rows()
                with self._queue.locked():
                    self._own_rows -= rows

    def let_go(self) -> None:
        """Have nothing in hand any more."""
        with self._queue.locked():
            self._in_hand = None

    def put_off(self, pending: Pending, pause_s: float) -> bool:
        """Keep a body for later: on disk if that is possible. False: it is neither there nor in memory.

        Args:
            pending: the body.
            pause_s: for how many seconds no process is to send to this destination.
        """
        self.is_troubled = True
        is_stored = pending.stored is not None or self.store(pending)
        with suppress(SpoolError):
            if pending.stored is not None:
                self.shelf.release(pending.stored.id)
            self.shelf.pause(pause_s)
        return is_stored

    def note_works(self) -> None:
        """Note that the destination takes bodies."""
        if self.is_troubled:
            self.is_troubled = False
            self.end_pause()

    def end_pause(self) -> None:
        """Let all processes send to the destination now."""
        with suppress(SpoolError):
            self.shelf.pause(0.0)

    def remove(self, pending: Pending) -> None:
        """Forget a body that was delivered or is given up."""
        if pending.stored is not None:
            # The store removes it later, and does not give it out again meanwhile.
            stored = pending.stored
            try:
                _attempt(lambda: self.shelf.remove(stored.id))
            except SpoolError:
                self.has_backlog = True
            with self._queue.locked():
                self._own_rows.discard(stored.id)

    def replace(self, pending: Pending, parts: list[tuple[Body[bytes], int]]) -> None:
        """Put smaller bodies in the place of one, each with the number of its records."""
        if pending.stored is not None:
            # If the disk refuses, the body is there as it was once its claim is over.
            with suppress(SpoolError):
                rows = self.shelf.replace(pending.stored, *parts)
                self.has_backlog = True
                if pending.is_own:
                    with self._queue.locked():
                        self._own_rows.discard(pending.stored.id)
                        self._own_rows.update(rows)
            return
        with self._queue.locked():
            self._memory.extendleft(Pending(body, records) for body, records in reversed(parts))
