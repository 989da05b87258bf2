"""One destination's bounded queue, its thread, and its books.

The host's thread only appends to a queue and, at most once a batch, rings a bell; everything else is done here. The
books balance at any time: produced = delivered + dropped + queued.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from random import random
from typing import Final, Protocol

from llm_otel_broadcast.generation import Generation
from llm_otel_broadcast.guard import logger
from llm_otel_broadcast.span import Span

BATCH: Final = 512
_CROWDED: Final = 2 * BATCH
_EVERY: Final = 16
_BREATH: Final = 0.0002
_MAX_BLOCKS: Final = 10_000
_MAX_ELAPSED: Final = 60.0


class Outcome(Protocol):
    """What became of one request."""

    @property
    def kind(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def retry_after(self) -> float | None: ...
    @property
    def rejected(self) -> int: ...


class Transport(Protocol):
    """Encodes spans and sends them to one destination; used by one thread only."""

    def send(self, spans: Sequence[Span]) -> Outcome: ...
    def close(self) -> None: ...


class RetryPolicy(Protocol):
    """How long to wait before the next try."""

    def __call__(self, attempt: int, retry_after: float | None, random: Callable[[], float]) -> float: ...


@dataclass(slots=True)
class Item:
    """A generation with its spans, blocks of its first appearance included."""

    record: Generation
    spans: list[Span] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """One destination's books. Records are generations; bytes are an estimate of what they hold in memory."""

    name: str
    produced: int
    delivered: int
    retried: int
    dropped: dict[str, int]
    queued_records: int
    queued_bytes: int
    last_error: str | None
    last_success: float | None


@dataclass(frozen=True, slots=True)
class LaneParts:
    """What a lane works with, made on its own thread at its first batch, so that nothing of it burdens the host."""

    transport: Transport
    render: Callable[[Generation], list[Span]]
    block: Callable[[Generation, int], Span]
    delay: RetryPolicy


