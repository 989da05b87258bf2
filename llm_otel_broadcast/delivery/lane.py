"""One destination's bounded queue and its thread.

The host's thread only appends to a queue and, at most once a batch, rings a bell; everything else is done here. The
books balance at any time: produced = delivered + dropped + left out + queued.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Final, TypeAlias

from llm_otel_broadcast.delivery.ledger import UNANSWERED, Books, DestinationStatus
from llm_otel_broadcast.delivery.rendering import BLOCKED, Rendering, ReplacedError, render, shrink
from llm_otel_broadcast.delivery.retry import Retrying, close_transport, flush_transport
from llm_otel_broadcast.delivery.seams import Item, LaneParts, Outcome, Record
from llm_otel_broadcast.delivery.sent_spans import SentSpans
from llm_otel_broadcast.delivery.worker import Worker
from llm_otel_broadcast.host.blocked_objects import objects
from llm_otel_broadcast.host.forks import importing
from llm_otel_broadcast.host.green_threads import Mailbox, flavor, mailbox, wait_for_company

BATCH: Final = 512
# by estimate; once encoded they mostly fit into a request, which may have 4 MB
_BATCH_BYTES: Final = 3_000_000
_CROWDED: Final = 2 * BATCH
_EVERY: Final = 16
_BREATH: Final = 0.0002
_PATIENCE: Final = 1.0
# reasons that say nothing of the destination
_OF_RECORDS: Final = frozenset({"stopped", "too_large", "unreadable"})
# threads of a lane that are left behind, at most: each holds memory for good
_MAX_REPLACED: Final = 8
Ticket: TypeAlias = "Mailbox[bool]"
"""Gets one answer, True when everything has been sent; a queue because waiting for it is safe in a signal handler."""


class Lane:
    """Queue and thread of one destination."""

    def __init__(
        self,
        name: str,
        batch_delay: float,
        max_bytes: int,
        parts: Callable[[], LaneParts],
        enclosing_spans: SentSpans | None = None,
        *,
        closes: bool = False,
    ) -> None:
        self.name = name
        # what it sends with has an end of its own, which a process must not leave out: an exporter
        self._closes = closes
        self._batch_delay = batch_delay
        self.max_bytes = max_bytes
        self._make_parts = parts
        self.enclosing_spans = SentSpans() if enclosing_spans is None else enclosing_spans
        """What the destination has already; a lane that takes over from another for the same place goes on with its book."""
        self._closed = False
        """`stop` has counted what was left: whatever the thread still does comes too late for the books."""
        self._fresh()

    def _fresh(self) -> None:
        """Make what a process needs of its own: locks, queue, bell, books, thread."""
        self._books = Books(self.name)
        self._queue: deque[tuple[Record, int]] = deque()  # with the size at hand-over: late reading adds to it
        self._strays: deque[Record] = deque()
        self._bytes = 0
        self._in_flight = 0
        self._in_flight_bytes = 0
        self._parts: LaneParts | None = None
        self._make_thread()

    def _make_thread(self, before: Worker | None = None) -> None:
        """Make the thread, to go on after `before`, and what it waits in, all of the kind that threads have now."""
        self._flavor = flavor()
        self._lock = threading.Lock()
        self._bell: Mailbox[str | Ticket] = mailbox()
        self._rung = False
        self._hurried = threading.Event()
        self._stopping = threading.Event()
        self._retrying = Retrying(self._books, self._stopping, self._hurried)
        self._rendering: Rendering | None = None
        self._replaced = 0
        self._ends = False
        self._worker = self._new_worker(before)

    def _new_worker(self, before: Worker | None = None) -> Worker:
        return Worker(f"llm-otel-broadcast {self.name}", self._run, before)

    def _change_flavor(self) -> None:
        """Go on with a thread of the kind that threads have now; one of the former kind sends what it has in hand, and ends."""
        worker, bell, was_stopping = self._worker, self._bell, self._stopping.is_set()
        self._make_thread(worker)
        if was_stopping:
            self._stopping.set()
        bell.put("record")
        self._bell.put("record")

    # -- the host's thread ------------------------------------------------------------------------------------------

    def put(self, record: Record) -> None:
        """Take a finished record. Never waits for a lock: this may run in a finalizer, anywhere in the host's code."""
        self._strays.append(record)
        lock = self._lock
        if lock.acquire(blocking=False):
            try:
                while self._strays:
                    self._accept(self._strays.popleft())
            finally:
                lock.release()
        if not self._rung:
            self._rung = True
            self._bell.put("record")
        if self._rendering is not None:
            self._replace_blocked()
        waiting = len(self._queue)
        if waiting == BATCH:
            self._bell.put("full")
        if waiting >= _CROWDED and not waiting % _EVERY and not self._books.failing:
            # a host that computes without pause starves the lane's thread of the GIL (performance, case 9)
            time.sleep(_BREATH)

    def _accept(self, record: Record) -> None:
        # first, as a signal handler may raise while it is worked out: a record is counted where nothing can come between
        size, books = record.size, self._books
        books.produced += 1
        if self._closed:
            books.drop("stopped", 1)
            return
        if size + self._in_flight_bytes > self.max_bytes:
            # no room could be made for it: what waits is not dropped in vain
            books.drop("too_large" if size > self.max_bytes else "queue_full", 1)
            return
        self._bytes += size
        self._queue.append((record, size))
        while self._bytes + self._in_flight_bytes > self.max_bytes and self._queue:
            self._bytes -= self._queue.popleft()[1]
            books.drop("queue_full", 1)

    def start(self) -> None:
        """Start the thread unless it runs, or is of another kind than threads are now."""
        if self._flavor is not flavor():
            self._change_flavor()
        self._worker.start()

    @property
    def is_running(self) -> bool:
        """Whether the thread runs."""
        return self._worker.is_running and self._flavor is flavor()

    # -- flushing and stopping --------------------------------------------------------------------------------------

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the lock, which nobody else holds for long, and strays taken in.

        Where that takes too long, a signal handler has interrupted `put` on this very thread: going on beats a deadlock.
        """
        lock = self._lock
        got = lock.acquire(timeout=_PATIENCE)
        if not got:
            # or an exception of a signal handler's came between taking and giving back: nobody will give it back
            self._lock = threading.Lock()
        try:
            while self._strays:
                self._accept(self._strays.popleft())
            yield
        finally:
            if got:
                lock.release()

    def hurry(self) -> Ticket:
        """Have the thread send what it has without waiting for more; `wait` for what is returned."""
        if self._flavor is not flavor():
            self._change_flavor()
        ticket: Ticket = mailbox()
        self._bell.put(ticket)
        self._hurried.set()
        return ticket

    def wait(self, ticket: Ticket, deadline: float) -> bool:
        """Wait until all that was queued when `hurry` gave the ticket has been sent; False: the deadline came first."""
        worker = self._worker
        while self.is_running or self._waiting():
            # not running, but something waits: the thread is just being started, has died, or could not be started before
            self._worker.start()
            self._replace_blocked()
            if self._worker is not worker:
                # the thread that had the ticket does not answer any more
                worker = self._worker
                self._bell.put(ticket)
            left = deadline - time.monotonic()
            try:
                return ticket.get(timeout=max(0.0, min(left, 0.1)))
            except Empty:
                if left <= 0:
                    return False
        return True

    def _waiting(self) -> int:
        with self._held():
            return len(self._queue) + self._in_flight

    def end(self, deadline: float) -> None:
        """At the end of the process, send what is queued until the deadline, and stop unless what comes later can be sent."""
        self._ends = True
        self.wait(self.hurry(), deadline)
        if self._closes or self._waiting():
            self.stop(deadline)

    def stop(self, deadline: float) -> None:
        """Send what is queued until the deadline (monotonic); count the rest as dropped."""
        self._ends = True
        self.wait(self.hurry(), deadline)
        self._stopping.set()
        self.hurry()
        self._worker.join(deadline)
        with self._held():
            unanswered = self._in_flight if self._retrying.is_sending else 0
            left = len(self._queue) + self._in_flight - unanswered
            self._closed = True
            self._queue.clear()
            self._bytes = self._in_flight = self._in_flight_bytes = 0
            for reason, count in (("stopped", left), (UNANSWERED, unanswered)):
                if count:
                    self._books.drop(reason, count)
        self._books.say()

    def after_fork(self) -> None:
        """In a child: the queue's content stays with the parent, the thread is not there, the books begin anew."""
        self._fresh()

    def status(self) -> DestinationStatus:
        self._replace_blocked()
        parts = self._parts
        withheld = 0 if parts is None else parts.withheld()
        with self._held():
            return self._books.status(len(self._queue) + self._in_flight, self._bytes + self._in_flight_bytes, withheld)

    # -- the lane's thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        bell, stopping = self._bell, self._stopping
        while not stopping.is_set():
            rung: list[str | Ticket] = [bell.get()]
            if rung[0] == "record" and self._batch_delay and not stopping.is_set():
                wait_for_company(bell, rung, self._batch_delay)
            if bell is not self._bell:
                self._make_way(rung)
                return
            self._hurried.clear()
            while not bell.empty():
                rung.append(bell.get())
            self._rung = False  # from here on `put` rings again; what it appended before is sent in this round
            try:
                self._drain()
            except ReplacedError:
                return
            tickets = [one for one in rung if not isinstance(one, str)]
            if tickets:
                done = flush_transport(self._parts, self._books) and not self._waiting()
                for ticket in tickets:
                    ticket.put(done)
        close_transport(self._parts, self._books)

    def _make_way(self, rung: list[str | Ticket]) -> None:
        """End, as a thread of another kind goes on, with connections of its own; who waits for an answer asks that one."""
        for ticket in (waiting for waiting in rung if not isinstance(waiting, str)):
            ticket.put(False)  # noqa: FBT003  # the queue's own signature
        if not self._closes:
            close_transport(self._parts, self._books)
            self._parts = None

    def _drain(self) -> None:
        while items := self._take():
            try:
                self._send(items)
            except ReplacedError:
                raise
            except BaseException as error:  # noqa: BLE001  # the thread must outlive any fault of an encoder or exporter
                left = [item for item in items if not item.done]
                self._give_up(left, "internal_error", f"sending failed ({type(error).__name__})", error)
            with self._held():
                self._in_flight = self._in_flight_bytes = 0
            if self._stopping.is_set():
                return

    def _take(self) -> list[Item]:
        taken: list[Item] = []
        size = 0
        with self._held():
            while self._queue and len(taken) < BATCH and (not taken or size + self._queue[0][1] <= _BATCH_BYTES):
                record, held = self._queue.popleft()
                taken.append(Item(record, held))
                size += held
            self._bytes -= size
            self._in_flight, self._in_flight_bytes = len(taken), size
        self._books.say()
        return taken

    def _send(self, items: list[Item]) -> None:
        if self._parts is None:
            with importing:
                self._parts = self._make_parts()
        parts, worker = self._parts, self._worker
        ready = []
        for item in items:
            self._rendering = Rendering(item, items, time.monotonic())
            unsent = render(parts, self.enclosing_spans, item)
            with self._held():
                self._rendering = None
                if self._worker is not worker:
                    raise ReplacedError
                if unsent is None:
                    ready.append(item)
                elif not self._closed:
                    self._settle([item])
                    self._books.note_unsent(unsent)
        self._books.say()
        if ready:
            self._deliver(parts, ready)

    def _replace_blocked(self) -> None:
        """Have another thread go on where this one has been at one record for too long: what it holds blocks."""
        rendering = self._rendering
        if rendering is None or not rendering.is_blocked(ends=self._ends) or self._replaced >= _MAX_REPLACED:
            return
        # Not waiting: this may run in a finalizer on top of whoever holds it, and comes again.
        lock = self._lock
        if not lock.acquire(blocking=False):
            return
        try:
            if self._rendering is not rendering:
                return
            self._leave_blocked(rendering)
        finally:
            lock.release()
        self._worker.start()
        self._bell.put("record")

    def _leave_blocked(self, rendering: Rendering) -> None:
        self._rendering, self._replaced = None, self._replaced + 1
        # Without the object that blocks, the record can be rendered after all.
        if not objects.give_up(self._worker.ident or 0):
            self._settle([rendering.item])
            self._books.drop("unreadable", 1, BLOCKED)
        left = [item for item in rendering.items if not item.done]
        self._queue.extendleft((item.record, item.size) for item in reversed(left))
        self._bytes += sum(item.size for item in left)
        self._in_flight = self._in_flight_bytes = 0
        self._worker = self._new_worker()

    def _deliver(self, parts: LaneParts, items: list[Item]) -> None:
        enclosing_spans = self.enclosing_spans.missing(
            enclosing_span for item in items for enclosing_span in item.enclosing_spans
        )
        spans = [*(span for item in items for span in item.spans), *enclosing_spans.values()]
        outcome = self._retrying.send(parts, spans, len(items))
        if outcome is None:
            self._give_up(items, "stopped", "")
        elif outcome.kind == "ok":
            self._succeed(items, outcome)
            if not outcome.rejected:
                self.enclosing_spans.remember(enclosing_spans)
        elif outcome.kind == "too_large" and len(items) > 1:
            middle = len(items) // 2
            self._deliver(parts, items[:middle])
            self._deliver(parts, items[middle:])
        elif outcome.kind == "too_large" and shrink(parts, items[0]):
            self._deliver(parts, items)
        else:
            self._give_up(items, "retries_exhausted" if outcome.kind == "retry" else outcome.kind, outcome.message)

    def _succeed(self, items: list[Item], outcome: Outcome) -> None:
        with self._held():
            if self._closed:
                return
            self._settle(items)
            self._books.note_sent(len(items), outcome)
        self._books.succeeded()
        self._books.say()

    def _settle(self, items: list[Item]) -> None:
        for item in items:
            item.done = True
        self._in_flight -= len(items)

    def _give_up(self, items: list[Item], reason: str, message: str, error: BaseException | None = None) -> None:
        told = reason not in _OF_RECORDS and not self._books.failing
        with self._held():
            if self._closed or not items:
                return
            self._settle(items)
            self._books.drop(reason, len(items), message, told=told)
        if told:
            self._books.failed(message, f"{len(items)} generation(s) lost", error)
        self._books.say()
