"""The functions that take the place of a client's methods: the same call, with ours around it.

One for each kind: a plain function, a coroutine function, a plain function that returns a coroutine, a generator function. Each
has the name and the signature of the client's, and neither tracebacks nor warnings show it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

from llm_otel_broadcast.clients.call import Call, Patchpoint
from llm_otel_broadcast.clients.generators import is_generator, watch_generator
from llm_otel_broadcast.clients.tracebacks import drop_own_frames, hide_frame


def watch(original: Any, patchpoint: Patchpoint, *, is_async: bool | None) -> Callable[..., Any]:
    """Return the function that takes the place of a client's.

    Args:
        original: what stands there: the client's function, or what somebody has put in its place.
        patchpoint: where to ask at each call.
        is_async: what it returns is to be awaited; None: the function tells by its kind.
    """
    method = callable_of(original)
    if inspect.iscoroutinefunction(original) and is_async is not False:
        replacement = _watch_coroutine(method, patchpoint)
    elif is_async:
        replacement = _watch_later(method, patchpoint, original)
    elif is_async is None and (inspect.isgeneratorfunction(original) or inspect.isasyncgenfunction(original)):
        # the call begins with the first step
        def resume(call: Call, result: Any) -> Any:
            return watch_generator(result, call, has_begun=False) if is_generator(result) else None

        replacement = _watch_deferred(method, patchpoint, resume)
    else:
        replacement = _watch_call(method, patchpoint)
    return taking_place(original, replacement)


def callable_of(original: Any) -> Callable[..., Any]:
    """Return what to call with the instance as its first argument."""
    # a function is called as it is: binding it at each call would cost as much as all of ours before the request
    return original if type(original) is FunctionType else functools.partial(_call_bound, original)


def taking_place(original: Any, replacement: Callable[..., Any]) -> Callable[..., Any]:
    """Have a function of ours look like the one that it replaces: name, signature, documentation."""
    watched: Callable[..., Any] = hide_frame(functools.wraps(original)(replacement))
    return watched


@hide_frame
def _call_bound(original: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Call what is no function the way attribute access would have it: another's wrapper is bound, a mock is not."""
    bind = getattr(type(original), "__get__", None)
    if bind is None or not args:
        return original(*args[1:], **kwargs)
    return bind(original, args[0], type(args[0]))(*args[1:], **kwargs)


def _watch_call(method: Callable[..., Any], patchpoint: Patchpoint) -> Callable[..., Any]:
    def create(*args: Any, **kwargs: Any) -> Any:
        call = None
        # round our own steps too: a signal handler may raise in each of them
        try:
            call = patchpoint.begin(args, kwargs)
            if call is not None:
                call.enter()
            result = method(*args, **(kwargs if call is None else call.kwargs))
            return result if call is None else call.returned(result)
        except BaseException as error:
            if call is not None:
                call.failed(error)
            drop_own_frames(error)
            raise

    return create


def _watch_coroutine(method: Callable[..., Any], patchpoint: Patchpoint) -> Callable[..., Any]:
    async def create(*args: Any, **kwargs: Any) -> Any:
        call = None
        try:
            call = patchpoint.begin(args, kwargs)
            if call is not None:
                call.enter()
            result = await method(*args, **(kwargs if call is None else call.kwargs))
            return result if call is None else call.returned(result)
        except BaseException as error:
            if call is not None:
                call.failed(error)
            drop_own_frames(error)
            raise

    return create


def _watch_later(method: Callable[..., Any], patchpoint: Patchpoint, original: Any) -> Callable[..., Any]:
    """Watch a plain function that returns a coroutine."""

    async def follow(call: Call, unstarted: _Unstarted) -> Any:
        try:
            call.record.restart()
            call.enter()
            return call.returned(await unstarted.take())
        except BaseException as error:
            call.failed(error)
            drop_own_frames(error)
            raise

    def resume(call: Call, result: Any) -> Any:
        return follow(call, _Unstarted(result)) if hasattr(result, "__await__") else None

    # the coroutine bears the name of the client's: asyncio shows it where a task is printed
    hide_frame(functools.wraps(original, assigned=("__name__", "__qualname__"), updated=())(follow))
    return _watch_deferred(method, patchpoint, resume)


def _watch_deferred(
    method: Callable[..., Any], patchpoint: Patchpoint, resume: Callable[[Call, Any], Any]
) -> Callable[..., Any]:
    """Watch a function whose work begins later: what is checked and announced as it is called, still is.

    Args:
        method: the client's function.
        patchpoint: where to ask at each call.
        resume: returns what the caller gets for the function's result; None where the result is not of the kind that begins
            later.
    """

    def create(*args: Any, **kwargs: Any) -> Any:
        call = None
        try:
            call = patchpoint.begin(args, kwargs)
            result = method(*args, **(kwargs if call is None else call.kwargs))
        except BaseException as error:
            if call is not None:
                call.enter()
                call.failed(error)
            drop_own_frames(error)
            raise
        if call is None:
            return result
        deferred = resume(call, result)
        if deferred is not None:
            return deferred
        # somebody's own method below ours, which answers at once
        call.enter()
        return call.returned(result)

    return create


class _Unstarted:
    """A coroutine of the client's that is not under way yet."""

    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Any) -> None:
        self._coroutine = coroutine

    def take(self) -> Any:
        coroutine, self._coroutine = self._coroutine, None
        return coroutine

    def __del__(self) -> None:
        # never awaited: Python warns of that once, for our coroutine, and not for the client's as well
        close = getattr(self._coroutine, "close", None)
        if close is not None:
            close()