class Lane:
    """Queue and thread of one destination."""

    def __init__(self, name: str, batch_delay: float, max_bytes: int, parts: Callable[[], LaneParts]) -> None:
        self.name = name
        self._batch_delay = batch_delay
        self._max_bytes = max_bytes
        self._make_parts = parts
        self._parts: LaneParts | None = None
        self._thread: threading.Thread | None = None
        self._dropped: Counter[str] = Counter()
        self._produced = self._delivered = self._retried = 0
        self._last_error: str | None = None
        self._last_success: float | None = None
        self._failing = False
        self._sent_blocks: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._fresh()

    def _fresh(self) -> None:
        """Make what a fork or a start needs new: locks, queue, bell."""
        self._lock = threading.Lock()
        self._idle = threading.Condition(threading.Lock())
        self._queue: deque[Generation] = deque()
        self._strays: deque[Generation] = deque()
        self._bytes = 0
        self._in_flight = 0
        self._in_flight_bytes = 0
        self._bell: SimpleQueue[str] = SimpleQueue()
        self._rung = False
        self._stopping = threading.Event()
        self._closed = False
        """`stop` has counted what was left: whatever the thread still does comes too late for the books."""

    # -- the host's thread ------------------------------------------------------------------------------------------

    def put(self, record: Generation) -> None:
        """Take a finished record. Never waits for a lock: this may run in a finalizer, anywhere in the host's code."""
        if self._lock.acquire(blocking=False):
            try:
                while self._strays:
                    self._accept(self._strays.popleft())
                self._accept(record)
            finally:
                self._lock.release()
        else:
            self._strays.append(record)
        if not self._rung:
            self._rung = True
            self._bell.put("record")
        waiting = len(self._queue)
        if waiting == BATCH:
            self._bell.put("full")
        if waiting >= _CROWDED and not waiting % _EVERY and not self._failing:
            time.sleep(
                _BREATH
            )  # a host that computes without pause starves the lane's thread of the GIL (performance, case 9)

    def _accept(self, record: Generation) -> None:
        self._produced += 1
        if self._closed:
            self._drop("stopped", 1)
            return
        self._queue.append(record)
        self._bytes += record.size
        while self._bytes + self._in_flight_bytes > self._max_bytes and self._queue:
            self._bytes -= self._queue.popleft().size
            self._drop("queue_full", 1)

    def _drop(self, reason: str, count: int) -> None:
        first = self._dropped[reason] == 0
        self._dropped[reason] += count
        if first:
            logger.warning(
                'destination "%s": %d generation(s) dropped (%s). status() counts further ones.',
                self.name,
                count,
                reason,
            )

    def start(self) -> None:
        """Start the thread unless it runs."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name=f"llm-otel-broadcast {self.name}", daemon=True)
            self._thread.start()

    # -- flushing and stopping --------------------------------------------------------------------------------------

    def hurry(self) -> None:
        """Have the thread send what it has without waiting for more."""
        self._rung = True
        self._bell.put("hurry")

    def wait_idle(self, deadline: float) -> bool:
        """Wait until nothing is queued or in flight. Returns False when the deadline (monotonic) came first."""
        with self._idle:
            while self._pending():
                left = deadline - time.monotonic()
                if left <= 0 or not self._alive():
                    return False
                self._idle.wait(min(left, 0.1))
        return True

    def _alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _pending(self) -> int:
        return len(self._queue) + len(self._strays) + self._in_flight

    def stop(self, deadline: float) -> None:
        """Send what is queued until the deadline (monotonic); count the rest as dropped."""
        self.hurry()
        self.wait_idle(deadline)
        self._stopping.set()
        self.hurry()
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            left = self._pending()
            self._closed = True
            self._queue.clear()
            self._strays.clear()
            self._bytes = self._in_flight = self._in_flight_bytes = 0
            if left:
                self._drop("stopped", left)

    def after_fork(self) -> None:
        """In a child: the queue's content stays with the parent, the thread is not there, the books begin anew."""
        self._thread = None
        self._parts = None
        self._dropped = Counter()
        self._produced = self._delivered = self._retried = 0
        self._fresh()

    def status(self) -> LaneStatus:
        return LaneStatus(
            name=self.name,
            produced=self._produced + len(self._strays),
            delivered=self._delivered,
            retried=self._retried,
            dropped=dict(self._dropped),
            queued_records=self._pending(),
            queued_bytes=self._bytes + self._in_flight_bytes,
            last_error=self._last_error,
            last_success=self._last_success,
        )

    # -- the lane's thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        stopping = self._stopping
        while not stopping.is_set():
            if self._bell.get() == "record" and self._batch_delay and not stopping.is_set():
                self._wait_for_company()
            self._rung = False
            while not self._bell.empty():  # what rings from here on belongs to the next round
                self._bell.get()
            self._drain()
        if self._parts is not None:
            self._parts.transport.close()

    def _wait_for_company(self) -> None:
        try:
            self._bell.get(timeout=self._batch_delay)
        except Empty:
            return

    def _drain(self) -> None:
        while items := self._take():
            try:
                self._send(items)
            except Exception as error:  # noqa: BLE001  # the thread must outlive any fault of an encoder or exporter
                logger.warning('destination "%s": sending failed (%s)', self.name, type(error).__name__, exc_info=True)
                self._give_up(items, "internal_error", type(error).__name__)
            finally:
                with self._lock:
                    self._in_flight = self._in_flight_bytes = 0
                with self._idle:
                    self._idle.notify_all()
            if self._stopping.is_set():
                return

    def _take(self) -> list[Item]:
        with self._lock:
            while self._strays:
                self._accept(self._strays.popleft())
            records = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            size = sum(record.size for record in records)
            self._bytes = max(0, self._bytes - size)
            self._in_flight, self._in_flight_bytes = len(records), size
        return [Item(record) for record in records]

    def _send(self, items: list[Item]) -> None:
        parts = self._parts
        if parts is None:
            parts = self._parts = self._make_parts()
        ready = [item for item in items if self._render(parts, item)]
        if ready:
            self._deliver(parts, ready)

    def _render(self, parts: LaneParts, item: Item) -> bool:
        record = item.record
        try:
            record.settle()
            item.spans = parts.render(record)
            for position, block in enumerate(record.blocks):
                key = (block.trace_id, block.span_id)
                if key not in self._sent_blocks:
                    item.spans.append(parts.block(record, position))
                    self._sent_blocks[key] = None
                    if len(self._sent_blocks) > _MAX_BLOCKS:
                        self._sent_blocks.popitem(last=False)
        except Exception as error:  # noqa: BLE001  # one odd record must not take its neighbours along
            logger.warning('destination "%s": a record cannot be rendered (%s)', self.name, type(error).__name__)
            self._give_up([item], "unreadable", type(error).__name__)
            return False
        return True

    def _deliver(self, parts: LaneParts, items: list[Item]) -> None:
        outcome = self._try(parts, items)
        if outcome is None:
            self._give_up(items, "stopped", self._last_error or "stopped while trying again")
        elif outcome.kind == "ok":
            self._succeed(items, outcome)
        elif outcome.kind == "too_large" and len(items) > 1:
            middle = len(items) // 2
            self._deliver(parts, items[:middle])
            self._deliver(parts, items[middle:])
        else:
            self._give_up(items, "retries_exhausted" if outcome.kind == "retry" else outcome.kind, outcome.message)

    def _try(self, parts: LaneParts, items: list[Item]) -> Outcome | None:
        """Send until it works, is refused, or time is up; None when the lane was stopped meanwhile."""
        spans = [span for item in items for span in item.spans]
        first = time.monotonic()
        for attempt in range(1_000):
            outcome = parts.transport.send(spans)
            if outcome.kind != "retry":
                return outcome
            self._fail(outcome.message)
            pause = parts.delay(attempt, outcome.retry_after, random)
            if time.monotonic() - first + pause > _MAX_ELAPSED:
                return outcome
            if self._stopping.wait(pause):
                return None
            self._retried += len(items)
        return None

    def _succeed(self, items: list[Item], outcome: Outcome) -> None:
        rejected = min(outcome.rejected, len(items))
        with self._lock:
            if self._closed:
                return
            self._delivered += len(items) - rejected
            self._in_flight -= min(self._in_flight, len(items))
            if rejected:
                self._drop("rejected", rejected)
        self._last_success = time.time()
        if rejected:
            self._last_error = f"{rejected} span(s) rejected: {outcome.message}"
            logger.warning('destination "%s": %s', self.name, self._last_error)
        if self._failing:
            self._failing = False
            logger.info('destination "%s" works again', self.name)

    def _fail(self, message: str) -> None:
        self._last_error = message
        if not self._failing:
            self._failing = True
            logger.warning('destination "%s": %s; trying again, your calls are not affected', self.name, message)

    def _give_up(self, items: list[Item], reason: str, message: str) -> None:
        self._last_error = message
        for item in items:
            for block in item.record.blocks:
                self._sent_blocks.pop((block.trace_id, block.span_id), None)
        with self._lock:
            if self._closed:
                return
            self._in_flight -= min(self._in_flight, len(items))
            self._drop(reason, len(items))
        if not self._failing:
            self._failing = True
            logger.warning('destination "%s": %s; %d generation(s) lost', self.name, message, len(items))
