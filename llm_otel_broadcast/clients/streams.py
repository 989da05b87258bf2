"""Watching a stream without changing it: same object, same chunks, same errors, one end.

The stream's own iterator is swapped for one that looks at each chunk, and the response's `close` is hooked, so that
`break`, `close()` and context managers are seen at once. Where a client's stream has no iterator to swap, a wrapt proxy
around the stream does the same.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import lru_cache, partial
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any
from weakref import ref

from llm_otel_broadcast.clients.close_hook import hook_close
from llm_otel_broadcast.clients.stream_watch import StreamReading, StreamWatch, follow_async_generator
from llm_otel_broadcast.clients.tracebacks import drop_own_frames
from llm_otel_broadcast.host.guard import or_else

if TYPE_CHECKING:
    from llm_otel_broadcast.clients.call import Call


# Cached by class: asking a pydantic class for a name it lacks goes through its metaclass's `__getattr__`, which is slow.
@lru_cache(maxsize=128)
def is_stream_class(kind: type) -> bool:
    """Return whether results of a class are streams of chunks, judged by what they can do."""
    return (hasattr(kind, "__next__") or hasattr(kind, "__anext__")) and (
        hasattr(kind, "__iter__") or hasattr(kind, "__aiter__")
    )


class _StreamIterator:
    """What the iterators of both kinds of streams have in common.

    Args:
        inner: the stream's own iterator.
        read_next: its `__next__` or `__anext__`.
        watch: decides how the record ends.
    """

    __slots__ = ("_inner", "_read_next", "_watch")

    def __init__(self, inner: Any, read_next: Callable[[], Any], watch: StreamWatch) -> None:
        self._inner = inner
        self._read_next = read_next
        self._watch = watch

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
    """Stands in the place of an asynchronous iterator of any kind."""

    __slots__ = ()

    def __aiter__(self) -> WatchedAsyncIterator:
        return self

    async def __anext__(self) -> Any:
        watch = self._watch
        watch.is_reading = True
        try:
            chunk = await self._read_next()
            while watch.read_chunk(chunk):
                chunk = await self._read_next()
        except BaseException as error:
            watch.end_by(error)
            drop_own_frames(error)
            raise
        finally:
            watch.is_reading = False
        return chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
        self._watch.abandon()


class FollowedAsyncGenerator:
    """Stands in the place of an asynchronous generator, and has one of ours follow it.

    Not that itself: one that is dropped is closed by the event loop only, some rounds later.

    Args:
        inner: the stream's own iterator.
        watch: decides how the record ends.
    """

    __slots__ = ("__anext__", "_following", "_inner", "_watch")

    def __init__(self, inner: AsyncGenerator[Any, None], watch: StreamWatch) -> None:
        self._inner = inner
        self._watch = watch
        self._following = following = follow_async_generator(StreamReading(watch, inner))
        # Weak: a cycle would keep the stream, once dropped, until the next collection of garbage.
        watch.following = ref(following)
        # Its own method, so that a step takes no call of ours.
        self.__anext__ = following.__anext__

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._following

    async def aclose(self) -> None:
        await self._following.aclose()
        await self._inner.aclose()
        self._watch.abandon()

    def __del__(self) -> None:
        # A signal handler may have interrupted `__init__`: then the members are not there.
        if not hasattr(self, "__anext__"):
            return
        self._watch.following = None
        self._watch.abandon()
        # Ours waits for nothing when it is closed. What is closed needs no event loop, which trio would warn of.
        or_else(partial(self._following.aclose().send, None), None)


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
        watched = watch.follow(inner)
    elif type(inner) is AsyncGeneratorType:
        watched = FollowedAsyncGenerator(inner, watch)
    else:
        watched = (
            WatchedAsyncIterator(inner, read_next, watch) if is_async else WatchedIterator(inner, read_next, watch)
        )
    # The only way that keeps `type(x) is Stream` (deepset-ai/haystack#9304: `isinstance(x, Stream)` failed).
    stream._iterator = watched  # noqa: SLF001
    return stream
