"""The one place where errors stop: `Guard` for our own, `Callback` for the program's functions, `or_else` for foreign objects."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar, overload

from llm_otel_broadcast.host.interruption import is_from_signal_handler, is_from_timer
from llm_otel_broadcast.host.logs import is_own_thread, log
from llm_otel_broadcast.host.reminders import Reminder

errors: Counter[str] = Counter()
"""How many errors were stopped, by what we were doing; for a `Callback`, by its name."""
reminders: defaultdict[str, Reminder] = defaultdict(Reminder)
"""When the log is to have them again."""

Value = TypeVar("Value")
Argument = TypeVar("Argument")

raise_again = False
"""Private switch of our own test suite: stopped errors are raised after all, so that no test passes over one."""


def _stays_here(error: BaseException) -> bool:
    """Return whether an exception of a foreign object or function must go no further."""
    # On a thread of ours everything stops. On the host's, what a signal handler raised is for the host, and so is what is no
    # `Exception`: an interrupt, a cancellation.
    if is_own_thread():
        return not isinstance(error, GeneratorExit)
    return isinstance(error, Exception) and not is_from_signal_handler(error)


def is_for_host(error: BaseException) -> bool:
    """Return whether an exception that came up in our code was raised there by the host: by a signal handler, or a timer."""
    return is_from_signal_handler(error) or is_from_timer(error)


class Guard:
    """`with Guard("reading the response"):` lets no error of ours out. Stateless: one instance serves all threads.

    Args:
        activity: what our code does there, for the log and for `status().internal_errors`.
    """

    __slots__ = ("_activity",)

    def __init__(self, activity: str) -> None:
        self._activity = activity

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return error is not None and self.stops(error)

    def around(self, function: Callable[[Argument], Value], default: Value) -> Callable[[Argument], Value]:
        """Return the function with this guard around it: a call of it that fails returns `default`."""

        # For what runs at every chunk of a stream, where entering and leaving a `with` would cost the host's thread too much.
        def guarded(argument: Argument) -> Value:
            try:
                return function(argument)
            except BaseException as error:
                if not self.stops(error):
                    raise
                return default

        return guarded

    def stops(self, error: BaseException) -> bool:
        """Count an error that is ours and return True; return False for one that has to go on to the host.

        For an `except` at a place that runs too often for a `with`, which takes 2,000 instructions where nothing is raised.
        """
        if raise_again or not _stays_here(error) or (is_from_timer(error) and not is_own_thread()):
            return False
        text = (
            "llm_otel_broadcast failed while %s (%s). Your call is not affected; its trace may be incomplete. "
            "Please report it. status() counts further ones."
        )
        _count(self._activity, text, self._activity, type(error).__name__, error=error)
        return True


class Callback:
    """A function of the program's that we call. Its errors stop here: counted, and logged now and then.

    Args:
        name: what the program knows the function by; its errors are counted under it.
        function: the function.
        consequence: what an error means for what is recorded, for the log.
        prefix: what the log says before the name.
    """

    __slots__ = ("_consequence", "_function", "_name", "_prefix")

    def __init__(self, name: str, function: Callable[..., Any], consequence: str, *, prefix: str = "your ") -> None:
        self._name = name
        self._function = function
        self._consequence = consequence
        self._prefix = prefix

    def __call__(self, *args: object, **kwargs: object) -> tuple[bool, Any]:
        """Call the function; return whether it succeeded, and what it returned (None if it failed)."""
        try:
            return True, self._function(*args, **kwargs)
        except BaseException as error:
            if not _stays_here(error):
                raise
            self.fail(type(error).__name__, error)
            return False, None

    def fail(self, reason: str, error: BaseException | None = None) -> None:
        """Count a failure; log it at first, and now and then while it goes on."""
        text = "%s%s failed (%s): %s. status() counts further ones."
        _count(self._name, text, self._prefix, self._name, reason, self._consequence, error=error)


def _count(name: str, text: str, *args: object, error: BaseException | None) -> None:
    """Count an error, and log it where a line is due: with its traceback, without its text, which may quote content."""
    errors[name] += 1
    if not reminders[name].occurs(time.monotonic()):
        return
    trace = None if error is None else (type(error), without_text(error), error.__traceback__)
    log(logging.WARNING, text, *args, exc_info=trace)


def without_text(error: BaseException) -> Exception:
    """Give the error's type without its text, which can quote a prompt or a secret."""
    return RuntimeError(f"{type(error).__name__} (text withheld: it may quote content)")


@overload
def or_else(action: Callable[[], Value], default: Value) -> Value: ...


@overload
def or_else(action: Callable[[], Value], *, recover: Callable[[BaseException], Value]) -> Value: ...


def or_else(
    action: Callable[[], Value],
    default: Value | None = None,
    *,
    recover: Callable[[BaseException], Value] | None = None,
) -> Value | None:
    """Do something with a foreign object: an argument's `__str__`, an exporter, a plug-in. Its errors are none of ours.

    They are neither counted nor logged here.

    Args:
        action: what to do with it.
        default: the result when that fails.
        recover: makes the result from the error instead.
    """
    try:
        return action()
    except BaseException as error:
        if not _stays_here(error):
            raise
        return default if recover is None else recover(error)
