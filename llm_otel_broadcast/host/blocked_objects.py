"""Reading objects of the program's whose `__repr__` may block: such an object stops one thread of ours, and not for long.

Several destinations often read the same object, and so does the next record (a value of a `trace_context`). While one thread
reads it the others leave it out; an object that has blocked a thread for too long is not read again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from llm_otel_broadcast.host.forks import begin_anew_in_child
from llm_otel_broadcast.host.logs import is_own_thread

# How long a thread waits for another one to finish reading an object, which usually takes microseconds.
_WAIT_S: Final = 0.5
_POLL_INTERVAL_S: Final = 0.001
# Each is kept alive: a limit, for a program that makes a new blocking object for each call.
_MAX_BLOCKED_OBJECTS: Final = 64

Value = TypeVar("Value")


class _Objects:
    """The objects that our threads are reading, and those that have blocked one."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """In a child process: the threads that were reading are not there."""
        self._lock = threading.Lock()
        self._readers: dict[int, tuple[int, object]] = {}
        # The objects themselves, so that no other one gets the identity of one of them meanwhile.
        self._blocked: deque[object] = deque(maxlen=_MAX_BLOCKED_OBJECTS)

    def read(self, subject: object, reader: Callable[[], Value], fallback: Callable[[], Value]) -> Value:
        """Read an object, unless it blocks another thread of ours, or has blocked one.

        Args:
            subject: the object.
            reader: reads it. On a thread of the host's that is all that happens.
            fallback: makes the result where the object is not read.
        """
        if not is_own_thread():
            return reader()
        if not self._take(subject):
            return fallback()
        try:
            return reader()
        finally:
            with self._lock:
                self._readers.pop(id(subject), None)

    def _take(self, subject: object) -> bool:
        deadline = 0.0
        while True:
            with self._lock:
                if any(other is subject for other in self._blocked):
                    return False
                if id(subject) not in self._readers:
                    self._readers[id(subject)] = (threading.get_ident(), subject)
                    return True
            now = time.monotonic()
            deadline = deadline or now + _WAIT_S
            if now >= deadline:
                return False
            # Not a condition, whose lock may be older than a patch of gevent's: waiting for it would stop all greenlets.
            time.sleep(_POLL_INTERVAL_S)

    def give_up(self, thread: int) -> bool:
        """Mark the objects that a thread is reading as blocking; return False if it reads none.

        Args:
            thread: the thread's `ident`.
        """
        with self._lock:
            subjects = [subject for ident, subject in self._readers.values() if ident == thread]
            self._blocked.extend(subjects)
        return bool(subjects)


objects: Final = _Objects()
begin_anew_in_child(objects.begin_anew)
