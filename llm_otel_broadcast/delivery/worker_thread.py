"""A thread of ours that is there once, whoever starts it at the same moment, and that starts again after it has died."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from llm_otel_broadcast.host.logs import own
from llm_otel_broadcast.host.turns import begin_thread

_POLL_INTERVAL_S: Final = 0.01


class WorkerThread:
    """The thread of one worker.

    Args:
        name: what it is called in a list of threads.
        work: what it runs.
        predecessor: the thread that it follows, whose end it waits for.
    """

    def __init__(self, name: str, work: Callable[[], None], predecessor: WorkerThread | None = None) -> None:
        self._name = name
        self._work = work
        self._predecessor = predecessor
        self._thread: threading.Thread | None = None
        # The thread holds it for its life. No thread that starts it has to wait or to put anything back, so that neither a
        # finalizer nor an exception of a signal handler's can leave it half started.
        self.running = threading.Lock()

    @property
    def ident(self) -> int | None:
        """The thread's identifier; None before it has run."""
        return None if self._thread is None else self._thread.ident

    def start(self) -> None:
        """Start the thread unless it runs. Where none is to be had (the system's limit, the interpreter's end), do nothing."""
        if self.running.locked():
            return
        # A daemon: at the end of the process it must not be waited for longer than its flush may take.
        try:
            threading.Thread(target=own(self._run), name=self._name, daemon=True).start()
        except RuntimeError:
            return

    def join(self, deadline: float) -> None:
        """Wait for the thread's end until the deadline (monotonic)."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        # Two threads may have been started at one moment: the second to come here ends at once.
        if not self.running.acquire(blocking=False):
            return
        try:
            self._thread = threading.current_thread()
            begin_thread()
            # By looking: the predecessor is of another kind, and neither can wait in a lock of the other's.
            while self._predecessor is not None and self._predecessor.running.locked():
                time.sleep(_POLL_INTERVAL_S)
            self._predecessor = None
            self._work()
        finally:
            self.running.release()
