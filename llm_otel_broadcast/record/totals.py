"""What several generations took, added up as they end. Imports nothing of ours."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final, NamedTuple

# An addition takes microseconds: where the lock is held for longer, a finalizer may have interrupted this very thread in one.
_FOLD_TIMEOUT_S: Final = 0.1


class Spent(NamedTuple):
    """What one generation took; None is not known."""

    input_tokens: int | None
    output_tokens: int | None
    cost: float | None


class Totals:
    """Sums of constant size, however many generations there are.

    Adding waits for nobody: a finalizer may add on top of another addition of the same thread.
    """

    __slots__ = ("_adding", "_calls", "_new", "_sums")

    def __init__(self) -> None:
        # A deque takes new elements without a lock, also from a finalizer that interrupts an addition.
        self._new: deque[Spent] = deque()
        self._adding = threading.Lock()
        self._calls = 0
        self._sums: dict[str, float] = {}

    def add(self, spent: Spent) -> None:
        """Add one generation."""
        self._new.append(spent)
        # Waiting for nobody: a finalizer may add on top of another addition of this very thread.
        self._fold(0)

    def _fold(self, timeout_s: float) -> None:
        """Add up what is new, unless another thread is adding for longer than this: then that one, or the next, does."""
        if not (self._adding.acquire(timeout=timeout_s) if timeout_s else self._adding.acquire(blocking=False)):
            return
        try:
            while self._new:
                spent = self._new.popleft()
                for name, value in zip(Spent._fields, spent, strict=True):
                    # What nothing is known of is absent from the sums, not zero.
                    if value is not None:
                        self._sums[name] = self._sums.get(name, 0) + value
                self._calls += 1
        finally:
            self._adding.release()

    @property
    def calls(self) -> int:
        """How many generations have been added."""
        self._fold(_FOLD_TIMEOUT_S)
        return self._calls

    def sums(self) -> dict[str, float]:
        """Return `calls` and what is known of the rest, by the names of `Spent`; nothing where there is no generation."""
        calls = self.calls
        return {"calls": calls, **self._sums} if calls else {}
