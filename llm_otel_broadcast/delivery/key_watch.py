"""Which API keys destinations ask for. Asked on the program's thread, where the key is known."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.rules import is_digest


class KeyWatch:
    """Tells which entries of the destinations' `api_keys` name a key. The key itself is kept nowhere.

    Attributes:
        asks: whether any destination asks for keys.
    """

    def __init__(self, destinations: Sequence[Destination]) -> None:
        lists = [entries for destination in destinations for entries in (destination.api_keys or {}).values()]
        entries = {entry for listed in lists for entry in listed}
        self._digests = frozenset(entry for entry in entries if is_digest(entry))
        self._ends = tuple(entries - self._digests)
        self.asks = bool(entries)

    def names_of(self, key: str) -> frozenset[str]:
        """Return the entries that name this key."""
        matching = {end for end in self._ends if key.endswith(end)}
        # On the host's thread: a hash takes a microsecond, which nobody pays who does not ask for one.
        if self._digests:
            matching |= self._digests & {hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()}
        return frozenset(matching)
