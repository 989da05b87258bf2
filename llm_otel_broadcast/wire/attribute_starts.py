"""How an attribute begins in a request, by its name: most names are the same from span to span."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

_MAX_KEPT_KEY_CHARS: Final = 256
_MAX_KEPT_KEYS: Final = 1_024

Start = TypeVar("Start")


class AttributeStarts(dict[str, Start]):
    """What an encoding writes before an attribute's value, made once for each name.

    Args:
        start_of: makes it.
    """

    def __init__(self, start_of: Callable[[str], Start]) -> None:
        super().__init__()
        self._start_of = start_of

    def __missing__(self, key: str) -> Start:
        start = self._start_of(key)
        # A library that makes names up would fill the memory for good.
        if len(key) <= _MAX_KEPT_KEY_CHARS and len(self) < _MAX_KEPT_KEYS:
            self[key] = start
        return start
