"""Tells an exception of the host's, delivered in the middle of our code, from an error of ours. Imports nothing of ours.

A signal handler runs on top of whatever the main thread executes, our code included, and may raise: celery's soft time
limit, an alarm, a test runner's timeout. So may a timer that raises in another thread (`PyThreadState_SetAsyncExc`: stopit,
rq). Such an exception belongs to the host and has to reach it.
"""

from __future__ import annotations

from typing import Final

_PACKAGE: Final = __name__.partition(".")[0]


def is_from_signal_handler(error: BaseException) -> bool:
    """Return whether a signal handler raised the error: its frame follows the interrupted one in the traceback."""
    trace = error.__traceback__
    while trace is not None:
        interrupted = trace.tb_frame
        trace = trace.tb_next
        if trace is None:
            break
        # Python calls a signal handler with a number and the interrupted frame.
        values: list[object] = []
        for value in trace.tb_frame.f_locals.values():
            values.extend(value if type(value) is tuple else (value,))
        if any(value is interrupted for value in values) and any(isinstance(value, int) for value in values):
            return True
    return False


def is_from_timer(error: BaseException) -> bool:
    """Return whether another thread raised the error in this one."""
    # Such an exception has no frame of its own: the innermost is ours. Our code itself raises its own exceptions and Python's
    # there, but never `TimeoutError`, which timers raise.
    kind = type(error)
    if kind.__module__.partition(".")[0] == _PACKAGE or (kind.__module__ == "builtins" and kind is not TimeoutError):
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] == _PACKAGE
