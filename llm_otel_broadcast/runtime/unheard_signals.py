"""Has the main thread of multiprocessing's children hear a SIGTERM that came an instant before it began to wait.

Python runs a handler between two steps of the main thread. A signal that comes after the last step, but before the system call in
which the thread then waits, is heard when that returns; for a process of a pool, which waits for work that never comes, that
is never, and `Pool.terminate` waits for it. Without a handler the signal would have ended it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from llm_otel_broadcast.host.green_threads import is_native
from llm_otel_broadcast.host.logs import own

# A main thread that works hears the signal by itself meanwhile.
_HEARING_S: Final = 0.2
_NO_FD: Final = -1


class UnheardSignals:
    """Sends a signal once more to a main thread that has not heard it."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Watch for nothing, as in a child process."""
        self.is_watched = False
        self.is_heard = False
        """The handler has begun."""
        self.is_repeated = False
        """What comes next is the signal that was heard already."""

    def watch(self, number: int, has_handler: Callable[[], bool]) -> None:
        """Watch for one signal, in the main thread. Does nothing where somebody else is told of signals, as asyncio is.

        Args:
            number: of the signal.
            has_handler: whether the handler is still ours.
        """
        is_main = threading.current_thread() is threading.main_thread()
        if not hasattr(signal, "pthread_kill") or not is_native() or not is_main:
            return
        main = threading.get_ident()
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        former = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        if former != _NO_FD:
            signal.set_wakeup_fd(former)
            os.close(reading)
            os.close(writing)
            return

        def repeat() -> None:
            while number not in os.read(reading, 64):
                pass
            time.sleep(_HEARING_S)
            if not self.is_heard and has_handler():
                self.is_repeated = True
                signal.pthread_kill(main, number)

        self.is_watched = True
        with suppress(RuntimeError):
            threading.Thread(target=own(repeat), name="llm-otel-broadcast signals", daemon=True).start()
