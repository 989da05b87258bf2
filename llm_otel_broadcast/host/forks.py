"""Keeps forks and our threads' imports apart. Imports nothing of ours.

A child that was forked while another thread imported a module waits for ever once it imports that module itself: its
lock was held by a thread that is not there. So our threads import under `importing`, and a fork waits for that.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401  # see below
import os
import threading
from types import TracebackType
from typing import Final

_LONGEST: Final = 5.0


class _Importing:
    """A lock that a fork takes too. Re-entrant; new in each child."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._forking = threading.local()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def before_fork(self) -> None:
        """Wait for our imports, but not for ever: what is imported may itself wait for something of the forking thread's."""
        self._forking.holds = self._lock.acquire(timeout=_LONGEST)

    def in_parent(self) -> None:
        if self._forking.holds:
            self._lock.release()

    def in_child(self) -> None:
        self._lock = threading.RLock()


importing: Final = _Importing()
# That module, which OpenTelemetry's SDK imports late, registers a lock with forks too. Were it imported by our thread while a
# fork waits for that, Python would release the lock after the fork without having taken it before, and say so on stderr.
os.register_at_fork(
    before=importing.before_fork, after_in_parent=importing.in_parent, after_in_child=importing.in_child
)
