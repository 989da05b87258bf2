"""An event that a signal handler may set, too."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress


class Flag:
    """Like `threading.Event`, which waits for itself where a signal handler sets it on top of a thread that is setting it.

    The handler of SIGTERM delivers, and may come while the main thread delivers: at its end, or in a `flush()`.
    """

    def __init__(self) -> None:
        self._is_set = False
        # Locks that are held until the flag is set. No lock protects them: each step is one of the deque's own.
        self._waiting: deque[threading.Lock] = deque()

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it, and wake up who waits for it."""
        self._is_set = True
        while self._waiting:
            # Another thread may set it at this moment.
            with suppress(IndexError, RuntimeError):
                self._waiting.popleft().release()

    def clear(self) -> None:
        """Take it back."""
        self._is_set = False

    def wait(self, timeout: float) -> bool:
        """Wait until it is set; False: it was not within so many seconds."""
        if self._is_set:
            return True
        # Of the kind that threads have now (`host.green_threads`).
        lock = threading.Lock()
        lock.acquire()
        self._waiting.append(lock)
        # It may have been set before the lock was there.
        woken = self._is_set or lock.acquire(timeout=min(max(timeout, 0.0), threading.TIMEOUT_MAX))
        with suppress(ValueError, IndexError, RuntimeError):
            self._waiting.remove(lock)
        return woken or self._is_set
