"""A queue and the thread that takes batches from it: started, rung, flushed, stopped, and replaced where it blocks.

The host's thread only appends to the queue and, at most once a batch, rings a bell; everything else is done here.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from queue import Empty
from typing import Final, Protocol, TypeAlias

from llm_otel_broadcast.delivery.ledger import UNANSWERED, Books
from llm_otel_broadcast.delivery.queue import RecordQueue
from llm_otel_broadcast.delivery.seams import Item, Record
from llm_otel_broadcast.delivery.watch import RenderingWatch, ReplacedError, last_rendering_timeout
from llm_otel_broadcast.delivery.worker_thread import WorkerThread
from llm_otel_broadcast.host.flag import Flag
from llm_otel_broadcast.host.green_threads import Mailbox, flavor, mailbox, wait_for_company
from llm_otel_broadcast.host.turns import in_turns

BATCH_RECORDS: Final = 512
# By estimate; once encoded they mostly fit into a request, which may have 4 MB.
_BATCH_BYTES: Final = 3_000_000
_CROWDED_RECORDS: Final = 2 * BATCH_RECORDS
_YIELD_EVERY_RECORDS: Final = 16
_YIELD_S: Final = 0.0002
# A ticket is looked after so often, as its thread may have died or have been replaced.
_POLL_INTERVAL_S: Final = 0.1
# Threads that are left behind, at most: each holds memory for good.
_MAX_REPLACED: Final = 8
Ticket: TypeAlias = "Mailbox[bool]"
"""Gets one answer, True when everything has been sent; a queue because waiting for it is safe in a signal handler."""


class BatchProcessor(Protocol):
    """What the thread does with what it takes from the queue."""

    @property
    def is_sending(self) -> bool:
        """Whether a request is under way."""

    def process(self, batch: list[Item]) -> None:
        """Account for each record of a batch."""

    def give_up(self, batch: list[Item], error: BaseException) -> None:
        """Account for those records of a batch that are left after an error."""

    def flush(self) -> bool:
        """Pass on what is still held back; False: that failed."""

    def close(self) -> None: ...


class Worker(ABC):
    """A bounded queue and its thread, which starts with the first record.

    Args:
        name: of the destination, in log and status.
        batch_delay: seconds to wait for more records after the first.
        max_bytes: what the queue may hold.
        closes: what it sends with has an end of its own, which a process must not leave out: an exporter.
    """

    def __init__(self, name: str, batch_delay: float, max_bytes: int, *, closes: bool = False) -> None:
        self.name = name
        self._closes = closes
        self._batch_delay = batch_delay
        self._begin(max_bytes, is_closed=False)

    @abstractmethod
    def _new_processor(self, stopping: Flag, hurried: Flag) -> BatchProcessor:
        """Return what a new thread works with.

        Args:
            stopping: set when it is to end.
            hurried: set by a flush.
        """

    def _leave(self, processor: BatchProcessor) -> None:
        """End what a thread has worked with, as one of another kind goes on."""
        processor.close()

    def _begin(self, max_bytes: int, *, is_closed: bool) -> None:
        """Make what a process needs of its own: locks, queue, bell, books, thread."""
        self._books = Books(self.name)
        self._queue = RecordQueue(self._books, max_bytes, is_closed=is_closed)
        self._make_thread()

    def _make_thread(self, predecessor: WorkerThread | None = None) -> None:
        """Make the thread, to go on after another one, and what it waits in, all of the kind that threads have now."""
        self._flavor = flavor()
        self._queue.renew_lock()
        self._bell: Mailbox[str | Ticket] = mailbox()
        self._is_rung = False
        self._hurried = Flag()
        self._stopping = Flag()
        self._watch = RenderingWatch(self._queue)
        self._processor = self._new_processor(self._stopping, self._hurried)
        self._replaced = 0
        self._last_rendering_timeout_s: float | None = None
        self._thread = self._new_thread(predecessor)

    def _new_thread(self, predecessor: WorkerThread | None = None) -> WorkerThread:
        return WorkerThread(f"llm-otel-broadcast {self.name}", self._run, predecessor)

    def _change_flavor(self) -> None:
        """Go on with a thread of the kind that threads have now; one of the former kind sends what it has in hand, and ends."""
        former, former_bell, was_stopping = self._thread, self._bell, self._stopping.is_set()
        self._make_thread(former)
        if was_stopping:
            self._stopping.set()
        # The former one sees that the bell is no longer its own; the new one may have records that it was not rung for.
        former_bell.put("record")
        self._bell.put("record")

    @property
    def max_bytes(self) -> int:
        """What the queue may hold; a change of settings shares the bytes out anew."""
        return self._queue.max_bytes

    @max_bytes.setter
    def max_bytes(self, max_bytes: int) -> None:
        self._queue.max_bytes = max_bytes

    # -- the host's thread ------------------------------------------------------------------------------------------

    def enqueue(self, record: Record) -> bool:
        """Take a finished record; return whether there is a thread, of whatever kind, that is to take it further.

        Never waits for a lock: this may run in a finalizer, anywhere in the host's code.
        """
        waiting = self._queue.enqueue(record)
        # Once a batch: waking a thread costs more than all else here. A race rings twice at worst, which does no harm.
        if not self._is_rung:
            self._is_rung = True
            self._bell.put("record")
        # No timer of ours watches the thread: the host's next record does.
        if self._watch.current is not None:
            self._replace_blocked()
        if waiting >= BATCH_RECORDS:
            if waiting == BATCH_RECORDS:
                self._bell.put("full")
            if waiting >= _CROWDED_RECORDS and not waiting % _YIELD_EVERY_RECORDS and not self._books.failing:
                # A host that computes without pause starves our thread of the GIL.
                time.sleep(_YIELD_S)
        return self._thread.running.locked()

    def start(self) -> None:
        """Start the thread unless it runs, or is of another kind than threads are now."""
        if self._flavor is not flavor():
            self._change_flavor()
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether the thread runs."""
        return self._thread.running.locked() and self._flavor is flavor()

    # -- flushing and stopping --------------------------------------------------------------------------------------

    def hurry(self) -> Ticket:
        """Have the thread send what it has without waiting for more; `wait` for what is returned."""
        if self._flavor is not flavor():
            self._change_flavor()
        ticket: Ticket = mailbox()
        # The bell for a thread that waits for records, the event for one that waits to try again.
        self._bell.put(ticket)
        self._hurried.set()
        return ticket

    def wait(self, ticket: Ticket, deadline: float) -> bool:
        """Wait until all that was queued when `hurry` gave the ticket has been sent; False: the deadline came first.

        Args:
            ticket: from `hurry`.
            deadline: monotonic.
        """
        thread = self._thread
        while self.is_running or self._queue.pending():
            # Not running, but something waits: the thread is just being started, has died, or could not be started yet.
            self._thread.start()
            self._replace_blocked()
            if self._thread is not thread:
                # The thread that had the ticket does not answer any more.
                thread = self._thread
                self._bell.put(ticket)
            remaining_s = deadline - time.monotonic()
            try:
                return ticket.get(timeout=max(0.0, min(remaining_s, _POLL_INTERVAL_S)))
            except Empty:
                if remaining_s <= 0:
                    return False
        return True

    def end(self, deadline: float) -> None:
        """At the end of the process, send what is queued until the deadline (monotonic).

        Stop then, unless what comes later can still be sent.
        """
        self._last_rendering_timeout_s = last_rendering_timeout(deadline)
        self.wait(self.hurry(), deadline)
        if self._closes or self._queue.pending():
            self.stop(deadline)
        else:
            self._books.log_drops(is_last=True)

    def stop(self, deadline: float) -> None:
        """Send what is queued until the deadline (monotonic); count the rest as dropped."""
        self._last_rendering_timeout_s = last_rendering_timeout(deadline)
        self.wait(self.hurry(), deadline)
        self._stopping.set()
        # The thread may be waiting for records, and has to see that it is to end.
        self.hurry()
        # Not for longer than the deadline: a request that hangs is left to the daemon thread.
        self._thread.join(deadline)
        queue = self._queue
        with queue.locked():
            waiting, in_flight = queue.close()
            # Of a request that is out nobody knows whether it has arrived: not the same as never sent.
            unanswered = in_flight if self._processor.is_sending else 0
            for reason, count in (("stopped", waiting + in_flight - unanswered), (UNANSWERED, unanswered)):
                if count:
                    self._books.drop(reason, count)
        self._books.log_drops(is_last=True)

    def after_fork(self) -> None:
        """In a child: the queue's content stays with the parent, the thread is not there, the books begin anew."""
        self._begin(self._queue.max_bytes, is_closed=self._queue.is_closed)

    # -- the worker's thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        bell, stopping, processor = self._bell, self._stopping, self._processor
        while not stopping.is_set():
            rings: list[str | Ticket] = [bell.get()]
            # A flush, and a full batch, wait for nobody.
            if rings[0] == "record" and self._batch_delay and not stopping.is_set():
                wait_for_company(bell, rings, self._batch_delay)
            # A thread of another kind goes on: who waits for an answer asks that one.
            if bell is not self._bell:
                for ticket in (ring for ring in rings if not isinstance(ring, str)):
                    ticket.put(False)  # noqa: FBT003  # the queue's own signature
                self._leave(processor)
                return
            # Before what it asks for is taken from the queue: a flush that comes from here on sets it again.
            self._hurried.clear()
            while not bell.empty():
                rings.append(bell.get())
            # From here on `enqueue` rings again; what it appended before is sent in this round.
            self._is_rung = False
            tickets = [ring for ring in rings if not isinstance(ring, str)]
            try:
                self._drain(is_flush=bool(tickets))
            except ReplacedError:
                return
            # What was queued when they were given has been sent, or could not be; later records may be among it.
            if tickets:
                is_flushed = processor.flush() and not self._queue.pending()
                for ticket in tickets:
                    ticket.put(is_flushed)
        processor.close()

    def _drain(self, *, is_flush: bool) -> None:
        """Send what is queued; in a flush until nothing is left, else what comes meanwhile is company for what comes later.

        Sent as well, each batch would have a tail of three smaller ones, which come while the former one is sent.
        """
        processor = self._processor
        due = self._queue.pending()
        # What comes while a batch takes longer has waited for company long enough.
        company_until = time.monotonic() + self._batch_delay
        while batch := self._queue.take(BATCH_RECORDS, _BATCH_BYTES):
            size = len(batch)
            self._books.log_drops()
            try:
                processor.process(batch)
            except ReplacedError:
                raise
            except BaseException as error:  # noqa: BLE001  # the thread must outlive any fault of an encoder or exporter
                processor.give_up(batch, error)
            self._queue.end_batch()
            # One by one: to let go of all of them at once takes a millisecond in which nothing else runs.
            for _ in in_turns(range(size)):
                batch.pop()
            # What is left in the queue is counted by `stop`.
            if self._stopping.is_set():
                return
            due -= size
            if due <= 0 and not is_flush and time.monotonic() < company_until:
                break
        self._books.log_drops()

    def _replace_blocked(self) -> None:
        """Have another thread go on where this one has been at one record for too long: what it holds blocks."""
        rendering = self._watch.blocked(self._last_rendering_timeout_s)
        if rendering is None or self._replaced >= _MAX_REPLACED:
            return
        # Not waiting: this may run in a finalizer on top of whoever holds it, and comes again.
        with self._queue.locked_if_free() as is_locked:
            if not is_locked or not self._watch.leave(rendering, self._thread.ident or 0):
                return
            self._replaced += 1
            self._thread = self._new_thread()
        self._thread.start()
        self._bell.put("record")
