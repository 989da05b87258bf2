"""Waiting for what has no timeout of its own: the resolver, an exporter of the user's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from llm_otel_broadcast.host.guard import or_else

Value = TypeVar("Value")


def within(seconds: float, action: Callable[[], Value]) -> Value:
    """Return what the action returns, or raise what it raises, within a time. It goes on in the background afterwards.

    Raises:
        TimeoutError: it takes longer.
    """
    results: list[Value] = []
    failures: list[BaseException] = []

    def run() -> None:
        or_else(lambda: results.append(action()), recover=failures.append)

    # A daemon: what does not come back must not hold up the end of the program.
    thread = threading.Thread(target=run, name="llm-otel-broadcast testing", daemon=True)
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    if not results:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return results[0]
