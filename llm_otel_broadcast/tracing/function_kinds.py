"""Running any kind of function inside a context, which is current only while the function's own code runs."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from functools import wraps
from types import TracebackType
from typing import Any, TypeAlias, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., object])


def _do_nothing(_argument: object = None) -> None: ...


class Steps:
    """What to do around the code of one call, step by step.

    As a context manager it is one stretch in which the function's own code runs: a generator has one for each value.
    """

    __slots__ = ("close", "enter", "leave", "take_piece", "take_result")

    def __init__(
        self,
        enter: Callable[[], None],
        leave: Callable[[], None],
        close: Callable[[BaseException | None], None] = _do_nothing,
        take_result: Callable[[object], None] = _do_nothing,
        take_piece: Callable[[object], None] = _do_nothing,
    ) -> None:
        """Take the steps.

        Args:
            enter: makes the context current.
            leave: puts back what was current before; may be called once more than `enter`.
            close: ends the context, with what the function raised; may be called more than once.
            take_result: is given what a function or coroutine returned.
            take_piece: is given each value that a generator yielded.
        """
        self.enter = enter
        self.leave = leave
        self.close = close
        self.take_result = take_result
        self.take_piece = take_piece

    def __enter__(self) -> None:
        self.enter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.leave()
        # a signal handler has raised in between
        except BaseException:
            self.leave()
            raise


StepsMaker: TypeAlias = Callable[[tuple[object, ...], dict[str, object]], Steps]
"""Makes the steps of one call from its arguments."""


def is_stepwise(function: Callable[..., object]) -> bool:
    """Return whether a function's own code runs after it has returned: a coroutine function, a generator of either kind."""
    return _driver(function) is not _plain


def around(function: Function, steps_of: StepsMaker) -> Function:
    """Return the function with steps around each of its calls; its kind, name, signature and annotations stay."""
    # under the descriptor, so that binding works as ever, whichever decorator stands first
    if isinstance(function, staticmethod | classmethod):
        return cast("Function", type(function)(around(function.__func__, steps_of)))
    # frameworks ask `inspect` whether to await: a wrapper must be of the function's own kind
    wrapper = _driver(function)(function, steps_of)
    if _kind(function) is not _plain or _driver(function) is _plain:
        return cast("Function", wraps(function)(wrapper))

    # `inspect` calls this none of the kinds, as it does the callable object
    def call(*args: object, **kwargs: object) -> object:
        return wrapper(*args, **kwargs)

    return cast("Function", wraps(function)(call))


# `Any`: each driver has functions of its own kind only
_Driver: TypeAlias = Callable[[Any, StepsMaker], Callable[..., object]]


def _driver(function: Callable[..., object]) -> _Driver:
    """Return what runs a function; of an object that is called like one, its `__call__` decides."""
    kind = _kind(function)
    return kind if kind is not _plain or inspect.isroutine(function) else _kind(type(function).__call__)


def _kind(function: object) -> _Driver:
    if inspect.isasyncgenfunction(function):
        return _async_generator
    if inspect.isgeneratorfunction(function):
        return _generator
    return _coroutine if inspect.iscoroutinefunction(function) else _plain


class _WholeCall:
    """One call from beginning to end: the result is handed to the steps, and they close with what left the call."""

    __slots__ = ("result", "steps")

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.result: object = None

    def __enter__(self) -> _WholeCall:
        self.steps.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.steps.leave()
            if error is None:
                self.steps.take_result(self.result)
        # once more where a signal handler has raised in between
        finally:
            self.steps.leave()
            self.steps.close(error)


class _GeneratorCall:
    """One generator from beginning to end, and what it is to be resumed with.

    Attributes:
        resume: the method of the generator to call next.
        argument: the value that was sent in, or the exception that was thrown in.
    """

    __slots__ = ("argument", "resume", "steps")

    def __init__(self, steps: Steps, resume: Callable[[Any], Any]) -> None:
        self.steps = steps
        self.resume = resume
        self.argument: object = None

    def __enter__(self) -> _GeneratorCall:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # what was thrown in refers to the frame that refers to this
        self.argument = None
        self.steps.close(error)


def _plain(function: Callable[..., object], steps_of: StepsMaker) -> Callable[..., object]:
    def call(*args: object, **kwargs: object) -> object:
        with _WholeCall(steps_of(args, kwargs)) as whole:
            whole.result = function(*args, **kwargs)
        return whole.result

    return call


def _coroutine(function: Callable[..., Awaitable[object]], steps_of: StepsMaker) -> Callable[..., object]:
    async def call(*args: object, **kwargs: object) -> object:
        with _WholeCall(steps_of(args, kwargs)) as whole:
            whole.result = await function(*args, **kwargs)
        return whole.result

    return call


def _generator(
    function: Callable[..., Generator[object, object, object]], steps_of: StepsMaker
) -> Callable[..., object]:
    def call(*args: object, **kwargs: object) -> Generator[object, object, object]:
        steps = steps_of(args, kwargs)
        inner = function(*args, **kwargs)
        # nothing of ours is current while the caller has a value: it may do anything with it, in any order
        with _GeneratorCall(steps, inner.send) as running:
            while True:
                try:
                    with steps:
                        piece = running.resume(running.argument)
                except StopIteration as end:
                    return end.value
                steps.take_piece(piece)
                try:
                    running.resume, running.argument = inner.send, (yield piece)
                # left early: its `finally` blocks are its own code and run inside the context
                except GeneratorExit:
                    with steps:
                        inner.close()
                    raise
                # the generator's own to handle
                except BaseException as error:  # noqa: BLE001
                    running.resume, running.argument = inner.throw, error

    return call


def _async_generator(
    function: Callable[..., AsyncGenerator[object, object]], steps_of: StepsMaker
) -> Callable[..., object]:
    async def call(*args: object, **kwargs: object) -> AsyncGenerator[object, object]:
        steps = steps_of(args, kwargs)
        inner = function(*args, **kwargs)
        with _GeneratorCall(steps, inner.asend) as running:
            while True:
                try:
                    with steps:
                        piece = await running.resume(running.argument)
                except StopAsyncIteration:
                    return
                steps.take_piece(piece)
                try:
                    running.resume, running.argument = inner.asend, (yield piece)
                except GeneratorExit:
                    with steps:
                        await inner.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001
                    running.resume, running.argument = inner.athrow, error

    return call
