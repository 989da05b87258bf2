"""The lock that keeps forks and the imports of our threads apart.

A child that was forked while another thread imported a module waits for ever once it imports that module itself: the lock of
the module is held by a thread that does not exist there. So our threads import under `importing`, and a fork waits for that.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Final

from llm_otel_broadcast.host.forks import around_fork

_WAIT_FOR_IMPORTS_S: Final = 5.0


class _Importing:
    """A re-entrant lock that a fork takes too. Each child has a new one."""

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
        """Take the lock in the thread that forks."""
        # Not for ever: a module that is being imported may itself wait for something that the forking thread holds.
        self._forking.holds = self._lock.acquire(timeout=_WAIT_FOR_IMPORTS_S)

    def in_parent(self) -> None:
        if self._forking.holds:
            self._lock.release()

    def in_child(self) -> None:
        self._lock = threading.RLock()


importing: Final = _Importing()
around_fork(before_fork=importing.before_fork, in_parent=importing.in_parent, in_child=importing.in_child)
