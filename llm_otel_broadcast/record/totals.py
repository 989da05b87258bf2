"""What several generations took, added up as they end. Imports only values of ours."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final, NamedTuple

from llm_otel_broadcast.record.usage import Cost, UnreadUsage, Usage, stated_cost

# An addition takes microseconds: where the lock is held for longer, a finalizer may have interrupted this very thread in one.
_FOLD_TIMEOUT_S: Final = 0.1
_MAX_UNREAD: Final = 1_000
"""Of a context with more calls than that which no destination has rendered, the host's thread reads the counts of the oldest."""


class Spent(NamedTuple):
    """What one generation took; None is not known."""

    input_tokens: int | None
    output_tokens: int | None
    cost: float | None


def spent(usage: Usage | None, cost: Cost | None) -> Spent:
    """Return what goes into totals; `cost`: stated or estimated, None if it is not known."""
    # Without a usage every count is unknown, which is not zero: nothing is added.
    counts = usage or Usage()
    return Spent(counts.input_tokens, counts.output_tokens, cost.total if cost else None)


class Totals:
    """Sums of constant size, however many generations there are.

    Adding waits for nobody: a finalizer may add on top of another addition of the same thread.
    """

    __slots__ = ("_adding", "_calls", "_new", "_sums", "_unread")

    def __init__(self) -> None:
        # A deque takes new elements without a lock, also from a finalizer that interrupts an addition.
        self._new: deque[Spent | UnreadUsage] = deque()
        self._unread: deque[UnreadUsage] = deque()
        self._adding = threading.Lock()
        self._calls = 0
        self._sums: dict[str, float] = {}

    def add(self, addend: Spent | UnreadUsage) -> None:
        """Add one generation, or the counts of one, with the cost that they state."""
        self._new.append(addend)
        # Waiting for nobody: a finalizer may add on top of another addition of this very thread.
        self._fold(0)

    def _fold(self, timeout_s: float, max_unread: int = _MAX_UNREAD) -> None:
        """Add up what is new, unless another thread is adding for longer than this: then that one, or the next, does."""
        if not (self._adding.acquire(timeout=timeout_s) if timeout_s else self._adding.acquire(blocking=False)):
            return
        try:
            while self._new:
                addend = self._new.popleft()
                self._calls += 1
                if isinstance(addend, UnreadUsage):
                    self._unread.append(addend)
                else:
                    self._sum(addend)
            # Reading counts takes the host's thread ten times as long as all else here: mostly that is left to who asks.
            while len(self._unread) > max_unread:
                usage = self._unread.popleft().usage()
                self._sum(spent(usage, stated_cost(usage)))
        finally:
            self._adding.release()

    def _sum(self, addend: Spent) -> None:
        for name, value in zip(Spent._fields, addend, strict=True):
            # What nothing is known of is absent from the sums, not zero.
            if value is not None:
                self._sums[name] = self._sums.get(name, 0) + value

    def read(self) -> None:
        """Read the counts that have been added unread: in the background, so that nobody else has to."""
        self._fold(_FOLD_TIMEOUT_S, 0)

    @property
    def calls(self) -> int:
        """How many generations have been added."""
        self._fold(_FOLD_TIMEOUT_S)
        return self._calls

    def sums(self) -> dict[str, float]:
        """Return `calls` and what is known of the rest, by the names of `Spent`; nothing where there is no generation."""
        self.read()
        calls = self._calls
        return {"calls": calls, **self._sums} if calls else {}
