"""A mapping of bounded size, for what would otherwise grow as long as the host's process lives."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedDict(Generic[K, V]):
    """A mapping that forgets its least recently used entry when it has more than `max_entries`.

    Several threads may use it. It has no lock, which a fork could leave held in the child: each step on the dict inside is
    atomic, and what another thread has removed between two steps is ignored.

    Args:
        max_entries: how many entries it keeps.
    """

    __slots__ = ("_entries", "max_entries")

    def __init__(self, max_entries: int) -> None:
        self.max_entries = max_entries
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        """Return whether there is an entry, which counts as a use of it."""
        try:
            # As with any mapping, one may ask for a key of any type.
            self._entries.move_to_end(key)  # type: ignore[arg-type]
        except KeyError:
            return False
        return True

    def get(self, key: K) -> V | None:
        """Return the value of a key, which counts as a use of it; None where there is none."""
        # Not by `in`, nor by `move_to_end` alone: on the host's thread most ids are new, and an error takes ten times a look-up.
        value = self._entries.get(key)
        if value is not None:
            self._mark_used(key)
        return value

    def setdefault(self, key: K, default: V) -> V:
        """Return the value of a key, which is `default` from now on if it had none."""
        value = self._entries.setdefault(key, default)
        self._mark_used(key)
        return value

    def __setitem__(self, key: K, value: V) -> None:
        self._entries[key] = value
        self._mark_used(key)

    def _mark_used(self, key: K) -> None:
        try:
            self._entries.move_to_end(key)
            if len(self._entries) > self.max_entries:
                self._entries.popitem(last=False)
        except KeyError:
            return

    def pop(self, key: K) -> V | None:
        """Remove an entry and return its value; None where there is none."""
        return self._entries.pop(key, None)

    def clear(self) -> None:
        """Remove all entries."""
        self._entries.clear()
