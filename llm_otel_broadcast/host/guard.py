"""The one place where our own errors stop, counted and logged once for each place, and where foreign objects' errors do."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TypeVar

from llm_otel_broadcast.host.interruption import is_from_signal_handler, is_from_timer
from llm_otel_broadcast.host.logs import is_own_thread, log

errors: Counter[str] = Counter()
"""Errors of ours, and of functions that the program gave us, that were stopped, by place."""

Value = TypeVar("Value")

told: Final[set[str]] = set()
"""Functions of the program's whose failure has been said."""

raise_again = False
"""Private switch of our own test suite: stopped errors are raised after all, so that no test passes over one."""


def _stays_here(error: BaseException) -> bool:
    """Return whether an exception of a foreign object or function must go no further.

    On a thread of ours everything stops. On the host's, what a signal handler raised is for the host, and so is what is no
    `Exception`: an interrupt, a cancellation.
    """
    if is_own_thread():
        return not isinstance(error, GeneratorExit)
    return isinstance(error, Exception) and not is_from_signal_handler(error)


class Guard:
    """`with Guard("reading the response"):` lets nothing of ours out. Stateless, so one instance serves all threads."""

    __slots__ = ("_place",)

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return error is not None and self._stops(error)

    def around(self, look: Callable[[Any], Value], otherwise: Value) -> Callable[[Any], Value]:
        """Return `look`, guarded: `otherwise` when it fails. For what runs at every chunk, where a `with` costs too much."""

        def guarded(thing: Any) -> Value:
            try:
                return look(thing)
            except BaseException as error:
                if not self._stops(error):
                    raise
                return otherwise

        return guarded

    def _stops(self, error: BaseException) -> bool:
        if raise_again or not _stays_here(error) or (is_from_timer(error) and not is_own_thread()):
            return False
        errors[self._place] += 1
        if errors[self._place] == 1:
            text = (
                "llm_otel_broadcast failed while %s (%s). Your call is not affected; its trace may be incomplete. "
                "Said once; please report it."
            )
            _warn(text, self._place, type(error).__name__, error=error)
        return True


class Caught:
    """`with Caught() as caught:` stops an exception of a foreign object's, an exporter for one, and has it in `error`."""

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __enter__(self) -> Caught:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error if error is not None and _stays_here(error) else None
        return self.error is not None


class Callback:
    """A function of the program's that we call in the background. Its errors stop here: counted, logged once."""

    __slots__ = ("_consequence", "_function", "_name")

    def __init__(self, name: str, function: Callable[..., Any], consequence: str) -> None:
        self._name = name
        self._function = function
        self._consequence = consequence

    def __call__(self, *given: Any) -> tuple[bool, Any]:
        """Call it; return whether that went well, and what it returned."""
        try:
            return True, self._function(*given)
        except BaseException as error:
            if not _stays_here(error):
                raise
            self.fails(type(error).__name__, error)
            return False, None

    def fails(self, how: str, error: BaseException | None = None) -> None:
        """Count a failure and say so the first time; an error's text is not shown, as it may quote content."""
        errors[self._name] += 1
        if errors[self._name] == 1:
            text = "your %s failed (%s): %s. Said once; status() counts further ones."
            _warn(text, self._name, how, self._consequence, error=error)


def _warn(text: str, *args: object, error: BaseException | None) -> None:
    """Log a failure with its traceback, but without the error's text."""
    trace = None if error is None else (type(error), without_text(error), error.__traceback__)
    log(logging.WARNING, text, *args, exc_info=trace)


def without_text(error: BaseException) -> Exception:
    """Give the error's type without its text, which can quote a prompt or a secret."""
    return RuntimeError(f"{type(error).__name__} (text withheld: it may quote content)")


def ask(question: Callable[[], Value], otherwise: Value) -> Value:
    """Return what the question yields, `otherwise` when a caller's own object (its `__str__`, `__repr__`, ...) fails.

    That is no error of ours: it is neither counted nor logged.
    """
    try:
        return question()
    except BaseException as error:
        if not _stays_here(error):
            raise
        return otherwise


def consult(question: Callable[[], Value], otherwise: Value, whose: str) -> Value:
    """Return what a function of the program's yields, `otherwise` when it fails; the first failure of each is logged."""
    try:
        return question()
    except BaseException as error:
        if not _stays_here(error):
            raise
        if whose not in told:
            told.add(whose)
            text = "%s failed (%s): what it should say is left out. Said once."
            _warn(text, whose, type(error).__name__, error=error)
        return otherwise
