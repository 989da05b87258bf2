"""One worker's figures, and what the log has of them: a line when a problem begins, reminders while it lasts, a line at its end.

The figures change under the queue's lock. The log may wait for anything, so nothing is logged under a lock: what is to be
logged is noted there, and `log_drops` logs it afterwards.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from llm_otel_broadcast.delivery.seams import LeftOut, Unreadable, Withdrawn
from llm_otel_broadcast.host.guard import or_else, without_text
from llm_otel_broadcast.host.logs import log
from llm_otel_broadcast.host.reminders import Reminder

if TYPE_CHECKING:
    from llm_otel_broadcast.wire.exchange import Answer

Value = TypeVar("Value")


class DestinationStatus(NamedTuple):
    """One destination's books: produced = delivered + dropped + left out + queued + spooled.

    Records are generations, spans of `trace_context` and of `BroadcastSpanProcessor`; bytes are an estimate of what they hold in
    memory. Of what is `dropped`, `unanswered` may have arrived: its request was out when sending ended. `left_out` counts what the
    destination does not ask for: `host`, `api_key`, `filtered` (its rules), `rule_timeout` (a regex rule that could not be decided in time),
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
    left_out: Mapping[str, int] = MappingProxyType({})
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


# What the user can do, where the message does not say it.
_REMEDIES: Final = {
    "queue_full": "more is recorded than it takes: raise max_queue_bytes=, or send less with sampling_rate=",
    "too_large": "lower max_content_chars=, or raise max_queue_bytes=",
    "stopped": "there was no time left: raise exit_timeout=, or call flush() before the end",
    "internal_error": "please report it",
}
_MINUTE_S: Final = 60


class _Outage:
    """A time in which nothing arrives at a destination.

    Attributes:
        since_s: when it began (monotonic).
        failures: how many times sending has failed.
        late_records: how many waited when it ended.
        is_logged: the log has a line about it.
    """

    __slots__ = ("failures", "is_logged", "late_records", "since_s")

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.failures = 0
        self.late_records = 0
        self.is_logged = False


