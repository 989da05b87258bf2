"""The way to one destination: a worker whose thread renders and sends."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from llm_otel_broadcast.delivery.ledger import DestinationStatus
from llm_otel_broadcast.delivery.seams import LaneParts
from llm_otel_broadcast.delivery.sender import Sender
from llm_otel_broadcast.delivery.sent_spans import SentSpans
from llm_otel_broadcast.delivery.worker import BatchProcessor, Worker


class Lane(Worker):
    """Queue, thread and sender of one destination.

    Args:
        name: of the destination.
        batch_delay: seconds to wait for more records after the first.
        max_bytes: what the queue may hold.
        make_parts: makes what rendering and sending need; called on the lane's thread at its first batch.
        sent_spans: what the destination has already, where the lane takes over from another one.
        closes: what it sends with has an end of its own, which a process must not leave out: an exporter.
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
    ) -> None:
        # Before the thread's parts are made, which need both.
        self._make_parts = make_parts
        self.sent_spans = SentSpans() if sent_spans is None else sent_spans
        super().__init__(name, batch_delay, max_bytes, closes=closes)

    def _new_processor(self, stopping: Event, hurried: Event) -> BatchProcessor:
        self._sender = Sender(self._queue, self._watch, self._make_parts, self.sent_spans, stopping, hurried)
        return self._sender

    def _leave(self, processor: BatchProcessor) -> None:
        # The new thread makes connections of its own: it cannot wait for a socket of the former kind. An exporter is the
        # program's: it goes on, and is shut down once.
        if self._closes and isinstance(processor, Sender):
            self._sender.parts = processor.parts
        else:
            processor.close()

    def status(self) -> DestinationStatus:
        """Return the destination's books."""
        # Who only looks at the figures finds out as well that the thread is stuck.
        self._replace_blocked()
        parts = self._sender.parts
        withheld = 0 if parts is None else parts.withheld()
        with self._queue.locked():
            return self._books.status(*self._queue.size(), withheld)
