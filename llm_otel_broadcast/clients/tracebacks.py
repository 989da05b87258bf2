"""Leaving no trace of ours where the host looks: in the tracebacks of its errors, and in what `warnings` take for a caller."""

from __future__ import annotations

from typing import Any, Final

_PASSED_OVER: Final = "<importlib._bootstrap, in the eyes of warnings and logging>"
"""A file name whose frames `warnings` and `logging` pass over when they look for the caller. What the client announces
(a deprecation) is then shown, filtered and counted by the host's line that it is about."""


def passed_over(function: Any) -> Any:
    """Have the function's frame passed over by `warnings`, `logging` and `unseen`."""
    function.__code__ = function.__code__.replace(co_filename=_PASSED_OVER)
    return function


def unseen(error: BaseException) -> None:
    """Take our own frame, the outermost so far, out of an error's traceback: the host sees the one it would see without us."""
    trace = error.__traceback__
    if trace is None:
        return
    trace = trace.tb_next
    while trace is not None and trace.tb_frame.f_code.co_filename == _PASSED_OVER:
        trace = trace.tb_next
    # not by assignment, which an exception class may forbid (a frozen dataclass does)
    BaseException.with_traceback(error, trace)
