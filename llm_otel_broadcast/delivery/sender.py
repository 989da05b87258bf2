"""What becomes of a batch: rendered, encoded, posted until it is taken or refused, divided or cut where it is too large.

Used on a lane's thread only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from llm_otel_broadcast.delivery.backoff import Backoff
from llm_otel_broadcast.delivery.queue import RecordQueue
from llm_otel_broadcast.delivery.seams import AnyBody, AnyTransport, Item, LaneParts, LeftOut, Unreadable, Withdrawn
from llm_otel_broadcast.delivery.sent_spans import SentSpans, key_of
from llm_otel_broadcast.delivery.watch import RenderingWatch, Unsent
from llm_otel_broadcast.host.flag import Flag
from llm_otel_broadcast.host.guard import Guard, or_else
from llm_otel_broadcast.host.import_lock import importing
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.wire.oversized import OversizedError

if TYPE_CHECKING:
    from llm_otel_broadcast.record.span_data import SpanData
    from llm_otel_broadcast.wire.exchange import Answer

# One batch is tried again for so long, pauses that the server itself asks for not counted.
_MAX_RETRY_S: Final = 60.0
# Of that, one request takes so long at most: clocks go on while a process is frozen with a request under way.
_MAX_REQUEST_S: Final = 20.0
_EXACT_BELOW_S: Final = 10.0
# Reasons that say nothing of the destination.
_OF_RECORDS: Final = frozenset({"stopped", "too_large", "unreadable"})
_SHRINKING: Final = Guard("cutting a record that is too large")


class Exchange(NamedTuple):
    """The body that was posted last, and the answer to it."""

    body: AnyBody
    answer: Answer


def post(transport: AnyTransport, body: AnyBody, spans: Sequence[SpanData]) -> Exchange:
    """Post a body; where the destination does not take its encoding, the spans in the other one, once."""
    answer = transport.post(body)
    if answer.encode_again:
        body = transport.encode(spans)
        answer = transport.post(body)
    return Exchange(body, answer)


def _unreadable(error: BaseException) -> Unsent:
    return Unreadable(type(error).__name__)


class BodyTaker(Protocol):
    """Takes requests over that somebody else posts."""

    def take(self, body: AnyBody, records: int) -> None:
        """Take a request over with so many records, which the books have as spooled."""


class Sender:
    """Sends the batches of one lane to its destination.

    Args:
        queue: where the batches come from, and the books in which each record is accounted for.
        watch: knows the record that is being rendered.
        make_parts: makes what rendering and sending need.
        sent_spans: the enclosing spans that the destination has.
        stopping: set when the lane is to end: nothing is sent any more.
        hurried: set by a flush.
        outbox: takes the encoded requests, where there is a spool; None: they are posted here.
    """

    def __init__(
        self,
        queue: RecordQueue,
        watch: RenderingWatch,
        make_parts: Callable[[], LaneParts],
        sent_spans: SentSpans,
        stopping: Flag,
        hurried: Flag,
        outbox: BodyTaker | None = None,
    ) -> None:
        self._queue = queue
        self._watch = watch
        self._books = queue.books
        self._make_parts = make_parts
        self._sent_spans = sent_spans
        self._stopping = stopping
        self._hurried = hurried
        self._outbox = outbox
        self._backoff = Backoff()
        self.parts: LaneParts | None = None
        self._batch: list[Item] = []
        """What was taken from the queue last."""
        self.is_sending = False
        """A request is under way: whether it has arrived is not known."""

    def process(self, batch: list[Item]) -> None:
        """Send a batch, and account for each of its records.

        Raises:
            ReplacedError: another thread has gone on with the batch.
        """
        parts = self.working_parts()

        def render(item: Item) -> Unsent | None:
            # One odd record must not take its neighbours along.
            return or_else(partial(self._render, parts, item), recover=_unreadable)

        self._batch = batch
        ready = self._watch.render_each(batch, render)
        if ready:
            self._deliver(parts, ready)

    def working_parts(self) -> LaneParts:
        """Return what rendering and sending need, made at its first use."""
        # A fork at this moment would leave the child a module half imported, whose lock nobody gives back.
        with importing:
            if self.parts is None:
                self.parts = self._make_parts()
            return self.parts

    # -- rendering --------------------------------------------------------------------------------------------------

    def _render(self, parts: LaneParts, item: Item) -> Unsent | None:
        """Make an item's spans and those round it; return why it is not to be sent, None: it is."""
        record = item.record
        if isinstance(record, EnclosingSpan):
            if not self._sent_spans.follows(record):
                return Withdrawn()
            if not record.generations and not parts.chooses(record):
                return LeftOut("sampled")
            if not self._sent_spans.has(key_of(record)):
                span = parts.enclosing_span(record, None)
                # The destination's dialect has no such spans.
                if span is None:
                    return Withdrawn()
                item.enclosing_spans = [span]
            return None
        record.settle()
        # Here and not on the host's thread: this parses bodies and runs the program's redaction, rules and `on_generation`.
        spans = parts.render(record)
        if isinstance(spans, LeftOut):
            return spans
        item.spans = spans
        # A root goes out with the first generation below it that the destination takes: alone it would be an empty trace.
        if record.enclosing_spans and isinstance(record, Generation):
            due = self._sent_spans.due(record.enclosing_spans)
            rendered = (parts.enclosing_span(enclosing_span, record) for enclosing_span in due)
            item.enclosing_spans = [span for span in rendered if span is not None]
        return None

    # -- sending ----------------------------------------------------------------------------------------------------

    def _deliver(self, parts: LaneParts, items: list[Item]) -> None:
        """Send rendered records in as many requests as it takes, and account for them."""
        # Once a request, also where several of its records are below one root; and looked up anew for each half of a batch.
        enclosing_spans = self._sent_spans.missing(span for item in items for span in item.enclosing_spans)
        spans = [*(span for item in items for span in item.spans), *enclosing_spans.values()]
        try:
            body = parts.transport.encode(spans, divisible=len(items) > 1)
        except OversizedError:
            self._divide(parts, items)
            return
        if self._outbox is not None:
            with self._queue.locked():
                if self._queue.is_closed:
                    return
                self._queue.account(items)
                self._books.spooled += len(items)
            self._outbox.take(body, len(items))
            # It is on its way, whoever delivers it.
            self._sent_spans.remember(enclosing_spans)
            return
        answer = self._post_until_answered(parts, body, spans, len(items))
        if answer is None:
            self._give_up(items, "stopped", "")
        elif answer.kind == "ok":
            with self._queue.locked():
                if self._queue.is_closed:
                    return
                self._queue.account(items)
                self._books.note_sent(len(items), answer)
            self._books.succeeded()
            self._books.log_drops()
            # Of a request with rejected spans nobody knows whether these were among them: they go out once more.
            if not answer.rejected:
                self._sent_spans.remember(enclosing_spans)
        elif answer.kind == "too_large" and len(items) > 1:
            self._divide(parts, items)
        elif answer.kind == "too_large" and self._shrink(parts, items[0]):
            self._deliver(parts, items)
        else:
            self._give_up(items, "retries_exhausted" if answer.kind == "retry" else answer.kind, answer.message)

    def _divide(self, parts: LaneParts, items: list[Item]) -> None:
        """Send a batch that is too large in two halves: one record over the limit takes no neighbour along."""
        middle = len(items) // 2
        self._deliver(parts, items[:middle])
        self._deliver(parts, items[middle:])

    def _shrink(self, parts: LaneParts, item: Item) -> bool:
        """Make a single record smaller; False: it is as small as it gets."""

        def smaller(item: Item) -> list[SpanData] | None:
            # Cutting is ours, with the program's redaction in it: whatever it raises, the record is dropped as too large.
            with _SHRINKING:
                spans = item.enclosing_spans if isinstance(item.record, EnclosingSpan) else item.spans
                return parts.shrink(item.record, spans) if spans else None
            return None

        spans = self._watch.render(item, self._batch, smaller)
        if spans and isinstance(item.record, EnclosingSpan):
            item.enclosing_spans = spans
        elif spans:
            item.spans = spans
        return bool(spans)

    def _post_until_answered(
        self, parts: LaneParts, body: AnyBody, spans: Sequence[SpanData], record_count: int
    ) -> Answer | None:
        """Post until the body is taken, is refused, or time is up; None when the lane was stopped meanwhile.

        The time begins when it may be sent: what the server asks to wait is no part of it, nor is the time for which the process is
        frozen, as serverless platforms do between two calls.
        """
        backoff = self._backoff
        # The pause belongs to the destination: a new batch does not knock at a server that has just failed.
        self._wait_for_turn()
        spent_s = 0.0
        is_last = False
        while not self._stopping.is_set():
            began = time.monotonic()
            self.is_sending = True
            try:
                body, answer = post(parts.transport, body, spans)
            finally:
                self.is_sending = False
            if answer.kind != "retry":
                backoff.succeed()
                return answer
            pause_s = backoff.fail(parts.delay, answer.retry_after)
            failed = time.monotonic()
            spent_s += min(failed - began, _MAX_REQUEST_S)
            remaining_s = _MAX_RETRY_S - spent_s
            if not backoff.is_asked and pause_s > remaining_s:
                # The next batch has a time of its own, or an outage would empty the queue batch by batch.
                if is_last or remaining_s <= 0:
                    backoff.skip()
                    return answer
                # One more try when the time is up: it may work just then.
                is_last, pause_s = True, remaining_s
                backoff.shorten(pause_s)
            pause = f"{pause_s:.1f} s" if pause_s < _EXACT_BELOW_S else f"{pause_s:.0f} s"
            self._books.failed(
                answer.message,
                f"{self._queue.pending()} generation(s) wait, trying again in {pause}, your calls are not affected",
            )
            self._wait_for_turn()
            if self._stopping.is_set():
                return None
            if not backoff.is_asked:
                # A flush may have cut it short.
                spent_s += min(time.monotonic() - failed, pause_s)
            self._books.retried += record_count
        return None

    def _wait_for_turn(self) -> None:
        """Wait until something may be sent. A flush cuts that short now and then, unless the server asked for the wait."""
        backoff = self._backoff
        while (remaining_s := backoff.remaining()) > 0 and not self._stopping.is_set():
            if backoff.is_asked:
                # A flush does not cut this short: the server has said that it would refuse.
                self._stopping.wait(remaining_s)
            elif self._hurried.wait(remaining_s):
                self._hurried.clear()
                if backoff.may_be_early():
                    return

    # -- accounting -------------------------------------------------------------------------------------------------

    def give_up(self, batch: list[Item], error: BaseException) -> None:
        """Account for what is left of a batch after an error of ours, of an encoder or of an exporter."""
        rest = [item for item in batch if not item.is_accounted]
        self._give_up(rest, "internal_error", f"sending failed ({type(error).__name__})", error)

    def _give_up(self, items: list[Item], reason: str, message: str, error: BaseException | None = None) -> None:
        # A failure of the destination is one warning for its first batch, not another one for the records.
        is_failure = reason not in _OF_RECORDS and not self._books.failing
        with self._queue.locked():
            if self._queue.is_closed or not items:
                return
            self._queue.account(items)
            self._books.drop(reason, len(items), message, is_logged=is_failure)
        if is_failure:
            self._books.failed(message, error=error, reason=reason)
        self._books.log_drops()

    # -- flushing and closing ---------------------------------------------------------------------------------------

    def flush(self) -> bool:
        """Have an exporter send what it holds; an error of its own is noted, and the lane goes on."""
        if self.parts is None:
            return True
        return self._books.attempt("flushing", self.parts.transport.flush, default=False, consequence="going on")

    def close(self) -> None:
        """Close connections and exporters; an error of theirs is noted."""
        # With an outbox, who posts closes.
        if self.parts is not None and self._outbox is None:
            self._books.attempt("closing", self.parts.transport.close, None, "it is not used any more")
