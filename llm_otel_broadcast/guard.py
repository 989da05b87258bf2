"""The one place where our own errors stop, counted and logged once for each place, and where foreign objects' errors do."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TypeVar

logger: Final = logging.getLogger("llm_otel_broadcast")
errors: Counter[str] = Counter()
"""Errors of ours that were stopped, by place."""

Value = TypeVar("Value")

told: Final[set[str]] = set()
"""Functions of the program's whose failure has been said."""

raise_again = False
"""Private switch of our own test suite: stopped errors are raised after all, so that no test passes over one."""


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
        return isinstance(error, Exception) and self._stops(error, trace)

    def around(self, look: Callable[[Any], Value], otherwise: Value) -> Callable[[Any], Value]:
        """Return `look`, guarded: `otherwise` when it fails. For what runs at every chunk, where a `with` costs too much."""

        def guarded(thing: Any) -> Value:
            try:
                return look(thing)
            except Exception as error:
                if not self._stops(error, error.__traceback__):
                    raise
                return otherwise

        return guarded

    def _stops(self, error: Exception, trace: TracebackType | None) -> bool:
        if raise_again:
            return False
        errors[self._place] += 1
        if errors[self._place] == 1:
            ask(lambda: self._tell(error, trace), None)  # a filter or handler of the host's may fail
        return True

    def _tell(self, error: Exception, trace: TracebackType | None) -> None:
        logger.warning(
            "llm_otel_broadcast failed while %s (%s). Your call is not affected; its trace may be incomplete. "
            "Said once; please report it.",
            self._place,
            type(error).__name__,
            exc_info=(type(error), without_text(error), trace),
        )


def without_text(error: BaseException) -> Exception:
    """Give the error's type without its text, which can quote a prompt or a secret."""
    return RuntimeError(f"{type(error).__name__} (text withheld: it may quote content)")


def ask(question: Callable[[], Value], otherwise: Value) -> Value:
    """Return what the question yields, `otherwise` when a caller's own object (its `__str__`, `__repr__`, ...) fails.

    That is no error of ours: it is neither counted nor logged.
    """
    try:
        return question()
    except Exception:  # noqa: BLE001  # whatever a foreign object raises
        return otherwise


def consult(question: Callable[[], Value], otherwise: Value, whose: str) -> Value:
    """Return what a function of the program's yields, `otherwise` when it fails; the first failure of each is logged."""
    try:
        return question()
    except Exception as error:  # whatever the program's function raises
        if whose not in told:
            told.add(whose)
            logger.warning(
                "%s failed (%s): what it should say is left out. Said once.",
                whose,
                type(error).__name__,
                exc_info=(type(error), without_text(error), error.__traceback__),
            )
        return otherwise
