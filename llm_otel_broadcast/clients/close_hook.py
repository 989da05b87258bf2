"""Knowing when a response is closed, without changing what closing it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llm_otel_broadcast.clients.tracebacks import unseen
from llm_otel_broadcast.host.guard import Guard

_UNHOOKING = Guard("closing a response")


class CloseHook:
    """Stands where the `close` (or `aclose`) of a response's stream stood, and tells when it is called or dropped.

    On the stream, because the host may copy and pickle the response. It goes with its first call.
    """

    __slots__ = ("_below", "_close", "_ended", "_name", "_stream")

    def __init__(self, stream: Any, name: str, ended: Callable[[], None]) -> None:
        self._stream = stream  # no weak reference: it would be gone when garbage collection closes the stream
        self._name = name
        self._ended = ended
        self._below = vars(stream).get(name)
        self._close = getattr(stream, name)
        setattr(stream, name, self)

    def __call__(self) -> Any:
        with _UNHOOKING:
            self._go(vars(self._stream))
        closing = None
        try:
            closing = self._close()
        except BaseException as error:
            unseen(error)
            raise
        finally:
            if closing is None:
                self._ended()
        return closing if closing is None else self._after(closing)

    def _go(self, members: dict[str, Any]) -> None:
        if members.get(self._name) is not self:  # somebody else stands above
            return
        del members[self._name]
        if self._below is not None:
            members[self._name] = self._below

    async def _after(self, closing: Any) -> None:
        try:
            await closing
        except BaseException as error:
            unseen(error)
            raise
        finally:
            self._ended()

    def __del__(self) -> None:
        if hasattr(self, "_ended"):  # not where a signal handler has interrupted its making
            self._ended()


def hook_close(response: Any, ended: Callable[[], None]) -> None:
    """Have the stream of a response tell when it is closed."""
    stream = getattr(response, "stream", None)
    for name in ("close", "aclose"):
        if hasattr(stream, name) and hasattr(stream, "__dict__"):
            CloseHook(stream, name, ended)
