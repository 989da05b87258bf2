"""Watching generators: a stream that is a plain generator stays one, and its record ends as it does.

Each step runs with the call's span current, as the library's code runs there: it may make its request at the first one only.
While control is with the caller nothing of ours is current.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, Final

from llm_otel_broadcast.clients.stream_watch import StreamWatch
from llm_otel_broadcast.clients.tracebacks import drop_own_frames, hide_frame

if TYPE_CHECKING:
    from llm_otel_broadcast.clients.call import Call

_GENERATORS: Final = (GeneratorType, AsyncGeneratorType)


def is_generator(result: Any) -> bool:
    """Return whether a stream is a generator of Python's own, of either kind."""
    return type(result) in _GENERATORS


def watch_generator(stream: Any, call: Call, *, has_begun: bool = True) -> Any:
    """Return a generator of the same kind and name that yields what `stream` does, and takes what it takes.

    Args:
        stream: what the client returned, not started yet.
        call: its call; it ends with the generator.
        has_begun: the call is under way, and ends even if nobody reads the generator. False: nothing has happened before
            the first step; without one, there was no call.
    """
    follow = _follow_async if type(stream) is AsyncGeneratorType else _follow
    watched: Any = follow(stream, _Reading(call, has_begun=has_begun))
    watched.__name__, watched.__qualname__ = stream.__name__, stream.__qualname__
    return watched


class _Reading:
    """The reading of one generator, from its first step to whatever ends it. Dropped unread, it ends what has begun."""

    __slots__ = ("_call", "_watch")

    def __init__(self, call: Call, *, has_begun: bool) -> None:
        self._call = call
        self._watch = StreamWatch(call) if has_begun else None

    def __enter__(self) -> StreamWatch:
        """Take the first step."""
        if self._watch is None:
            self._call.record.restart()
            self._watch = StreamWatch(self._call)
        return self._watch

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Take the end: the generator returns, is closed, or raises."""
        # no end is lost to the caller: what is raised goes on, without our frame
        watch = self._watch
        if watch is None:
            return
        if error is None:
            watch.finish()
        elif isinstance(error, GeneratorExit):
            watch.abandon()
        else:
            watch.fail(error)
        if error is not None:
            drop_own_frames(error)

    def __del__(self) -> None:
        # `_watch` is not there where a signal handler has interrupted the making
        watch = getattr(self, "_watch", None)
        if watch is not None:
            watch.abandon()


@hide_frame
def _follow(stream: Generator[Any, Any, Any], reading: _Reading) -> Generator[Any, Any, Any]:
    call = reading._call  # noqa: SLF001
    with reading as watch:
        step, argument = stream.send, None
        while True:
            # at each step: with a generator the client's code runs in the steps, and may make a request in any of them
            call.enter()
            try:
                chunk = step(argument)
            except StopIteration as end:
                return end.value
            finally:
                call.leave()
            step, argument = stream.send, None
            if watch.read_chunk(chunk):
                continue
            try:
                argument = yield chunk
            except GeneratorExit:
                # at once, not when the client's generator is collected: it may hold a connection
                stream.close()
                raise
            # thrown by the caller: the client's generator may catch it and go on
            except BaseException as error:  # noqa: BLE001
                drop_own_frames(error)
                step, argument = stream.throw, error


@hide_frame
async def _follow_async(stream: AsyncGenerator[Any, Any], reading: _Reading) -> AsyncGenerator[Any, Any]:
    call = reading._call  # noqa: SLF001
    with reading as watch:
        step, argument = stream.asend, None
        while True:
            call.enter()
            try:
                chunk = await step(argument)
            except StopAsyncIteration:
                return
            finally:
                call.leave()
            step, argument = stream.asend, None
            if watch.read_chunk(chunk):
                continue
            try:
                argument = yield chunk
            except GeneratorExit:
                await stream.aclose()
                raise
            except BaseException as error:  # noqa: BLE001
                drop_own_frames(error)
                step, argument = stream.athrow, error
