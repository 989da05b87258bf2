"""Watching a stream without changing it: same object, same chunks, same errors, one end.

The stream's own iterator is swapped for one that looks at each chunk, and the response's `close` is hooked, so that
`break`, `close()` and context managers are seen at once. Where a client's stream has no iterator to swap, a wrapt proxy
around the stream does the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from functools import lru_cache
from types import GeneratorType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from llm_otel_broadcast.clients.close_hook import hook_close
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


# Cached by class: asking a pydantic class for a name it lacks goes through its metaclass's `__getattr__`, which is slow.
@lru_cache(maxsize=128)
def is_stream_class(kind: type) -> bool:
    """Return whether results of a class are streams of chunks, judged by what they can do."""
    return (hasattr(kind, "__next__") or hasattr(kind, "__anext__")) and (
        hasattr(kind, "__iter__") or hasattr(kind, "__aiter__")
    )


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

    __slots__ = ("__weakref__", "_call", "_fold", "_record", "fold_chunk", "is_reading")

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
        """True while the stream's `__next__` is under way: then the iterator decides how the record ends, not `close`."""

    def read_chunk(self, chunk: Any) -> bool:
        """Read a chunk into the record. True: the chunk is to be hidden from the caller."""
        with CHUNK_GUARD:
            return self.fold_chunk(chunk)
        return False

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
        if self.is_reading or self._record.ended:
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


def follow_generator(inner: Generator[Any, None, Any], watch: StreamWatch) -> Generator[Any, None, Any]:
    """Yield what the iterator of a synchronous stream yields: the short path, where that is a generator.

    A generator around it costs the host a fifth of a chunk's instructions less than a class with a `__next__`.
    """
    # No context is attached while control is with the caller, and no `with` is entered: this runs at every chunk.
    fold_chunk = watch.fold_chunk
    try:
        # `swap_iterator` takes this step: of a generator that has not begun no code runs when it is collected.
        yield None
        watch.is_reading = True
        for chunk in inner:
            try:
                is_hidden = fold_chunk(chunk)
            except BaseException as error:
                if not CHUNK_GUARD.stops(error):
                    raise
                is_hidden = False
            if not is_hidden:
                watch.is_reading = False
                yield chunk
                watch.is_reading = True
    # Not `Exception`: an interrupt ends the stream as well.
    except BaseException as error:
        # The caller has closed it; one that was raised while the stream was being read is an error like any other.
        if isinstance(error, GeneratorExit) and not watch.is_reading:
            inner.close()
            raise
        watch.fail(error)
        drop_own_frames(error)
        raise
    else:
        watch.finish()
    finally:
        watch.is_reading = False
        watch.abandon()


class _StreamIterator:
    """What the iterators of both kinds of streams have in common.

    Args:
        inner: the stream's own iterator.
        read_next: its `__next__` or `__anext__`.
        watch: decides how the record ends.
    """

    __slots__ = ("_fold_chunk", "_inner", "_read_next", "_watch")

    def __init__(self, inner: Any, read_next: Callable[[], Any], watch: StreamWatch) -> None:
        self._inner = inner
        self._read_next = read_next
        self._watch = watch
        self._fold_chunk = watch.fold_chunk

    def __del__(self) -> None:
        # A signal handler may have interrupted `__init__`: then the members are not there.
        if hasattr(self, "_watch"):
            self._watch.abandon()


class WatchedIterator(_StreamIterator):
    """Stands in the place of a synchronous iterator of any kind."""

    __slots__ = ()

    def __iter__(self) -> WatchedIterator:
        return self

    def __next__(self) -> Any:
        watch = self._watch
        watch.is_reading = True
        try:
            chunk = self._read_next()
            while watch.read_chunk(chunk):
                chunk = self._read_next()
        # Not `Exception`: an interrupt or a cancellation ends the stream as well.
        except BaseException as error:
            watch.end_by(error)
            drop_own_frames(error)
            raise
        finally:
            watch.is_reading = False
        return chunk

    def close(self) -> None:
        self._inner.close()
        self._watch.abandon()


class WatchedAsyncIterator(_StreamIterator):
    """Replaces the iterator of an asynchronous stream.

    Not a generator: one that is dropped is closed by the event loop only, some rounds later.
    """

    __slots__ = ()

    def __aiter__(self) -> WatchedAsyncIterator:
        return self

    async def __anext__(self) -> Any:
        watch = self._watch
        watch.is_reading = True
        try:
            while True:
                chunk = await self._read_next()
                try:
                    is_hidden = self._fold_chunk(chunk)
                except BaseException as error:
                    if not CHUNK_GUARD.stops(error):
                        raise
                    is_hidden = False
                if not is_hidden:
                    return chunk
        except BaseException as error:
            watch.end_by(error)
            drop_own_frames(error)
            raise
        finally:
            watch.is_reading = False

    async def aclose(self) -> None:
        await self._inner.aclose()
        self._watch.abandon()


def watch_stream(stream: object, call: Call) -> Any:
    """Watch a stream that a call has returned.

    Args:
        stream: the client's stream, sync or async.
        call: ends when the stream does, in whatever way.

    Returns:
        The stream itself; a proxy of it where it cannot be watched in place.
    """
    watch = StreamWatch(call)
    watched = swap_iterator(stream, watch)
    if watched is stream:
        hook_close(stream.response, watch.abandon)
    return watched


def swap_iterator(stream: Any, watch: StreamWatch) -> Any:
    """Replace the stream's own iterator by a watched one and return the stream; return a proxy where it has none."""
    inner = getattr(stream, "_iterator", None)
    is_async = hasattr(type(stream), "__anext__")
    read_next = getattr(inner, "__anext__" if is_async else "__next__", None)
    if read_next is None or not hasattr(stream, "response"):
        # Here only: importing wrapt takes as long as a tenth of ours, and no stream of the `openai` client needs it.
        from llm_otel_broadcast.clients.stream_proxy import StreamProxy

        return StreamProxy(stream, watch)
    watched: Any
    if type(inner) is GeneratorType:
        watched = follow_generator(inner, watch)
        next(watched)
    else:
        watched = (
            WatchedAsyncIterator(inner, read_next, watch) if is_async else WatchedIterator(inner, read_next, watch)
        )
    # The only way that keeps `type(x) is Stream` (deepset-ai/haystack#9304: `isinstance(x, Stream)` failed).
    stream._iterator = watched  # noqa: SLF001
    return stream
