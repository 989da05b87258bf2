"""A clock that goes on only when a test says so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Clock:
    """Monotonic seconds."""

    seconds: float = 1_000.0

    def __call__(self) -> float:
        return self.seconds
