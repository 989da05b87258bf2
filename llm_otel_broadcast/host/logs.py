"""Our log lines, and which threads are ours. Nothing that a handler of the host's does, raises or waits for reaches a call.

A thread of ours logs by itself. What a thread of the host's has to say is said by a thread that lives until it is done: a
handler may send each line over a network that is down.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from llm_otel_broadcast.host.green_threads import flavor, rest
from llm_otel_broadcast.host.process import begin_anew_in_child

_PRODUCT: Final = "llm-otel-broadcast"
logger: Final = logging.getLogger("llm_otel_broadcast")


class _Unconfigured(logging.Handler):
    """Writes warnings where the program has configured no logging: Python's own last resort does not say whose they are."""

    def emit(self, record: logging.LogRecord) -> None:
        others = [handler for handler in logger.handlers if handler is not self]
        last_resort = logging.lastResort
        if others or last_resort is None or (logger.propagate and logging.getLogger().hasHandlers()):
            return
        record = logging.makeLogRecord({**vars(record), "msg": f"{_PRODUCT}: {record.getMessage()}", "args": ()})
        last_resort.handle(record)


logger.addHandler(_Unconfigured(logging.WARNING))

_Line: TypeAlias = tuple[int, str, tuple[object, ...], Any]
_MAX_LINES: Final = 100
_POLL_INTERVAL_S: Final = 0.01


# By number, not in a `threading.local`: one that was made before gevent or eventlet patched the program is shared by all
# greenlets of a thread, and those of the program would pass for ours.
_own_threads: Final[set[int]] = set()


def own(work: Callable[..., None]) -> Callable[..., None]:
    """Return the function for a thread of ours to run: no exception that reaches us there is meant for the host."""

    def run(*args: Any) -> None:
        started_as, ident = flavor(), threading.get_ident()
        _own_threads.add(ident)
        try:
            work(*args)
        finally:
            _own_threads.discard(ident)
            if started_as is not flavor():
                rest()

    return run


def _forget_other_threads() -> None:
    """In a child process, where there is but the thread that forked, and numbers are given anew."""
    _own_threads.intersection_update({threading.get_ident()})


def is_own_thread() -> bool:
    """Return whether the current thread is one of ours."""
    return threading.get_ident() in _own_threads


class _Log:
    """The lines of the host's threads, and the thread that says them while there are any."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """In a child process: the thread is not there, and what was to be said is said by the parent."""
        self._lines: deque[_Line] = deque(maxlen=_MAX_LINES)
        self._speaker = threading.Lock()

    def add(self, line: _Line) -> None:
        """Take a line. Never waits."""
        self._lines.append(line)
        if not self._speaker.locked():
            self._start()

    def drain(self, deadline: float) -> None:
        """Wait until everything has been said, or until the deadline (monotonic)."""
        while self._lines or self._speaker.locked():
            if not self._speaker.locked() and not self._start():
                # no thread can be started any more: the interpreter ends
                self._say_all(self._speaker)
                return
            if time.monotonic() >= deadline:
                return
            time.sleep(_POLL_INTERVAL_S)

    def _start(self) -> bool:
        try:
            threading.Thread(
                target=own(self._say_all), args=(self._speaker,), name="llm-otel-broadcast log", daemon=True
            ).start()
        except RuntimeError:
            return False
        return True

    def _say_all(self, speaker: threading.Lock) -> None:
        # again: a line may have come between the last look and the release
        while self._lines and speaker.acquire(blocking=False):
            try:
                while self._lines:
                    _emit(*self._lines.popleft())
            except IndexError:
                # another speaker of this moment took the last line
                pass
            finally:
                speaker.release()


_log: Final = _Log()
drain = _log.drain


def log(level: int, text: str, *args: object, exc_info: Any = None) -> None:
    """Log a line of ours. On a thread of the host's it is said a moment later, by a thread of ours."""
    if not logger.isEnabledFor(level):
        return
    if is_own_thread():
        _emit(level, text, args, exc_info)
    else:
        _log.add((level, text, args, exc_info))


def _emit(level: int, text: str, args: tuple[object, ...], exc_info: Any) -> None:
    try:
        logger.log(level, text, *args, exc_info=exc_info)
    except BaseException:  # noqa: BLE001  # a handler or filter of the host's may raise anything, SystemExit too
        return


def free_handlers() -> None:
    """Give a new lock to handlers in which a thread of ours still waits: the end of the process would wait for the old one.

    `logging.shutdown` takes the lock of each handler, for as long as that may last.
    """
    frames = sys._current_frames()  # noqa: SLF001  # public by its documentation
    for ident in tuple(_own_threads):
        frame = frames.get(ident)
        while frame is not None:
            if frame.f_code is logging.Handler.handle.__code__:
                frame.f_locals["self"].createLock()
            frame = frame.f_back


begin_anew_in_child(_log.begin_anew)
begin_anew_in_child(_forget_other_threads)
