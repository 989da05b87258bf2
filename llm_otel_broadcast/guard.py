"""The one place where our own errors stop: counted, logged once for each place, and the host's call goes on."""

from __future__ import annotations

import logging
from collections import Counter
from types import TracebackType
from typing import Final

logger: Final = logging.getLogger("llm_otel_broadcast")
errors: Counter[str] = Counter()
"""Errors of ours that were stopped, by place."""

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
        if error is None or not isinstance(error, Exception) or raise_again:
            return False
        errors[self._place] += 1
        if errors[self._place] == 1:
            logger.warning(
                "llm_otel_broadcast failed while %s (%s). Your call is not affected; its trace may be incomplete. "
                "Said once; please report it.",
                self._place,
                type(error).__name__,
                exc_info=(type(error), _without_content(error), trace),
            )
        return True


def _without_content(error: Exception) -> Exception:
    """Give the error's type without its text, which can quote a prompt."""
    return RuntimeError(f"{type(error).__name__} (text withheld: it may quote content)")
