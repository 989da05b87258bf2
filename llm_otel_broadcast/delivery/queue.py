"""One destination's queue, bounded in bytes: the host's thread appends to it and never waits for a lock.

The books balance at any time: produced = delivered + dropped + left out + queued. What they count changes under the
queue's lock alone, together with what the queue holds.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from llm_otel_broadcast.delivery.ledger import Books
from llm_otel_broadcast.delivery.seams import Item, Record

_LOCK_TIMEOUT_S: Final = 1.0
_MAX_ARRIVALS: Final = 64
"""Records that may wait to be counted while the lock is free."""
_ARRIVALS_OF_BOUND: Final = 2_048
"""A record of more than this part of the bound is counted at once: what waits exceeds the bound by 3 % at most, for a moment."""


class RecordQueue:
    """Records that wait, and the count of those that the worker's thread has in hand.

    Args:
        books: those of the destination.
        max_bytes: what the queue may hold, by the records' own estimate.
        is_closed: take nothing.
    """

    def __init__(self, books: Books, max_bytes: int, *, is_closed: bool = False) -> None:
        self.books = books
        self.max_bytes = max_bytes
        self.is_closed = is_closed
        """What was left has been counted: whatever the thread still does comes too late for the books."""
        # Each with its size at hand-over: reading a body in the background adds to the record's own.
        self._records: deque[tuple[Record, int]] = deque()
        self._arrivals: deque[tuple[Record, int]] = deque()
        """Records that are neither counted nor held against the bound yet."""
        self._bytes = 0
        self._in_flight = 0
        self._in_flight_bytes = 0
        self.renew_lock()

    def renew_lock(self) -> None:
        """Take a lock of the kind that threads have now."""
        self._lock = threading.Lock()

    # -- the host's thread ------------------------------------------------------------------------------------------

    def enqueue(self, record: Record) -> int:
        """Take a finished record; return how many wait now.

        Never waits for a lock: this may run in a finalizer, anywhere in the host's code.
        """
        # Appending to a deque is one step. Whoever has the lock takes the arrivals in: mostly the worker's thread, as it comes for
        # them. Taking each in at once would cost the host's thread as much again as all that a destination takes of it.
        size, arrivals = record.size, self._arrivals
        arrivals.append((record, size))
        waiting = len(arrivals)
        if waiting >= _MAX_ARRIVALS or size * _ARRIVALS_OF_BOUND > self.max_bytes:
            lock = self._lock
            # By position: an argument by name takes as long as the lock.
            if lock.acquire(False):  # noqa: FBT003  # the lock's own signature
                try:
                    self._accept_arrivals()
                finally:
                    lock.release()
            waiting = len(arrivals)
        return waiting + len(self._records)

    def _accept_arrivals(self) -> None:
        arrivals, records, books = self._arrivals, self._records, self.books
        while arrivals:
            arrival = arrivals.popleft()
            # A record is counted where nothing of a signal handler's can come between.
            books.produced += 1
            size = arrival[1]
            if self.is_closed:
                books.drop("stopped", 1)
            elif size + self._in_flight_bytes > self.max_bytes:
                # No room could be made for it: what waits is not dropped in vain.
                books.drop("too_large" if size > self.max_bytes else "queue_full", 1)
            else:
                self._bytes += size
                records.append(arrival)
                while self._bytes + self._in_flight_bytes > self.max_bytes and records:
                    self._bytes -= records.popleft()[1]
                    books.drop("queue_full", 1)

    # -- any thread -------------------------------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock, which nobody else holds for long, and arrivals taken in.

        Where that takes too long, a signal handler has interrupted `enqueue` on this very thread: going on beats a deadlock.
        """
        lock = self._lock
        is_acquired = lock.acquire(timeout=_LOCK_TIMEOUT_S)
        if not is_acquired:
            # Or an exception of a signal handler's came between taking and giving back: nobody will give it back.
            self.renew_lock()
        try:
            self._accept_arrivals()
            yield
        finally:
            if is_acquired:
                lock.release()

    @contextmanager
    def locked_if_free(self) -> Iterator[bool]:
        """Hold the lock if nobody else does; False: somebody does. For a finalizer, which may run on top of the holder."""
        lock = self._lock
        is_acquired = lock.acquire(blocking=False)
        try:
            yield is_acquired
        finally:
            if is_acquired:
                lock.release()

    def pending(self) -> int:
        """Return how many records wait or are in hand."""
        with self.locked():
            return len(self._records) + self._in_flight

    def size(self) -> tuple[int, int]:
        """Return the records and the bytes that wait or are in hand. Under the lock."""
        return len(self._records) + self._in_flight, self._bytes + self._in_flight_bytes

    def close(self) -> tuple[int, int]:
        """Forget what is left; from here on the books do not change but for what is still put in. Under the lock.

        Returns:
            The records that waited, and those in hand.
        """
        waiting, in_flight = len(self._records), self._in_flight
        self.is_closed = True
        self._records.clear()
        self._bytes = self._in_flight = self._in_flight_bytes = 0
        return waiting, in_flight

    # -- the worker's thread ----------------------------------------------------------------------------------------

    def take(self, max_records: int, max_bytes: int) -> list[Item]:
        """Take the next batch in hand; a record of more than `max_bytes` is one by itself."""
        batch: list[Item] = []
        batch_bytes = 0
        # All under the lock: a flush that looked between queue and hand would find nothing left to do.
        with self.locked():
            while (
                self._records
                and len(batch) < max_records
                and (not batch or batch_bytes + self._records[0][1] <= max_bytes)
            ):
                record, size = self._records.popleft()
                batch.append(Item(record, size))
                batch_bytes += size
            self._bytes -= batch_bytes
            self._in_flight, self._in_flight_bytes = len(batch), batch_bytes
        return batch

    def end_batch(self) -> None:
        """Have nothing in hand any more."""
        with self.locked():
            self._in_flight = self._in_flight_bytes = 0

    def account(self, items: list[Item]) -> None:
        """Mark records in hand as accounted for in the books. Under the lock."""
        for item in items:
            item.is_accounted = True
        self._in_flight -= len(items)

    def put_back(self, items: list[Item]) -> None:
        """Have another thread take what is left of a batch in hand, before anything else. Under the lock."""
        rest = [item for item in items if not item.is_accounted]
        self._records.extendleft((item.record, item.size) for item in reversed(rest))
        self._bytes += sum(item.size for item in rest)
        self._in_flight = self._in_flight_bytes = 0
