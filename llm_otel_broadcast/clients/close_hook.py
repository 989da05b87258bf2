"""Knowing when a response is closed, without changing what closing it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llm_otel_broadcast.clients.tracebacks import drop_own_frames
from llm_otel_broadcast.host.guard import Guard

_UNHOOKING = Guard("closing a response")


class CloseHook:
    """Replaces the `close` (or `aclose`) of a response's stream, and reports that it was called or dropped.

    It removes itself at its first call.

    Args:
        stream: the byte stream of an HTTP response (`response.stream`).
        name: `close` or `aclose`.
        on_close: called after the stream has closed, or when the stream is garbage collected unclosed.
    """

    __slots__ = ("_close", "_name", "_on_close", "_previous", "_stream")

    def __init__(self, stream: object, name: str, on_close: Callable[[], None]) -> None:
        # Not a weak reference: it would be dead already when garbage collection closes the stream.
        self._stream = stream
        self._name = name
        self._on_close = on_close
        self._previous = vars(stream).get(name)
        self._close = getattr(stream, name)
        setattr(stream, name, self)

    def __call__(self) -> Any:
        with _UNHOOKING:
            members = vars(self._stream)
            # Somebody else may have hooked `close` after us and call us: theirs must stay.
            if members.get(self._name) is self:
                del members[self._name]
                if self._previous is not None:
                    members[self._name] = self._previous
        closing = None
        try:
            closing = self._close()
        except BaseException as error:
            drop_own_frames(error)
            raise
        finally:
            # A coroutine (`aclose`) has not closed anything yet.
            if closing is None:
                self._on_close()
        if closing is None:
            return None

        async def close() -> None:
            try:
                await closing
            except BaseException as error:
                drop_own_frames(error)
                raise
            finally:
                self._on_close()

        return close()

    def __del__(self) -> None:
        # A signal handler may have interrupted `__init__`: then the members are not there.
        if hasattr(self, "_on_close"):
            self._on_close()


def hook_close(response: object, on_close: Callable[[], None]) -> None:
    """Call `on_close` when a response closes, or is garbage collected unclosed."""
    # On the response's stream, not on the response itself: a program may copy and pickle the response, and httpx's
    # `Response.close` closes its stream in every case.
    stream = getattr(response, "stream", None)
    for name in ("close", "aclose"):
        if hasattr(stream, name) and hasattr(stream, "__dict__"):
            CloseHook(stream, name, on_close)
