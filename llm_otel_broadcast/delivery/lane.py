"""The way to one destination: a worker whose thread renders and sends, or renders for an outbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from llm_otel_broadcast.delivery.ledger import DestinationStatus
from llm_otel_broadcast.delivery.seams import LaneParts
from llm_otel_broadcast.delivery.sender import Sender
from llm_otel_broadcast.delivery.sent_spans import SentSpans
from llm_otel_broadcast.delivery.worker import BatchProcessor, Ticket, Worker
from llm_otel_broadcast.host.flag import Flag

if TYPE_CHECKING:
    from llm_otel_broadcast.delivery.outbox import Outbox
    from llm_otel_broadcast.delivery.poster import Poster
    from llm_otel_broadcast.spool.shelf import Shelf

# What is durable is on disk within a second of the end of its call; rendering and writing need a part of that.
_DURABLE_DELAY_S: Final = 0.25
# Of the time for the end of a process, the part that is left for putting on disk what could not be delivered.
SAVING_S: Final = 0.7


class Lane(Worker):
    """Queue, thread and sender of one destination.

    Args:
        name: of the destination.
        batch_delay: seconds to wait for more records after the first.
        max_bytes: what the queue may hold.
        make_parts: makes what rendering and sending need; called on the lane's thread at its first batch.
        sent_spans: what the destination has already, where the lane takes over from another one.
        closes: what it sends with has an end of its own, which a process must not leave out: an exporter.
        shelf: the destination's part of the spool, if there is one.
        is_durable: with a spool, everything is on disk before it is sent.
    """

    def __init__(
        self,
        name: str,
        batch_delay: float,
        max_bytes: int,
        make_parts: Callable[[], LaneParts],
        sent_spans: SentSpans | None = None,
        *,
        closes: bool = False,
        shelf: Shelf | None = None,
        is_durable: bool = False,
    ) -> None:
        # Before the thread's parts are made, which need them.
        self._make_parts = make_parts
        self.sent_spans = SentSpans() if sent_spans is None else sent_spans
        self._shelf = shelf
        self._is_durable = is_durable
        self._outbox: Outbox | None = None
        self._poster: Poster | None = None
        super().__init__(
            name, min(batch_delay, _DURABLE_DELAY_S) if is_durable else batch_delay, max_bytes, closes=closes
        )

    def _begin(self, max_bytes: int, *, is_closed: bool) -> None:
        self._outbox = self._poster = None
        super()._begin(max_bytes, is_closed=is_closed)

    def _new_processor(self, stopping: Flag, hurried: Flag) -> BatchProcessor:
        if self._shelf is not None and self._outbox is None:
            # Only with a spool: this imports SQLite.
            from llm_otel_broadcast.delivery.outbox import Outbox
            from llm_otel_broadcast.delivery.poster import Poster

            self._outbox = Outbox(self._queue, self._shelf, is_durable=self._is_durable)

            def make_parts() -> LaneParts:
                # Those of the sender that there is then.
                return self._sender.working_parts()

            self._poster = Poster(self.name, self._outbox, self._queue, make_parts, saving_s=SAVING_S)
        self._sender = Sender(
            self._queue, self._watch, self._make_parts, self.sent_spans, stopping, hurried, self._poster
        )
        return self._sender

    def _leave(self, processor: BatchProcessor) -> None:
        # The new thread makes connections of its own: it cannot wait for a socket of the former kind. An exporter is the
        # program's: it goes on, and is shut down once.
        if self._closes and isinstance(processor, Sender):
            self._sender.parts = processor.parts
        else:
            processor.close()

    # -- with a spool -----------------------------------------------------------------------------------------------

    def start_early(self) -> None:
        """Send what lies in the spool already, and be ready in time for what is durable."""
        if self._poster is None or self._shelf is None:
            return
        if self._is_durable:
            self.start()
            self._bell.put("record")
        if self._is_durable or self._shelf.exists:
            self._poster.start()

    def hurry(self) -> Ticket:
        if self._poster is not None:
            self._poster.hurry()
        return super().hurry()

    def wait(self, ticket: Ticket, deadline: float) -> bool:
        is_sent = super().wait(ticket, deadline)
        return is_sent if self._poster is None else self._poster.wait(deadline) and is_sent

    def end(self, deadline: float) -> None:
        if self._poster is None:
            super().end(deadline)
        else:
            super().end(deadline - SAVING_S)
            self._poster.end(deadline)

    def stop(self, deadline: float) -> None:
        if self._poster is None or self._outbox is None:
            super().stop(deadline)
        else:
            self._outbox.is_closing = True
            super().stop(deadline - SAVING_S)
            self._poster.stop(deadline)

    def after_fork(self) -> None:
        if self._shelf is not None:
            self._shelf = self._shelf.again()
        super().after_fork()

    def status(self) -> DestinationStatus:
        """Return the destination's books."""
        # Who only looks at the figures finds out as well that the thread is stuck.
        self._replace_blocked()
        parts = self._sender.parts
        withheld = 0 if parts is None else parts.withheld()
        with self._queue.locked():
            return self._books.status(*self._queue.size(), withheld)
