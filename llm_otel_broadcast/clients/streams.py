"""Watching a stream without changing it: same object, same chunks, same errors, one end.

The stream's own iterator is swapped for one that looks at each chunk, and the response's `close` is hooked, so that
`break`, `close()` and context managers are seen at once (DESIGN, section 5). Where a client's stream has no iterator
to swap, a wrapt proxy round the stream does the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

import wrapt

from llm_otel_broadcast.clients.close_hook import hook_close
from llm_otel_broadcast.clients.gateways import note_refusal
from llm_otel_broadcast.clients.raw_responses import ParsedAnswer, keep_body
from llm_otel_broadcast.clients.reader import Fold, describe
from llm_otel_broadcast.clients.tracebacks import unseen
from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import Generation

if TYPE_CHECKING:
    from llm_otel_broadcast.clients.call import Call

_CHUNK = Guard("reading a chunk")
_OPENING = Guard("starting to watch a stream")
_CLOSING = Guard("ending a stream")
_PARSING = Guard("watching a raw response")
_NOT_READ: Final = "the stream was closed before its end"


def is_stream(result: Any) -> bool:
    """Return whether a result is a stream of chunks, judged by what it can do."""
    return _streams(result.__class__)


def is_raw(result: Any) -> bool:
    """Return whether a result is a raw response, which has yet to be parsed."""
    return _parses(result.__class__) and hasattr(result, "http_response")


def is_http(result: Any) -> bool:
    """Return whether a result is the HTTP response itself, which `post` gives to who asks for it."""
    return _is_http(result.__class__)


@lru_cache(maxsize=128)
def _is_http(kind: type) -> bool:
    return hasattr(kind, "raise_for_status") and hasattr(kind, "aiter_raw")


@lru_cache(maxsize=128)  # asking a model class for what it has not is slow
def _parses(kind: type) -> bool:
    return hasattr(kind, "parse")


@lru_cache(maxsize=128)
def _streams(kind: type) -> bool:
    return (hasattr(kind, "__next__") or hasattr(kind, "__anext__")) and (
        hasattr(kind, "__iter__") or hasattr(kind, "__aiter__")
    )


class Watch:
    """The end of one stream's record, reached once from whichever way comes first."""

    __slots__ = ("__weakref__", "_call", "_fold", "_record", "look", "reading")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._record = call.record
        self._fold: Fold | None = None
        self.look: Callable[[Any], bool] = _pass
        """Looks at a chunk. True: it is to be hidden from the caller."""
        with _OPENING:
            self._fold = call.reader.fold(call.record)
            self.look = _CHUNK.around(self._fold.add, default=False)
            if self._record.is_measured:
                self.look = _timed(self.look, self._record)
        open_streams.add(self)
        self.reading = False
        """True while the stream's `__next__` is under way: then the iterator decides how the record ends, not `close`."""

    def exhausted(self) -> None:
        """Take the regular end of the stream."""
        self._call.finish(self._fold_up())

    def broke(self, error: BaseException) -> None:
        """Take an error that leaves the stream."""
        self._fold_up()
        failure = Failure(type(error).__qualname__)
        with _CLOSING:
            failure = describe(error)
            note_refusal(self._record, error)
        self._call.finish(failure)

    def abandoned(self) -> None:
        """Take the caller's going away: no error if the answer was complete, which a finish reason tells, or the stream."""
        if self.reading or self._record.ended:
            return
        self._fold_up()
        complete = self._record.complete or any(choice.finish_reason for choice in self._record.choices)
        self._call.finish(None if complete else Failure("abandoned", _NOT_READ))

    def _fold_up(self) -> Failure | None:
        """Return what is wrong with a stream that ends here by itself."""
        failure = None
        if not self._record.ended and self._fold is not None:
            with _CLOSING:
                failure = self._fold.finish()
        return failure


open_streams: WeakSet[Watch] = WeakSet()


