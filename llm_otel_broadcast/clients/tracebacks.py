"""Tracebacks: keeping our frames out of what the host looks at, and looking at what the client's functions had in hand.

The host looks at the tracebacks of its errors, and at the caller that `warnings` name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# `warnings` and `logging` pass over frames whose file name has "importlib" and "_bootstrap" in it when they look for the caller.
# What the client announces (a deprecation) is then shown, filtered and counted by the host's line that it is about.
_HIDDEN_FILE: Final = "<importlib._bootstrap, in the eyes of warnings and logging>"


def hide_frame(function: Any) -> Any:
    """Have the function's frame passed over by `warnings`, `logging` and `drop_own_frames`."""
    function.__code__ = function.__code__.replace(co_filename=_HIDDEN_FILE)
    return function


def variables_of(error: BaseException, function: str) -> Mapping[str, Any] | None:
    """Return the variables of the outermost function of that name that an error came through; None where there is none.

    What a client had in hand when it raised, its errors do not always carry.
    """
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_name == function:
            return traceback.tb_frame.f_locals
        traceback = traceback.tb_next
    return None


def drop_own_frames(error: BaseException) -> None:
    """Take our own frame, the outermost so far, out of an error's traceback: the host sees the one it would see without us.

    Called in the `except` block that raises the error again: raising again adds no frame.
    """
    traceback = error.__traceback__
    if traceback is None:
        return
    traceback = traceback.tb_next
    while traceback is not None and traceback.tb_frame.f_code.co_filename == _HIDDEN_FILE:
        traceback = traceback.tb_next
    # not by assignment, which an exception class may forbid (a frozen dataclass does)
    BaseException.with_traceback(error, traceback)
