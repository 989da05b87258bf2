"""Our log, and which threads are ours. Nothing that a log handler of the host's raises or waits for reaches a call.

A thread of ours logs directly. A line from a thread of the host's is logged by a short-lived thread of ours: a handler may send
each line over a network that is down.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, TypeAlias

from llm_otel_broadcast.host.forks import begin_anew_in_child
from llm_otel_broadcast.host.green_threads import flavor, rest

_PRODUCT: Final = "llm-otel-broadcast"
logger: Final = logging.getLogger("llm_otel_broadcast")


class _Unconfigured(logging.Handler):
    """Writes warnings where the program has configured no logging."""

    # Python's own last resort would write them without the name of the product.
    def emit(self, record: logging.LogRecord) -> None:
        other_handlers = [handler for handler in logger.handlers if handler is not self]
        last_resort = logging.lastResort
        if other_handlers or last_resort is None or (logger.propagate and logging.getLogger().hasHandlers()):
            return
        record = logging.makeLogRecord({**vars(record), "msg": f"{_PRODUCT}: {record.getMessage()}", "args": ()})
        last_resort.handle(record)


logger.addHandler(_Unconfigured(logging.WARNING))

_ErrorInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None] | None
_Line: TypeAlias = tuple[int, str, tuple[object, ...], _ErrorInfo]
_MAX_LINES: Final = 100
_POLL_INTERVAL_S: Final = 0.01


# By thread ident, not in a `threading.local`: one that was made before gevent or eventlet patched the program is shared by
# all greenlets of a thread, and the program's greenlets would pass for ours.
_own_threads: Final[set[int]] = set()


def own(work: Callable[..., None]) -> Callable[..., None]:
    """Return a function for `threading.Thread(target=...)` that marks the thread as ours while it does the work."""

    def run(*args: object) -> None:
        started_as, ident = flavor(), threading.get_ident()
        _own_threads.add(ident)
        try:
            work(*args)
        finally:
            _own_threads.discard(ident)
            if started_as is not flavor():
                rest()

    return run


def is_own_thread() -> bool:
    """Return whether the current thread is one of ours."""
    return threading.get_ident() in _own_threads


class _Log:
    """The lines of the host's threads, and the thread that logs them while there are any."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """In a child process: the thread is not there, and the parent logs the lines."""
        self._lines: deque[_Line] = deque(maxlen=_MAX_LINES)
        self._emitting = threading.Lock()

    def add(self, line: _Line) -> None:
        """Take a line. Never waits."""
        self._lines.append(line)
        if not self._emitting.locked():
            self._start()

    def drain(self, deadline: float) -> None:
        """Wait until everything has been logged, or until the deadline (monotonic seconds)."""
        while self._lines or self._emitting.locked():
            if not self._emitting.locked() and not self._start():
                # No thread can be started any more: the interpreter ends.
                self._emit_all(self._emitting)
                return
            if time.monotonic() >= deadline:
                return
            time.sleep(_POLL_INTERVAL_S)

    def _start(self) -> bool:
        try:
            threading.Thread(
                target=own(self._emit_all), args=(self._emitting,), name="llm-otel-broadcast log", daemon=True
            ).start()
        except RuntimeError:
            return False
        return True

    def _emit_all(self, emitting: threading.Lock) -> None:
        # In a loop: a line may have come after the last look and before the lock was released.
        while self._lines and emitting.acquire(blocking=False):
            try:
                while self._lines:
                    _emit(*self._lines.popleft())
            except IndexError:
                # Another emitting thread of this moment took the last line.
                pass
            finally:
                emitting.release()


_log: Final = _Log()
drain = _log.drain


def log(level: int, text: str, *args: object, exc_info: _ErrorInfo = None) -> None:
    """Log a line. From a thread of the host's it is logged a moment later, by a thread of ours."""
    if not logger.isEnabledFor(level):
        return
    if is_own_thread():
        _emit(level, text, args, exc_info)
    else:
        _log.add((level, text, args, exc_info))


def _emit(level: int, text: str, args: tuple[object, ...], exc_info: _ErrorInfo) -> None:
    try:
        logger.log(level, text, *args, exc_info=exc_info)
    # A handler or filter of the host's may raise anything, SystemExit too.
    except BaseException:  # noqa: BLE001
        return


def free_handlers() -> None:
    """Give a new lock to log handlers in which a thread of ours still waits."""
    # `logging.shutdown` takes the lock of each handler at the end of the process, and would wait for our thread for ever.
    # Python documents `sys._current_frames` as public.
    frames = sys._current_frames()  # noqa: SLF001
    for ident in tuple(_own_threads):
        frame = frames.get(ident)
        while frame is not None:
            if frame.f_code is logging.Handler.handle.__code__:
                frame.f_locals["self"].createLock()
            frame = frame.f_back


begin_anew_in_child(_log.begin_anew)
# In a child process only the thread that forked exists, and idents are given out anew.
begin_anew_in_child(lambda: _own_threads.intersection_update({threading.get_ident()}))
