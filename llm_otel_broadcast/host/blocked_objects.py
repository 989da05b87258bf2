"""Objects of the program's that our threads ask for their text: one whose `__repr__` blocks stops one thread, and not for long.

The same object is often met by several destinations, and again with the next record (a value of a `trace_context`). While one
thread is at it the others go round it; once it has blocked a thread for too long it is not asked again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from llm_otel_broadcast.host.logs import is_own_thread
from llm_otel_broadcast.host.process import begin_anew_in_child

_WAIT_S: Final = 0.5
"""How long a thread waits for another one to be through with an object; usually that takes microseconds."""
_POLL_INTERVAL_S: Final = 0.001
_MAX_BLOCKED: Final = 64

Value = TypeVar("Value")


class _Objects:
    """The objects that our threads are asking, and those that have blocked one."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """In a child process: the threads that were asking are not there."""
        self._lock = threading.Lock()
        self._asked: dict[int, tuple[int, object]] = {}
        # The objects themselves, so that no other one gets the identity of one of them meanwhile.
        self._blocked: deque[object] = deque(maxlen=_MAX_BLOCKED)

    def ask(self, subject: object, question: Callable[[], Value], otherwise: Callable[[], Value]) -> Value:
        """Return what the question yields, or `otherwise` where the object is blocking another thread of ours, or has.

        On a thread of the host's the object is simply asked.
        """
        if not is_own_thread():
            return question()
        if not self._take(subject):
            return otherwise()
        try:
            return question()
        finally:
            with self._lock:
                self._asked.pop(id(subject), None)

    def _take(self, subject: object) -> bool:
        deadline = 0.0
        while True:
            with self._lock:
                if any(other is subject for other in self._blocked):
                    return False
                if id(subject) not in self._asked:
                    self._asked[id(subject)] = (threading.get_ident(), subject)
                    return True
            now = time.monotonic()
            deadline = deadline or now + _WAIT_S
            if now >= deadline:
                return False
            # Not a condition, whose lock may be older than a patch of gevent's: waiting for it would stop all greenlets.
            time.sleep(_POLL_INTERVAL_S)

    def give_up(self, thread: int) -> bool:
        """Note that a thread has been blocked for too long by the objects it asks; False: it is asking none."""
        with self._lock:
            subjects = [subject for ident, subject in self._asked.values() if ident == thread]
            self._blocked.extend(subjects)
        return bool(subjects)


objects: Final = _Objects()
begin_anew_in_child(objects.begin_anew)
