"""A proxy around a stream whose iterator cannot be swapped."""

from __future__ import annotations

from typing import Any

import wrapt

from llm_otel_broadcast.clients.stream_watch import StreamWatch
from llm_otel_broadcast.clients.streams import WatchedAsyncIterator, WatchedIterator


# The stubs of wrapt differ by version.
class StreamProxy(wrapt.ObjectProxy):  # type: ignore[misc,type-arg,unused-ignore]
    """The fallback: a stream whose iterator cannot be swapped, seen through a proxy.

    It ends the record in every case that the swapped iterator does, but it is not `type(x) is Stream`, and it can be
    neither copied nor pickled.
    """

    def __init__(self, stream: Any, watch: StreamWatch) -> None:
        super().__init__(stream)
        # `_self_` is wrapt's prefix for attributes of the proxy itself. A stream may be readable in both ways.
        is_sync, is_async = hasattr(stream, "__next__"), hasattr(stream, "__anext__")
        self._self_iterator = WatchedIterator(stream, stream.__next__, watch) if is_sync else stream
        self._self_async_iterator = WatchedAsyncIterator(stream, stream.__anext__, watch) if is_async else stream
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
        # Not what the stream's own `__enter__` returns: that would be the stream unwatched (openinference#591).
        self.__wrapped__.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> Any:
        try:
            return self.__wrapped__.__exit__(*exc_info)
        finally:
            self._self_watch.abandon()

    async def __aenter__(self) -> Any:
        await self.__wrapped__.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> Any:
        try:
            return await self.__wrapped__.__aexit__(*exc_info)
        finally:
            self._self_watch.abandon()

    def close(self) -> Any:
        closing = self.__wrapped__.close()
        # `AsyncStream.close` is a coroutine function: the stream is closed when the caller has awaited it.
        if not hasattr(closing, "__await__"):
            self._self_watch.abandon()
            return closing

        async def close() -> Any:
            try:
                return await closing
            finally:
                self._self_watch.abandon()

        return close()
