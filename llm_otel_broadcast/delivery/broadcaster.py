"""Hands each finished record to every lane; starts, flushes and stops them together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from llm_otel_broadcast.delivery.lane import Lane
from llm_otel_broadcast.delivery.ledger import DestinationStatus
from llm_otel_broadcast.delivery.recorder import Recorder
from llm_otel_broadcast.delivery.seams import FinishedForeignSpan, Record
from llm_otel_broadcast.delivery.worker import Worker
from llm_otel_broadcast.host.green_threads import flavor
from llm_otel_broadcast.host.logs import drain
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.generation import Generation

# For what exit handlers after ours record, where the destinations have used up their time.
_MIN_LATE_S: Final = 0.5
_LATE_LOG_S: Final = 0.1


class Broadcaster:
    """All lanes of one `instrument()`. Threads start with the first record, never before.

    Args:
        lanes: the destinations'.
        metrics: takes those records that the app's metrics want; it is no destination and has no part in `status()`.
        late: takes those records whose app spans wait for them to be read; likewise.
        on_start: called when the threads are started, for what else is to run from the first record on.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        metrics: Recorder | None = None,
        on_start: Callable[[], None] | None = None,
        late: Recorder | None = None,
    ) -> None:
        self.lanes = tuple(lanes)
        self._metrics = metrics
        self._on_start = on_start
        self._late = late
        self.workers: tuple[Worker, ...] = (
            *self.lanes,
            *(recorder for recorder in (metrics, late) if recorder is not None),
        )
        self._starting = False
        self._flavor: object = None
        """The kind of threads that the lanes' were when they were last started; None: they were not yet."""
        self._late_s: float | None = None
        """Seconds that are left at the end of the process for what is still recorded then; None: it has not come."""
        self.stopped = False

    def put_enclosing_span(self, enclosing_span: EnclosingSpan) -> None:
        """Hand over an enclosing span that has ended; a lane sends it if a generation below it went there, or there was none.

        Once stopped, nothing: settings that replaced these get it too.
        """
        if not self.stopped and (enclosing_span.generations or not enclosing_span.needs_generations):
            self._distribute(enclosing_span)

    def put_span(self, span: FinishedForeignSpan) -> None:
        """Hand over a span of somebody else's."""
        self._distribute(span)

    def _distribute(self, record: Record) -> None:
        # One iterator for both loops: a lane that has the record does not get it twice.
        remaining = iter(self.lanes)
        must_start = False
        try:
            # Not asked of each lane: threads are of another kind than before, or this is the first record. That counts also where
            # there is no lane: a settings file may name a destination later. Before a lane has the record: a thread that starts
            # would read it at once, before the program's, which knows the answer of a raw response better.
            if self._flavor is not flavor():
                self._flavor = flavor()
                self._start(self.lanes)
            for lane in remaining:
                if not lane.enqueue(record):
                    must_start = True
        except BaseException:
            # A signal handler has raised: its exception is the host's, and the record is for the other lanes too
            for lane in remaining:
                lane.enqueue(record)
            self._start(self.lanes)
            raise
        if must_start:
            self._start(self.lanes)
        late_s = self._late_s
        if late_s is not None:
            # What an exit handler after ours has recorded: nobody would deliver it later.
            start = time.monotonic()
            self.end(start + late_s)
            self._late_s = max(0.0, late_s - (time.monotonic() - start))
            drain(time.monotonic() + _LATE_LOG_S)

    def put_generation(self, record: Generation) -> None:
        """Hand a finished record over. Takes microseconds, waits for nobody. After `stop` it is counted as dropped."""
        self._distribute(record)
        # Whether the app has a meter provider was asked when the call began.
        if record.is_measured and self._metrics is not None:
            if not self._metrics.is_running:
                self._start((self._metrics,))
            self._metrics.enqueue(record)

    def put_late(self, record: Generation) -> None:
        """Hand over a record whose app spans wait for it to be read, which is to happen soon, whatever the destinations do."""
        if self._late is not None:
            if not self._late.is_running:
                self._start((self._late,))
            self._late.enqueue(record)

    def _start(self, workers: Sequence[Worker]) -> None:
        """Start threads that do not run, without waiting for who is at it: a finalizer may come here on top of a call that is."""
        if self.stopped or self._starting:
            return
        # A flag and not a lock: an exception of a signal handler's can come between taking a lock and `try`, but not here. Two threads
        # that come here at once do no harm, as a lane has one thread whoever starts it.
        self._starting = True
        try:
            for worker in workers:
                worker.start()
            if self._on_start is not None:
                self._on_start()
        finally:
            self._starting = False

    def start_early(self) -> None:
        """Start what does not wait for the first record: sending what lies in the spool, and what is to be durable."""
        for lane in self.lanes:
            lane.start_early()

    def hand_over(self, lanes: Sequence[Lane]) -> None:
        """Leave lanes to another broadcaster, which has taken them: this one no longer stops them."""
        self.workers = tuple(worker for worker in self.workers if worker not in lanes)

    def flush(self, timeout: float) -> bool:
        """Send everything now; wait at most `timeout` seconds for all lanes side by side.

        Returns:
            True when nothing is left and nothing was lost meanwhile.
        """
        return flush_all((self,), timeout)

    def hurry(self) -> None:
        """Have all lanes send what they have now, without waiting for it."""
        for worker in self.workers:
            worker.hurry()

    def stop(self, timeout: float) -> None:
        """Flush for at most `timeout` seconds, then end the threads; what is left is counted as dropped.

        Where another thread is at it already, wait for that.
        """
        if self.stopped:
            self.flush(timeout)
            return
        self.stopped = True
        deadline = time.monotonic() + timeout
        # All at once, so that a backend that is down does not use up the time of the others.
        self.hurry()
        for worker in self.workers:
            worker.stop(deadline)

    def end(self, deadline: float) -> None:
        """At the end of the process, deliver until the deadline (monotonic). What is recorded later is delivered at once."""
        self.hurry()
        for worker in self.workers:
            worker.end(deadline)
        self._late_s = max(_MIN_LATE_S, deadline - time.monotonic())

    def after_fork(self) -> None:
        """In a child process: begin anew; what was queued belongs to the parent."""
        # A thread of the parent's may have been in the middle of starting others; it is not there.
        self._late_s = None
        self._starting = False
        self._flavor = None
        for worker in self.workers:
            worker.after_fork()

    def status(self) -> tuple[DestinationStatus, ...]:
        return tuple(lane.status() for lane in self.lanes)


def flush_all(broadcasters: Sequence[Broadcaster], timeout: float) -> bool:
    """Flush several, all their lanes side by side; see `Broadcaster.flush`."""
    deadline = time.monotonic() + timeout
    lost = _lost(broadcasters)
    tickets = [(worker, worker.hurry()) for broadcaster in broadcasters for worker in broadcaster.workers]
    are_flushed = [worker.wait(ticket, deadline) for worker, ticket in tickets]
    return all(are_flushed) and _lost(broadcasters) == lost


def _lost(broadcasters: Sequence[Broadcaster]) -> int:
    return sum(sum(lane.status().dropped.values()) for broadcaster in broadcasters for lane in broadcaster.lanes)
