"""Running any kind of function inside a scope: it is current only while the function's own code runs."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from functools import wraps
from types import TracebackType
from typing import Any, Protocol, TypeAlias, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])


class Step(Protocol):
    """A scope from its beginning to its end, entered and left any number of times."""

    def enter(self) -> None: ...
    def leave(self) -> None: ...
    def took(self, value: Any) -> None: ...
    def yielded(self, value: Any) -> None: ...
    def close(self, error: BaseException | None = None) -> None: ...


Opener: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], Step]
"""Makes the scope of one call from its arguments."""


def is_stepwise(function: Callable[..., Any]) -> bool:
    """Return whether a function's own code runs after it has returned: a coroutine function, a generator of either kind."""
    return _driver(function) is not _plain


def around(function: Function, open_scope: Opener) -> Function:
    """Return the function with each of its calls inside a scope; its kind, name, signature and annotations stay."""
    if isinstance(function, staticmethod | classmethod):
        return cast("Function", type(function)(around(function.__func__, open_scope)))
    made = _driver(function)(function, open_scope)
    if _kind(function) is _plain and _driver(function) is not _plain:
        made = _as_plain(made)
    return cast("Function", wraps(function)(made))


_Driver: TypeAlias = Callable[[Callable[..., Any], Opener], Callable[..., Any]]


def _driver(function: Callable[..., Any]) -> _Driver:
    """Return what runs a function; of an object that is called like one, its `__call__` decides."""
    found = _kind(function)
    return found if found is not _plain or inspect.isroutine(function) else _kind(type(function).__call__)


def _kind(function: Callable[..., Any]) -> _Driver:
    if inspect.isasyncgenfunction(function):
        return _async_generator
    if inspect.isgeneratorfunction(function):
        return _generator
    return _coroutine if inspect.iscoroutinefunction(function) else _plain


def _as_plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that `inspect` calls none of the kinds, as it does a callable object."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


class _Whole:
    """One call from beginning to end: `took` is told its result, and the scope closes with what left it."""

    __slots__ = ("result", "step")

    def __init__(self, step: Step) -> None:
        self.step = step
        self.result: Any = None

    def __enter__(self) -> _Whole:
        self.step.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.step.leave()
            if error is None:
                self.step.took(self.result)
        finally:  # once more where a signal handler has raised in between
            self.step.leave()
            self.step.close(error)


class _Stretch:
    """The time in which a generator's own code runs, between two of its values."""

    __slots__ = ("_step",)

    def __init__(self, step: Step) -> None:
        self._step = step

    def __enter__(self) -> None:
        self._step.enter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._step.leave()
        except BaseException:  # a signal handler has raised in between
            self._step.leave()
            raise


def _plain(function: Callable[..., Any], open_scope: Opener) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with _Whole(open_scope(args, kwargs)) as whole:
            whole.result = function(*args, **kwargs)
        return whole.result

    return call


def _coroutine(function: Callable[..., Any], open_scope: Opener) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        with _Whole(open_scope(args, kwargs)) as whole:
            whole.result = await function(*args, **kwargs)
        return whole.result

    return call


def _generator(function: Callable[..., Any], open_scope: Opener) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        step = open_scope(args, kwargs)
        stretch = _Stretch(step)
        inner = function(*args, **kwargs)
        advance, value = inner.send, None
        try:
            while True:
                try:
                    with stretch:
                        made = advance(value)
                except StopIteration as end:
                    step.close()
                    return end.value
                step.yielded(made)
                advance = inner.send
                try:
                    value = yield made
                except GeneratorExit:
                    with stretch:
                        inner.close()
                    raise
                except BaseException as thrown:  # noqa: BLE001  # the generator's to handle
                    advance, value = inner.throw, thrown
        except BaseException as error:
            value = None  # what was thrown in refers to this frame
            step.close(error)
            raise

    return call


def _async_generator(function: Callable[..., Any], open_scope: Opener) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        step = open_scope(args, kwargs)
        stretch = _Stretch(step)
        inner = function(*args, **kwargs)
        advance, value = inner.asend, None
        try:
            while True:
                try:
                    with stretch:
                        made = await advance(value)
                except StopAsyncIteration:
                    step.close()
                    return
                step.yielded(made)
                advance = inner.asend
                try:
                    value = yield made
                except GeneratorExit:
                    with stretch:
                        await inner.aclose()
                    raise
                except BaseException as thrown:  # noqa: BLE001  # the generator's to handle
                    advance, value = inner.athrow, thrown
        except BaseException as error:
            value = None  # what was thrown in refers to this frame
            step.close(error)
            raise

    return call