def end_open_streams() -> None:
    """End the records of all streams that are still open: the process ends, and with it nobody reads on."""
    for watch in list(open_streams):
        watch.abandoned()


def _pass(_chunk: Any) -> bool:
    return False


def _timed(look: Callable[[Any], bool], record: Generation) -> Callable[[Any], bool]:
    """Note when each chunk came as well."""
    times = record.chunk_times = []

    def noted(chunk: Any) -> bool:
        times.append(time.perf_counter_ns())
        return look(chunk)

    return noted


class WatchedIterator:
    """Stands where a stream's own iterator stood."""

    __slots__ = ("_inner", "_look", "_next", "_watch")

    def __init__(self, inner: Any, watch: Watch) -> None:
        self._inner = inner
        self._next = inner.__next__
        self._watch = watch
        self._look = watch.look

    def __iter__(self) -> WatchedIterator:
        return self

    def __next__(self) -> Any:
        watch = self._watch
        watch.reading = True
        try:
            chunk = self._next()
            while self._look(chunk):
                chunk = self._next()
        except StopIteration as end:
            watch.exhausted()
            unseen(end)
            raise
        except BaseException as error:
            watch.broke(error)
            unseen(error)
            raise
        finally:
            watch.reading = False
        return chunk

    def close(self) -> None:
        self._inner.close()
        self._watch.abandoned()

    def __del__(self) -> None:
        if hasattr(self, "_watch"):  # not where a signal handler has interrupted its making
            self._watch.abandoned()


class WatchedAsyncIterator:
    """The same for an asynchronous stream: nothing but `await` differs."""

    __slots__ = ("_inner", "_look", "_next", "_watch")

    def __init__(self, inner: Any, watch: Watch) -> None:
        self._inner = inner
        self._next = inner.__anext__
        self._watch = watch
        self._look = watch.look

    def __aiter__(self) -> WatchedAsyncIterator:
        return self

    async def __anext__(self) -> Any:
        watch = self._watch
        watch.reading = True
        try:
            chunk = await self._next()
            while self._look(chunk):
                chunk = await self._next()
        except StopAsyncIteration as end:
            watch.exhausted()
            unseen(end)
            raise
        except BaseException as error:
            watch.broke(error)
            unseen(error)
            raise
        finally:
            watch.reading = False
        return chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
        self._watch.abandoned()

    def __del__(self) -> None:
        if hasattr(self, "_watch"):  # not where a signal handler has interrupted its making
            self._watch.abandoned()


class StreamProxy(wrapt.ObjectProxy):  # type: ignore[misc,type-arg,unused-ignore]  # its stubs differ by version
    """The fallback: a stream whose iterator cannot be swapped, seen through a proxy."""

    def __init__(self, stream: Any, watch: Watch) -> None:
        super().__init__(stream)
        self._self_iterator = WatchedIterator(stream, watch) if hasattr(stream, "__next__") else stream
        self._self_async_iterator = WatchedAsyncIterator(stream, watch) if hasattr(stream, "__anext__") else stream
        self._self_watch = watch

    def __iter__(self) -> Any:
        return iter(self._self_iterator)

    def __aiter__(self) -> Any:
        return self._self_async_iterator.__aiter__()

    def __next__(self) -> Any:
        return next(self._self_iterator)

    def __anext__(self) -> Any:
        return self._self_async_iterator.__anext__()

    def __enter__(self) -> Any:
        self.__wrapped__.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> Any:
        try:
            return self.__wrapped__.__exit__(*exc_info)
        finally:
            self._self_watch.abandoned()

    async def __aenter__(self) -> Any:
        await self.__wrapped__.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> Any:
        try:
            return await self.__wrapped__.__aexit__(*exc_info)
        finally:
            self._self_watch.abandoned()

    def close(self) -> Any:
        result = self.__wrapped__.close()
        if not hasattr(result, "__await__"):
            self._self_watch.abandoned()
            return result
        return self._self_after(result)

    async def _self_after(self, closing: Any) -> Any:
        try:
            return await closing
        finally:
            self._self_watch.abandoned()


