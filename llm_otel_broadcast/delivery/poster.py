"""Posts what waits in an outbox, on a thread of its own: what is in memory and what is on disk take turns, the oldest first."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from queue import Empty
from typing import Final

from llm_otel_broadcast.delivery.backoff import Backoff
from llm_otel_broadcast.delivery.outbox import Outbox, Pending
from llm_otel_broadcast.delivery.queue import RecordQueue
from llm_otel_broadcast.delivery.seams import LaneParts
from llm_otel_broadcast.delivery.worker_thread import WorkerThread
from llm_otel_broadcast.host.flag import Flag
from llm_otel_broadcast.host.green_threads import Mailbox, flavor, mailbox
from llm_otel_broadcast.host.guard import or_else
from llm_otel_broadcast.host.logs import log
from llm_otel_broadcast.wire.exchange import OTHER_ENCODING, Answer, Body

# Where the disk cannot be used a body is tried again for so long, as without a spool.
_MAX_RETRY_S: Final = 60.0
# Other processes may have left something, or may have gone.
_LOOK_INTERVAL_S: Final = 30.0
_BACKLOG_INTERVAL_S: Final = 1.0
# After a body of the backlog the destination has as much rest as that one took, so that it can catch up with what is new.
_MIN_REST_S: Final = 0.05
_MAX_REST_S: Final = 2.0
_POLL_INTERVAL_S: Final = 0.02


class Poster:
    """The thread of one outbox. It starts with the first body, or at once where something may lie on disk.

    Args:
        name: of the destination.
        outbox: what is to be posted.
        queue: of the lane, with its books.
        make_parts: returns what the lane works with, made at its first use.
        saving_s: how long before the end of the process what is left is put on disk, in seconds.
    """

    def __init__(
        self, name: str, outbox: Outbox, queue: RecordQueue, make_parts: Callable[[], LaneParts], *, saving_s: float
    ) -> None:
        self._saving_s = saving_s
        self._name = name
        self._outbox = outbox
        self._queue = queue
        self._books = queue.books
        self._make_parts = make_parts
        self._stopping = Flag()
        self._backoff = Backoff()
        self._failures = 0
        """Since the last flush."""
        self._is_early = False
        """A flush has cut the pause short, which is on disk for all processes too."""
        self._rests_until = 0.0
        self._is_disk_next = True
        self._is_tidying = False
        """The end of the process waits for a disk on which nothing is left of what was delivered."""
        self._make_thread(None)

    def _make_thread(self, former: WorkerThread | None) -> None:
        """Make the thread and what it waits in, of the kind that threads have now."""
        self._flavor = flavor()
        self._bell: Mailbox[None] = mailbox()
        self._thread = WorkerThread(f"llm-otel-broadcast {self._name} spool", self._run, former)

    def take(self, body: Body[bytes], records: int) -> None:
        """Take a request over, and see that it is posted."""
        self._outbox.take(body, records)
        self.start()

    def start(self) -> None:
        """Have the thread look for what waits; start it if it does not run."""
        if self._flavor is not flavor():
            # The former one sees that the bell is not its own any more.
            former_bell = self._bell
            self._make_thread(self._thread)
            former_bell.put(None)
        self._bell.put(None)
        self._thread.start()

    # -- flushing and stopping --------------------------------------------------------------------------------------

    def hurry(self) -> None:
        """Try now, if it waits to try again."""
        self._failures = 0
        if not self._backoff.is_asked and self._backoff.remaining() > 0 and self._backoff.may_be_early():
            self._backoff.skip()
            self._is_early = True
        self._bell.put(None)

    def wait(self, deadline: float) -> bool:
        """Wait until everything has been delivered; False: the deadline (monotonic) came first, or it is on disk.

        What is on disk is safe, and nobody waits for a destination that does not work. Nor for the disk: only the thread asks it.
        """
        outbox = self._outbox

        def is_over() -> bool:
            self._thread.start()
            return outbox.is_empty and outbox.is_troubled and (self._failures > 0 or self._backoff.remaining() > 0)

        _wait_for(lambda: outbox.is_delivered or is_over(), deadline)
        return outbox.is_delivered

    def end(self, deadline: float) -> None:
        """Deliver until the deadline (monotonic), and put on disk what is left: the process ends."""
        if not self.wait(deadline - self._saving_s):
            self._outbox.save(max(deadline, time.monotonic() + self._saving_s))
        elif self._outbox.shelf.store.is_open and self._thread.running.locked():
            self._is_tidying = True
            self._bell.put(None)
            _wait_for(lambda: not self._is_tidying, min(deadline, time.monotonic() + self._saving_s))

    def stop(self, deadline: float) -> None:
        """As `end`, and end the thread."""
        self._outbox.is_closing = True
        self.end(deadline)
        self._stopping.set()
        self._bell.put(None)
        self._thread.join(deadline)

    # -- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        bell = self._bell
        while not self._stopping.is_set():
            # A thread of another kind goes on.
            if bell is not self._bell:
                return
            pending = self._next() if self._backoff.remaining() <= 0 else None
            if pending is not None:
                self._try(pending)
                continue
            self._outbox.note_sent_by_others()
            if self._is_tidying:
                or_else(self._outbox.shelf.store.tidy, default=None)
                self._is_tidying = False
            # With a backlog that may not be sent yet, another process is at it, or has been asked to wait.
            rest_s = max(self._rests_until - time.monotonic(), 0.0) or _BACKLOG_INTERVAL_S
            pause_s = self._backoff.remaining()
            if pause_s <= 0:
                pause_s = rest_s if self._outbox.has_backlog else _LOOK_INTERVAL_S
            try:
                bell.get(timeout=min(pause_s, _LOOK_INTERVAL_S))
            except Empty:
                # Another process may have left something meanwhile.
                self._outbox.has_backlog = True
            while not bell.empty():
                bell.get()

        def note(error: BaseException) -> None:
            self._books.failed(f"closing failed ({type(error).__name__})", "it is not used any more", error)

        parts = self._make_parts()
        or_else(parts.transport.close, recover=note)

    def _next(self) -> Pending | None:
        """Take the next body in hand."""
        if self._is_early:
            self._is_early = False
            self._outbox.end_pause()
        is_disk_due = self._outbox.has_backlog and time.monotonic() >= self._rests_until
        if is_disk_due and self._is_disk_next:
            self._is_disk_next = False
            if (pending := self._outbox.next_on_disk()) is not None:
                return pending
            is_disk_due = False
        self._is_disk_next = True
        pending = self._outbox.next_in_memory()
        return self._outbox.next_on_disk() if pending is None and is_disk_due else pending

    def _try(self, pending: Pending) -> None:
        """Post a body once, and see to what becomes of it."""
        began = time.monotonic()

        def post() -> Answer:
            transport = self._make_parts().transport
            answer = transport.post(pending.body)
            if not answer.encode_again:
                return answer
            # Its spans are gone: it may have come from another process.
            from llm_otel_broadcast.wire.recoding import recode

            pending.body = recode(pending.body, OTHER_ENCODING[pending.body.encoding])
            return transport.post(pending.body)

        answer = or_else(post, recover=_failure)
        # Whatever fails here must not end the thread: the body has its claim, or is counted.
        or_else(lambda: self._settle(pending, answer), recover=lambda error: self._give_up(pending, _failure(error)))
        if pending.stored is not None:
            took_s = time.monotonic() - began
            self._rests_until = time.monotonic() + min(_MAX_REST_S, max(_MIN_REST_S, took_s))
        self._outbox.let_go()

    def _settle(self, pending: Pending, answer: Answer) -> None:
        if answer.kind == "retry":
            self._put_off(pending, answer)
            return
        self._backoff.succeed()
        self._outbox.note_works()
        if answer.kind == "too_large" and self._divide(pending):
            return
        if answer.kind != "ok":
            self._give_up(pending, answer)
            return
        self._outbox.remove(pending)
        with self._queue.locked():
            if self._outbox.settle(pending):
                self._books.note_sent(pending.records, answer)
            elif not pending.is_own:
                self._books.recovered += pending.records
        self._books.succeeded()
        self._books.log_drops()

    def _put_off(self, pending: Pending, answer: Answer) -> None:
        pause_s = self._backoff.fail(self._make_parts().delay, answer.retry_after)
        pending.failed_since = pending.failed_since or time.monotonic()
        is_stored = self._outbox.put_off(pending, pause_s)
        self._failures += 1
        if not is_stored and time.monotonic() - pending.failed_since > _MAX_RETRY_S:
            self._backoff.skip()
            self._give_up(pending, answer, "retries_exhausted")
            return
        storage = "on disk" if is_stored else "in memory"
        self._books.failed(
            answer.message,
            f"{self._books.spooled} generation(s) wait {storage} until it works, your calls are not affected",
        )
        with self._queue.locked():
            self._books.retried += pending.records
        if not is_stored:
            self._outbox.keep(pending, is_first=True)

    def _divide(self, pending: Pending) -> bool:
        """Put smaller bodies in the place of one that the server finds too large; False: it is as small as it gets."""
        from llm_otel_broadcast.wire.recoding import halve, shrink

        halves = halve(pending.body)
        if halves is not None:
            first, second = halves
            records = round(pending.records * first.spans / pending.body.spans)
            self._outbox.replace(pending, [(first, records), (second, pending.records - records)])
            return True
        smaller: Body[bytes] | None = shrink(pending.body)
        if smaller is None:
            return False
        self._outbox.replace(pending, [(smaller, pending.records)])
        return True

    def _give_up(self, pending: Pending, answer: Answer, reason: str | None = None) -> None:
        self._outbox.remove(pending)
        if not pending.is_own:
            text = 'destination "%s": %d record(s) from the spool dropped (%s)'
            log(logging.WARNING, text, self._name, pending.records, answer.message or answer.kind)
            return
        reason = reason or answer.kind
        is_failure = not self._books.failing
        with self._queue.locked():
            if self._outbox.settle(pending):
                self._books.drop(reason, pending.records, answer.message, is_logged=is_failure)
        if is_failure:
            self._books.failed(answer.message, error=answer.error, reason=reason)
        self._books.log_drops()


def _wait_for(condition: Callable[[], bool], deadline: float) -> None:
    """Look until the condition holds, or the deadline (monotonic) comes. By looking, as a signal handler may do it."""
    while not condition() and (remaining_s := deadline - time.monotonic()) > 0:
        time.sleep(min(_POLL_INTERVAL_S, remaining_s))


def _failure(error: BaseException) -> Answer:
    """Return the answer that stands for an error of ours, or of a body that cannot be read."""
    return Answer("refused", None, f"sending failed ({type(error).__name__})", None, 0)
