"""The end of a stream's record: reached once, from whichever way comes first."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Generator
from types import GeneratorType, TracebackType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet, ref

from llm_otel_broadcast.clients.gateways import note_refusal
from llm_otel_broadcast.clients.reader import Fold, NoFold
from llm_otel_broadcast.clients.tracebacks import drop_own_frames
from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import Generation

if TYPE_CHECKING:
    from llm_otel_broadcast.clients.call import Call

CHUNK_GUARD: Final = Guard("reading a chunk")
_OPENING = Guard("starting to watch a stream")
_CLOSING = Guard("ending a stream")
_MAX_CHUNK_TIMES: Final = 65_536
_ABANDONED: Final = Failure("abandoned", "the stream was closed before its end")


class StreamWatch:
    """The end of one stream's record, reached once, from whichever way comes first.

    | what happens | who sees it | how the record ends |
    |---|---|---|
    | the last chunk was read | the iterator: `StopIteration` | `finish` |
    | the stream raises, or the reading task is cancelled | the iterator: the exception | `fail` |
    | `close()`, the end of a `with` block | the hook on the response's `close` | `abandon` |
    | `break` or an exception in the loop's body, then garbage collection | `__del__` of iterator or hook | `abandon` |
    | the process ends | `end_open_streams` | `abandon` |
    """

    __slots__ = ("__weakref__", "_call", "_fold", "_record", "fold_chunk", "following", "is_reading")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._record = call.record
        self._fold: Fold = NoFold()
        with _OPENING:
            self._fold = call.reader.fold(call.record)
        # Attributes, not methods: each chunk costs one call less.
        self.fold_chunk: Callable[[Any], bool] = self._fold.add
        """Reads a chunk into the record; raises what goes wrong there. True: the chunk is to be hidden from the caller."""
        if self._record.is_measured:
            self.fold_chunk = _timed(self.fold_chunk, self._record)
        open_streams.add(self)
        self.is_reading = False
        """True while the `__next__` of an iterator that is no generator is under way."""
        self.following: ref[Any] | None = None
        """The generator of ours that yields the chunks, until it ends."""

    @property
    def is_busy(self) -> bool:
        """Whether the next chunk is being read: then the iterator decides how the record ends, not `close`."""
        following: Any = None if self.following is None else self.following()
        if following is None:
            return self.is_reading
        return bool(following.gi_running if type(following) is GeneratorType else following.ag_running)

    def read_chunk(self, chunk: Any) -> bool:
        """Read a chunk into the record. True: the chunk is to be hidden from the caller."""
        # Not `with`, which takes more than a typical chunk.
        try:
            return self.fold_chunk(chunk)
        except BaseException as error:
            if not CHUNK_GUARD.stops(error):
                raise
            return False

    def follow(self, chunks: Generator[Any, None, Any]) -> Generator[Any, None, Any]:
        """Return the generator that yields the chunks of a synchronous stream and reads them into the record."""
        follow = None if self._record.is_measured else getattr(self._fold, "follow", None)
        following: Generator[Any, None, Any] = (follow or follow_generator)(StreamReading(self, chunks))
        # Weak: a cycle would keep the stream, once dropped, until the next collection of garbage.
        self.following = ref(following)
        # Of a generator that has not begun no code runs when it is collected.
        next(following)
        return following

    def finish(self) -> None:
        """End the record: the stream was read to its regular end."""
        # Servers may stop in the middle without an error: then the fold says what is missing.
        self._call.finish(self._finish_fold())

    def fail(self, error: BaseException) -> None:
        """End the record with the error that leaves the stream."""
        # What came before the error was answered, and is billed: it is recorded too.
        self._finish_fold()
        failure = Failure(type(error).__qualname__)
        with _CLOSING:
            failure = self._call.library.describe_error(error)
            note_refusal(self._record, error)
        self._call.finish(failure)

    def end_by(self, error: BaseException) -> None:
        """End the record for what the stream's iterator raised: its regular end, or an error."""
        if isinstance(error, StopIteration | StopAsyncIteration):
            self.finish()
        else:
            self.fail(error)

    def abandon(self) -> None:
        """End the record of a stream that the caller reads no further.

        No error if the answer was complete, which a finish reason tells, or the stream itself.
        """
        # The SDK closes the response before the iterator sees the end or the error, and more than once: `__stream__` in
        # openai/_streaming.py does so in its `finally`.
        if self.is_busy or self._record.ended:
            return
        self._finish_fold()
        complete = self._record.complete or any(choice.finish_reason for choice in self._record.choices)
        self._call.finish(None if complete else _ABANDONED)

    def _finish_fold(self) -> Failure | None:
        """Fill the record from the chunks; return what is wrong with a stream that ends here by itself."""
        failure = None
        if not self._record.ended:
            with _CLOSING:
                failure = self._fold.finish()
        return failure


