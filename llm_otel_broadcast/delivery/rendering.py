"""The record that a lane's thread is turning into spans, and since when: its objects and functions are the program's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from llm_otel_broadcast.delivery.parts import Item

_TIMEOUT_S: Final = 10.0
"""Rendering takes microseconds to milliseconds; a thread that is at one record for so long waits for something."""


class ReplacedError(Exception):
    """Ends a thread that another one has been started for."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a lane's thread is at.

    Attributes:
        item: the record.
        items: those that were taken with it.
        since: when it began (monotonic).
    """

    item: Item
    items: list[Item]
    since: float

    @property
    def is_blocked(self) -> bool:
        """Whether it takes too long."""
        return time.monotonic() - self.since > _TIMEOUT_S