class Books:
    """What came and what became of it.

    Args:
        name: of the destination, for the log.
        clock: monotonic seconds.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.clock = clock
        self.produced = self.delivered = self.retried = self.spooled = self.recovered = 0
        self.dropped: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.last_error: str | None = None
        self.last_success: float | None = None
        self._outage: _Outage | None = None
        self._dropped_at_success: Counter[str] = Counter()
        self._failure_reminder = Reminder()
        self._drop_reminders: defaultdict[str, Reminder] = defaultdict(Reminder)
        # Reason and message of the drops that `log_drops` has to log, and how many of each reason the log has.
        self._due_drops: deque[tuple[str, str]] = deque()
        self._logged_drops: Counter[str] = Counter()

    @property
    def failing(self) -> bool:
        """Whether sending has failed since it last worked."""
        return self._outage is not None

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

    # -- under the queue's lock -------------------------------------------------------------------------------------

    def drop(self, reason: str, count: int, message: str = "", *, is_logged: bool = False) -> None:
        """Count dropped records, and note for `log_drops` whether the log is to have them now.

        Args:
            reason: why, in one word.
            count: how many records.
            message: why, in words.
            is_logged: `failed` is to be called with this reason, and logs them.
        """
        # `+=` on a counter is not one step: only under the queue's lock.
        self.dropped[reason] += count
        if message:
            self.last_error = message
        if self._drop_reminders[reason].occurs(self.clock()) and not is_logged:
            self._due_drops.append((reason, message))

    def note_unsent(self, unsent: LeftOut | Unreadable | Withdrawn) -> None:
        """Count a record that is not to be sent, and why."""
        if isinstance(unsent, LeftOut):
            self.left_out[unsent.reason] += 1
        elif isinstance(unsent, Unreadable):
            self.drop("unreadable", 1, f"a record cannot be rendered ({unsent.error}), please report it")
        else:
            # It comes again with what is below it, or its generations are counted already.
            self.produced -= 1

    def note_sent(self, count: int, answer: Answer) -> None:
        """Count the records of a request that was taken, but for those that the backend rejected."""
        if self._outage is not None:
            # What neither arrived nor was lost or left out has waited.
            self._outage.late_records = self.produced - self.delivered - self.dropped.total() - self.left_out.total()
        # A backend counts spans, of which a record has several: never more records than there were.
        rejected = min(answer.rejected, count)
        self.delivered += count - rejected
        if rejected:
            self.drop("rejected", rejected, f"{answer.rejected} span(s) rejected: {answer.message}")

    # -- not under the lock -----------------------------------------------------------------------------------------

    def log_drops(self, *, is_last: bool = False) -> None:
        """Log what was noted; `is_last`: also what was counted since, without waiting for the next reminder."""
        if is_last:
            self._due_drops.extend((reason, "") for reason in tuple(self.dropped))
        # A deque, as taking from it needs no lock; a log handler of the program's may come back to us from here.
        while self._due_drops:
            try:
                reason, message = self._due_drops.popleft()
            except IndexError:
                # The thread and `stop` came here at the same moment.
                return
            count = self._take_unlogged(reason)
            if not count:
                continue
            total = self._logged_drops[reason]
            more, all_of_them = (" more", f", {total} in all") if total > count else ("", "")
            if reason == UNANSWERED:
                # Not "dropped": who reads that sends it again, and has it twice.
                text = f"no answer for {count}{more} generation(s) before sending ended{all_of_them}: they may have arrived."
            else:
                detail = f": {message}" if message else ""
                remedy = f"; {_REMEDIES[reason]}" if reason in _REMEDIES else ""
                text = f"{count}{more} generation(s) dropped ({reason}{detail}){all_of_them}{remedy}. status() counts further ones."
            self._log(logging.WARNING, text)

    def _take_unlogged(self, reason: str) -> int:
        """Return how many records were dropped since the log's last line about that, and count them as logged."""
        logged, total = self._logged_drops[reason], self.dropped[reason]
        self._logged_drops[reason] = total
        return total - logged

    def succeeded(self) -> None:
        """Note that the destination has taken a request, and log the end of an outage that the log knows of."""
        self.last_success = time.time()
        outage, self._outage = self._outage, None
        # A copy in one step: the host's thread may count a drop of another reason meanwhile.
        dropped = self.dropped.copy()
        lost, self._dropped_at_success = dropped - self._dropped_at_success, dropped
        if outage is None or not outage.is_logged:
            return
        for reason in lost:
            self._take_unlogged(reason)
        duration = _duration(self.clock() - outage.since_s)
        text = f"works again after {duration}: {outage.late_records} generation(s) that waited are delivered late"
        if lost:
            losses = ", ".join(f"{reason}: {count}" for reason, count in lost.items())
            text += f", {lost.total()} dropped ({losses})"
        # Who sees warnings alone saw the outage begin: what it has cost is one as well.
        self._log(logging.WARNING if lost else logging.INFO, text)

    def failed(
        self, message: str, consequence: str = "", error: BaseException | None = None, *, reason: str | None = None
    ) -> None:
        """Note a failure of the destination; log it when it begins, and now and then while it lasts.

        Args:
            message: what happened, and what can be done.
            consequence: what becomes of the records.
            error: where the failure is none of the network's.
            reason: under which `drop` has counted the records that it has cost: that is the consequence.
        """
        self.last_error = message
        self.log_drops()
        now_s = self.clock()
        outage = self._outage = self._outage or _Outage(now_s)
        outage.failures += 1
        if not self._failure_reminder.occurs(now_s):
            return
        if outage.is_logged:
            message = f"still failing after {_duration(now_s - outage.since_s)}, {outage.failures} times: {message}"
        outage.is_logged = True
        if reason is not None:
            consequence = f"{self._take_unlogged(reason)} generation(s) lost"
        self._log(logging.WARNING, f"{message}; {consequence}", error)

    def attempt(self, activity: str, action: Callable[[], Value], default: Value, consequence: str) -> Value:
        """Do something with what sends, an exporter of the program's perhaps; an error of its own is noted.

        Args:
            activity: what is done, for the log.
            action: does it.
            default: the result where that fails.
            consequence: what a failure means, for the log.
        """

        def note(error: BaseException) -> Value:
            self.failed(f"{activity} failed ({type(error).__name__})", consequence, error)
            return default

        return or_else(action, recover=note)

    def _log(self, level: int, text: str, error: BaseException | None = None) -> None:
        """Log. Network errors of an exporter need no stack."""
        trace = None
        if error is not None and not isinstance(error, OSError):
            # Without its text, which may quote content or a header.
            trace = (type(error), without_text(error), error.__traceback__)
        log(level, 'destination "%s": %s', self.name, text, exc_info=trace)


def _duration(seconds: float) -> str:
    """Return a time in words, two units at most: `0.4 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE_S)
    hours, minutes_of_hour = divmod(minutes, _MINUTE_S)
    return f"{hours} h {minutes_of_hour} min" if hours else f"{minutes} min {rest} s"
