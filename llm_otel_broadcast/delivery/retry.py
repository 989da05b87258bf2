"""Sending until a backend takes or refuses a batch; and when it may be asked again, for all batches of a lane alike."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from random import random
from typing import Final

from llm_otel_broadcast.delivery.ledger import Books
from llm_otel_broadcast.delivery.seams import LaneParts, Outcome, RetryPolicy
from llm_otel_broadcast.host.guard import or_else
from llm_otel_broadcast.record.span_data import SpanData

_MAX_RETRY_S: Final = 60.0
# For a program that flushes after each call, at most one request in this time goes to a backend in trouble.
_EARLY_INTERVAL_S: Final = 5.0
_EXACT_BELOW_S: Final = 10.0


class Backoff:
    """The pauses of one lane. Used on its thread only."""

    def __init__(self) -> None:
        self._failures = 0
        self._last_failure = 0.0
        self._not_before = 0.0
        self._was_early = False
        self.is_asked = False
        """The server named the pause: nothing cuts it short."""

    def fail(self, delay: RetryPolicy, retry_after: float | None) -> float:
        """Note a failure; return the seconds until the next try.

        Args:
            delay: the policy.
            retry_after: seconds that the server asks for.
        """
        pause = delay(self._failures, retry_after, random)
        self._failures += 1
        self.is_asked = retry_after is not None
        self._last_failure = time.monotonic()
        self._not_before = self._last_failure + pause
        return pause

    def succeed(self) -> None:
        """Note that the server has taken or refused a request: it works."""
        self._failures, self._not_before, self._was_early, self.is_asked = 0, 0.0, False, False

    def shorten(self, pause: float) -> float:
        """Wait less than the policy says, for a last try; return the seconds."""
        self._not_before = self._last_failure + pause
        return pause

    def skip(self) -> None:
        """Let the next batch try at once, as the one before has had its time."""
        self._not_before = 0.0

    def remaining(self) -> float:
        """Return the seconds until something may be sent; 0 or less: now."""
        return self._not_before - time.monotonic()

    def may_be_early(self) -> bool:
        """Return whether a flush may cut the pause short: the first time, and then not at each call."""
        if self._was_early and time.monotonic() - self._last_failure < _EARLY_INTERVAL_S:
            return False
        self._was_early = True
        return True


class Retrying:
    """Sends the batches of one lane. Used on its thread only.

    Args:
        books: told of failures and tries.
        stopping: set when the lane is to end: nothing is sent any more.
        hurried: set by a flush.
    """

    def __init__(self, books: Books, stopping: threading.Event, hurried: threading.Event) -> None:
        self._books = books
        self._stopping = stopping
        self._hurried = hurried
        self._backoff = Backoff()
        self.is_sending = False
        """A request is under way: whether it has arrived is not known."""

    def send(self, parts: LaneParts, spans: Sequence[SpanData], records: int) -> Outcome | None:
        """Send until it works, is refused, or time is up; None when the lane was stopped meanwhile.

        The time begins when it may be sent: what the server asks to wait is no part of it.
        """
        backoff = self._backoff
        self._wait_for_turn()
        first = time.monotonic()
        is_last = False
        while not self._stopping.is_set():
            self.is_sending = True
            try:
                outcome = parts.transport.send(spans, divisible=records > 1)
            finally:
                self.is_sending = False
            if outcome.kind != "retry":
                backoff.succeed()
                return outcome
            pause = backoff.fail(parts.delay, outcome.retry_after)
            failed = time.monotonic()
            left = _MAX_RETRY_S - (failed - first)
            if not backoff.is_asked and pause > left:
                if is_last or left <= 0:
                    backoff.skip()
                    return outcome
                is_last, pause = True, backoff.shorten(left)
            self._books.failed(outcome.message, f"trying again in {_shown(pause)}, your calls are not affected")
            self._wait_for_turn()
            if self._stopping.is_set():
                return None
            if backoff.is_asked:
                first += time.monotonic() - failed
            self._books.retried += records
        return None

    def _wait_for_turn(self) -> None:
        """Wait until something may be sent. A flush cuts that short now and then, unless the server asked for the wait."""
        backoff = self._backoff
        while (left := backoff.remaining()) > 0 and not self._stopping.is_set():
            if backoff.is_asked:
                self._stopping.wait(left)
            elif self._hurried.wait(left):
                self._hurried.clear()
                if backoff.may_be_early():
                    return


def _shown(seconds: float) -> str:
    """Return a pause as the log has it."""
    return f"{seconds:.1f} s" if seconds < _EXACT_BELOW_S else f"{seconds:.0f} s"


def flush_transport(parts: LaneParts | None, books: Books) -> bool:
    """Have an exporter send what it holds; an error of its own is noted, and the lane goes on."""
    if parts is None:
        return True

    def note(error: BaseException) -> bool:
        books.failed(f"flushing failed ({type(error).__name__})", "going on", error)
        return False

    return or_else(parts.transport.flush, recover=note)


def close_transport(parts: LaneParts | None, books: Books) -> None:
    """Close connections and exporters; an error of theirs is noted."""
    if parts is None:
        return

    def note(error: BaseException) -> None:
        books.failed(f"closing failed ({type(error).__name__})", "it is not used any more", error)

    or_else(parts.transport.close, recover=note)