def watch_stream(stream: Any, call: Call) -> Any:
    """Watch a stream and return it; where it cannot be watched in place, return a proxy of it."""
    watch = Watch(call)
    outcome = _swap(stream, watch)
    if outcome is stream:
        hook_close(stream.response, watch.abandoned)
    return outcome


def _swap(stream: Any, watch: Watch) -> Any:
    is_async = hasattr(type(stream), "__anext__")
    wrap = WatchedAsyncIterator if is_async else WatchedIterator
    inner = getattr(stream, "_iterator", None)
    if not hasattr(inner, "__anext__" if is_async else "__next__") or not hasattr(stream, "response"):
        return StreamProxy(stream, watch)
    stream._iterator = wrap(inner, watch)  # noqa: SLF001  # DESIGN 5: the only way that keeps `type(x) is Stream`
    return stream


def watch_raw(raw: Any, call: Call) -> bool:
    """Watch a raw response. Returns whether the record can end now.

    A body that has been read is kept as bytes and parsed in the background; a stream is watched through the response's
    own `parse`; a body that the caller has yet to read ends the record when the response closes.
    """
    if call.record.stream:
        _watch_parse(raw, RawWatch(call, raw.http_response))
        return False
    if call.record.app_spans and isinstance(getattr(raw, "_parsed_by_type", None), dict):
        raw._parsed_by_type = ParsedAnswer(raw, call)  # noqa: SLF001  # `parse` itself stays as it is
    return watch_body(raw.http_response, call)


def watch_body(response: Any, call: Call) -> bool:
    """Watch an HTTP response itself. Returns whether the record can end now."""
    if response.is_closed:
        keep_body(call, response)
        return True
    hook_close(response, BodyWatch(call, response).abandoned)
    return False


def _watch_parse(raw: Any, watch: RawWatch) -> None:
    """Watch the stream that `parse` will make; closing the response unparsed ends the record too."""
    hook_close(raw.http_response, watch.abandoned)
    if isinstance(getattr(raw, "_parsed_by_type", None), dict):
        raw._parsed_by_type = Parsed(raw, watch)  # noqa: SLF001  # `parse` itself stays as it is, in every way


class Parsed(dict[Any, Any]):
    """Stands where a raw response keeps what it has parsed, until it has parsed a stream: that is watched then."""

    __slots__ = ("_raw", "_watch")

    def __init__(self, raw: Any, watch: RawWatch) -> None:
        super().__init__(raw._parsed_by_type)  # noqa: SLF001
        self._raw = raw
        self._watch = watch

    def __setitem__(self, kind: Any, made: Any) -> None:
        super().__setitem__(kind, made)
        with _PARSING:
            if is_stream(made):
                self._raw._parsed_by_type = dict(self)  # noqa: SLF001
                self._watch.is_parsed = True
                _swap(made, self._watch)


class RawWatch(Watch):
    """The end of a raw response's stream, which the caller parses or reads himself."""

    __slots__ = ("_response", "is_parsed")

    def __init__(self, call: Call, response: Any) -> None:
        super().__init__(call)
        self._response = response
        self.is_parsed = False

    def abandoned(self) -> None:
        if self.reading or self._record.ended:
            return
        if self.is_parsed or not getattr(self._response, "is_stream_consumed", False):
            super().abandoned()
        else:  # he has read the bytes himself: how far is not known, and no error
            self._call.finish()


class BodyWatch(Watch):
    """The end of a raw response whose body the caller reads himself."""

    __slots__ = ("_response",)

    def __init__(self, call: Call, response: Any) -> None:
        super().__init__(call)
        self._response = response

    def abandoned(self) -> None:
        if self._record.ended:
            return
        with _CLOSING:
            keep_body(self._call, self._response)
        self._call.finish()
