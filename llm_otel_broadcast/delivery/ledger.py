"""One worker's figures, and what the log has of them: a warning for each change of state, never one for each batch.

The figures change under the queue's lock. The log may wait for anything, so nothing is logged under a lock: what is to be
logged is noted there, and `log_drops` logs it afterwards.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from llm_otel_broadcast.delivery.seams import LeftOut, Unreadable, Withdrawn
from llm_otel_broadcast.host.guard import without_text
from llm_otel_broadcast.host.logs import log
from llm_otel_broadcast.wire.exchange import Answer


@dataclass(frozen=True, slots=True)
class DestinationStatus:
    """One destination's books: produced = delivered + dropped + left out + queued + spooled.

    Records are generations, spans of `trace_context` and of `BroadcastSpanProcessor`; bytes are an estimate of what they hold in
    memory. Of what is `dropped`, `unanswered` may have arrived: its request was out when sending ended. `left_out` counts what the
    destination does not ask for: `api_key`, `filtered` (its rules), `rule_timeout` (a regex rule that could not be decided in time),
    `sampled`; and of other instrumentations' spans those of calls that are `recorded` already, and those that are out `with_its_trace`. `withheld` counts
    the values (attributes, events, names, status texts) of such spans that a destination in privacy mode was not sent, because they
    are not known to be free of content. `spooled` records have left the queue for the spool, where there is one: they are sent by this
    process, or by whichever is next. `recovered` counts those of other processes that this one has sent; they are not `produced` here.
    """

    name: str
    produced: int
    delivered: int
    retried: int
    dropped: dict[str, int]
    queued_records: int
    queued_bytes: int
    last_error: str | None
    last_success: float | None
    left_out: Mapping[str, int] = field(default_factory=dict)
    withheld: int = 0
    spooled: int = 0
    recovered: int = 0

    def __str__(self) -> str:
        figures = [f"{self.produced} produced", f"{self.delivered} delivered"]
        figures += [f"{count} dropped ({reason})" for reason, count in self.dropped.items()]
        figures += [f"{count} left out ({reason})" for reason, count in self.left_out.items()]
        figures += [f"{self.withheld} values withheld"] if self.withheld else []
        figures += [f"{self.queued_records} queued"] if self.queued_records else []
        figures += [f"{self.spooled} spooled"] if self.spooled else []
        figures += [f"{self.recovered} recovered"] if self.recovered else []
        figures += [f"{self.retried} retried"] if self.retried else []
        error = f"; last error: {self.last_error}" if self.last_error else ""
        return f"{self.name}: {', '.join(figures)}{error}"


UNANSWERED: Final = "unanswered"
"""Why records are counted as dropped that may have arrived."""


class Books:
    """What came and what became of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.produced = self.delivered = self.retried = self.spooled = self.recovered = 0
        self.dropped: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.last_error: str | None = None
        self.last_success: float | None = None
        self.failing = False
        self._unlogged: deque[tuple[str, int, str]] = deque()
        """Drops for `log_drops`: reason, count, message."""
        # One warning a reason and outage; `status()` counts the rest.
        self._logged_reasons: set[str] = set()

    def status(self, queued_records: int, queued_bytes: int, withheld: int = 0) -> DestinationStatus:
        """Return the figures as they are now."""
        return DestinationStatus(
            name=self.name,
            produced=self.produced,
            delivered=self.delivered,
            retried=self.retried,
            dropped=dict(self.dropped),
            queued_records=queued_records,
            queued_bytes=queued_bytes,
            last_error=self.last_error,
            last_success=self.last_success,
            left_out=dict(self.left_out),
            withheld=withheld,
            spooled=self.spooled,
            recovered=self.recovered,
        )

    def drop(self, reason: str, count: int, message: str = "", *, is_logged: bool = False) -> None:
        """Count dropped records; the first ones of a reason are noted for `log_drops`, unless the caller logs them."""
        # `+=` on a counter is not one step: only under the queue's lock.
        self.dropped[reason] += count
        if message:
            self.last_error = message
        if reason not in self._logged_reasons:
            self._logged_reasons.add(reason)
            if not is_logged:
                self._unlogged.append((reason, count, message))

    def note_unsent(self, unsent: LeftOut | Unreadable | Withdrawn) -> None:
        """Count a record that is not to be sent, and why."""
        if isinstance(unsent, LeftOut):
            self.left_out[unsent.reason] += 1
        elif isinstance(unsent, Unreadable):
            self.drop("unreadable", 1, f"a record cannot be rendered ({unsent.error})")
        else:
            # It comes again with what is below it, or its generations are counted already.
            self.produced -= 1

    def note_sent(self, count: int, answer: Answer) -> None:
        """Count the records of a request that was taken, but for those that the backend rejected."""
        # A backend counts spans, of which a record has several: never more records than there were.
        rejected = min(answer.rejected, count)
        self.delivered += count - rejected
        if rejected:
            self.drop("rejected", rejected, f"{answer.rejected} span(s) rejected: {answer.message}")

    def log_drops(self) -> None:
        """Log what was noted. Not for use under the lock."""
        # A deque, as taking from it needs no lock; a log handler of the program's may come back to us from here.
        while self._unlogged:
            try:
                reason, count, message = self._unlogged.popleft()
            except IndexError:
                # The thread and `stop` came here at the same moment.
                return
            detail = f": {message}" if message else ""
            text = f"{count} generation(s) dropped ({reason}{detail})"
            # Not "dropped": who reads that sends it again, and has it twice.
            if reason == UNANSWERED:
                text = f"no answer for {count} generation(s) before sending ended: they may have arrived"
            self._log(logging.WARNING, f"{text}. status() counts further ones.")

    def succeeded(self) -> None:
        self.last_success = time.time()
        # What is dropped in the next outage is logged again.
        if self.failing:
            self.failing = False
            self._logged_reasons.clear()
            self._log(logging.INFO, "works again")

    def failed(self, message: str, consequence: str, error: BaseException | None = None) -> None:
        """Note a failure of the destination and log the first since it last worked."""
        self.last_error = message
        self.log_drops()
        if self.failing:
            return
        self.failing = True
        self._log(logging.WARNING, f"{message}; {consequence}", error)

    def _log(self, level: int, text: str, error: BaseException | None = None) -> None:
        """Log. Network errors of an exporter need no stack."""
        trace = None
        if error is not None and not isinstance(error, OSError):
            # Without its text, which may quote content or a header.
            trace = (type(error), without_text(error), error.__traceback__)
        log(level, 'destination "%s": %s', self.name, text, exc_info=trace)
