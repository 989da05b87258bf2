"""A lock that keeps forks away from what a thread of ours is at, because a child could not go on with it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from llm_otel_broadcast.host.forks import around_fork


class ForkLock:
    """A re-entrant lock that a fork takes too. Each child has a new one.

    Args:
        fork_wait_s: how long a fork waits for the lock, in seconds. Not for ever: who holds it may itself wait for something
            that the forking thread holds.
    """

    def __init__(self, fork_wait_s: float) -> None:
        self._fork_wait_s = fork_wait_s
        self._lock = threading.RLock()
        self._forking = threading.local()
        self.was_held_at_fork = False
        """In a child: a thread of the parent's was in the middle of what the lock protects."""
        around_fork(before_fork=self.before_fork, in_parent=self.in_parent, in_child=self.in_child)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    @contextmanager
    def within(self, seconds: float) -> Iterator[bool]:
        """Hold the lock if it can be had within so many seconds; yield whether it is held."""
        lock = self._lock
        is_held = lock.acquire(timeout=seconds)
        try:
            yield is_held
        finally:
            if is_held:
                lock.release()

    def before_fork(self) -> None:
        """Take the lock in the thread that forks."""
        self._forking.holds = self._lock.acquire(timeout=self._fork_wait_s)

    def in_parent(self) -> None:
        """Give it back."""
        if self._forking.holds:
            self._lock.release()

    def in_child(self) -> None:
        """Begin with a new lock."""
        self.was_held_at_fork = not self._forking.holds
        self._lock = threading.RLock()