# Weak: a stream that the caller drops must be collected, because that is how its end is seen.
open_streams: WeakSet[StreamWatch] = WeakSet()


def end_open_streams() -> None:
    """End the records of all streams that are still open: the process ends, and with it nobody reads on."""
    # A copy: ending a record drops its watch.
    for watch in list(open_streams):
        watch.abandon()


def _timed(read_chunk: Callable[[Any], bool], record: Generation) -> Callable[[Any], bool]:
    """Return `read_chunk`, noting the time of each chunk as well.

    Only the metric `gen_ai.client.operation.time_per_output_chunk` needs every time; the span needs the first alone.
    """
    times = record.chunk_times = []

    def read_timed(chunk: object) -> bool:
        if len(times) < _MAX_CHUNK_TIMES:
            times.append(time.perf_counter_ns())
        return read_chunk(chunk)

    return read_timed


class StreamReading:
    """The reading of a stream's own generator through one of ours: `with` ends the record as that ends.

    Args:
        watch: decides how the record ends.
        chunks: the stream's generator, of either kind, which `with` returns.
    """

    __slots__ = ("_chunks", "_watch", "fold_chunk", "read_chunk")

    def __init__(self, watch: StreamWatch, chunks: Any) -> None:
        self._watch = watch
        self._chunks = chunks
        self.fold_chunk = watch.fold_chunk
        self.read_chunk = watch.read_chunk

    def __enter__(self) -> Any:
        return self._chunks

    def __exit__(self, _kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        watch = self._watch
        # Ours is still running; from here on it is no longer asked.
        watch.following = None
        if error is None:
            watch.finish()
        # Without a further frame: the caller has closed our generator, or dropped it. Else the stream has raised it.
        elif isinstance(error, GeneratorExit) and trace is not None and trace.tb_next is None:
            # An asynchronous one is closed by whoever closes ours: it may have to wait.
            if type(self._chunks) is GeneratorType:
                self._chunks.close()
            watch.abandon()
        else:
            watch.fail(error)
            drop_own_frames(error)


def follow_generator(reading: StreamReading) -> Generator[Any, None, Any]:
    """Yield what the iterator of a synchronous stream yields: the short path, where that is a generator.

    A generator around it costs the host a fifth of a chunk's instructions less than a class with a `__next__`.
    """
    # No context is attached while control is with the caller.
    fold_chunk = reading.fold_chunk
    with reading as chunks:
        yield None
        for chunk in chunks:
            # `StreamWatch.read_chunk`, without the call.
            try:
                is_hidden = fold_chunk(chunk)
            except BaseException as error:
                if not CHUNK_GUARD.stops(error):
                    raise
                is_hidden = False
            if not is_hidden:
                yield chunk


async def follow_async_generator(reading: StreamReading) -> AsyncGenerator[Any, None]:
    """Yield what the iterator of an asynchronous stream yields: the short path, where that is a generator.

    A class whose `__anext__` is a coroutine takes a sixth of a chunk's instructions more.
    """
    fold_chunk = reading.fold_chunk
    with reading as chunks:
        async for chunk in chunks:
            try:
                is_hidden = fold_chunk(chunk)
            except BaseException as error:
                if not CHUNK_GUARD.stops(error):
                    raise
                is_hidden = False
            if not is_hidden:
                yield chunk
