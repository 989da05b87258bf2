"""A worker without a destination: its thread completes each record and hands it to a reader, as the app's metrics are one."""

from __future__ import annotations

from collections.abc import Callable

from llm_otel_broadcast.delivery.queue import RecordQueue
from llm_otel_broadcast.delivery.seams import Item, Record, RecordReader, Unreadable
from llm_otel_broadcast.delivery.watch import RenderingWatch
from llm_otel_broadcast.delivery.worker import BatchProcessor, Worker
from llm_otel_broadcast.host.flag import Flag
from llm_otel_broadcast.host.guard import or_else
from llm_otel_broadcast.host.import_lock import importing
from llm_otel_broadcast.record.generation import Generation


class Recorder(Worker):
    """Queue and thread of one reader of generations; no destination, so it has no part in `status()`.

    Args:
        name: in the log.
        batch_delay: seconds to wait for more records after the first.
        max_bytes: what the queue may hold.
        make_reader: makes what the records are handed to; called on the thread at its first batch.
    """

    def __init__(self, name: str, batch_delay: float, max_bytes: int, make_reader: Callable[[], RecordReader]) -> None:
        self._make_reader = make_reader
        super().__init__(name, batch_delay, max_bytes)

    def _new_processor(self, stopping: Flag, hurried: Flag) -> BatchProcessor:
        # Nothing here waits for a server.
        del stopping, hurried
        return _Reading(self._queue, self._watch, self._make_reader)


class _Reading:
    is_sending = False

    def __init__(self, queue: RecordQueue, watch: RenderingWatch, make_reader: Callable[[], RecordReader]) -> None:
        self._queue = queue
        self._watch = watch
        self._make_reader = make_reader
        self._reader: RecordReader | None = None

    def process(self, batch: list[Item]) -> None:
        # On this thread: what a reader needs (prices for one) takes up to a second to import.
        if self._reader is None:
            with importing:
                self._reader = self._make_reader()
        reader = self._reader

        def read(record: Record) -> None:
            # A recorder is handed nothing else: enclosing spans and those of others go to destinations alone.
            if isinstance(record, Generation):
                record.settle()
                reader.read(record)

        def render(item: Item) -> Unreadable | None:
            # One odd record must not take its neighbours along.
            return or_else(lambda: read(item.record), recover=lambda error: Unreadable(type(error).__name__))

        readable = self._watch.render_each(batch, render)
        # Not watched: the app's span processors may take their time, and nobody else waits for them here.
        reader.finish()
        # Delivered, so that `flush` waits for it and the books balance here as they do for a destination.
        with self._queue.locked():
            if not self._queue.is_closed:
                self._queue.account(readable)
                self._queue.books.delivered += len(readable)

    def give_up(self, batch: list[Item], error: BaseException) -> None:
        rest = [item for item in batch if not item.is_accounted]
        with self._queue.locked():
            if self._queue.is_closed or not rest:
                return
            self._queue.account(rest)
            self._queue.books.drop("internal_error", len(rest), f"recording failed ({type(error).__name__})")
        self._queue.books.log_drops()

    def flush(self) -> bool:
        # What was handed over has been read: the app's own provider is flushed by the app.
        return True

    def close(self) -> None:
        if self._reader is None:
            return

        def note(error: BaseException) -> None:
            self._queue.books.failed(f"closing failed ({type(error).__name__})", "it is not used any more", error)

        or_else(self._reader.close, recover=note)
