"""Waiting with a deadline instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def until(condition: Callable[[], Any], timeout: float = 5.0) -> Any:
    """Wait until the condition is true and return what it gave; fail at the deadline."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
    return found


def eventually(question: Callable[[], T], seconds: float, wanted: str) -> T:
    """Ask until the answer is truthy, and return it; after `seconds`: TimeoutError, naming what was wanted."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {wanted}; the last answer was {answer!r}")
        time.sleep(0.05)
    return answer
