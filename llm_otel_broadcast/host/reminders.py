"""When a problem that lasts, or comes back, is worth another line in the log."""

from __future__ import annotations

from typing import Final

_FIRST_PAUSE_S: Final = 60.0
_MAX_PAUSE_S: Final = 3_600.0


class Reminder:
    """The pauses between the log's lines about one problem: a minute, two, four ... at most an hour.

    They begin anew once the problem has been absent for longer than the next pause: one that comes and goes each second is no
    new problem each time.
    """

    __slots__ = ("_due_s", "_last_s", "_pause_s")

    def __init__(self) -> None:
        self._due_s = self._last_s = float("-inf")
        self._pause_s = _FIRST_PAUSE_S

    def occurs(self, now_s: float) -> bool:
        """Note that the problem is there; return whether it is to be logged now.

        Args:
            now_s: monotonic.
        """
        if now_s - self._last_s > self._pause_s:
            self._pause_s = _FIRST_PAUSE_S
        self._last_s = now_s
        if now_s < self._due_s:
            return False
        self._due_s = now_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)
        return True
