"""What lies in the spool for one destination."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from copy import copy
from typing import Final

from llm_otel_broadcast.host.import_lock import importing
from llm_otel_broadcast.spool.identity import identity_of
from llm_otel_broadcast.spool.store import MAX_LEASE_S, SpoolStore, StoredBody
from llm_otel_broadcast.wire.exchange import Body

# Beyond what connecting and the request itself may take.
_LEASE_MARGIN_S: Final = 10.0


class Shelf:
    """The bodies of one destination. Each has its own owner: that of another one, or of another process, is a stranger.

    Every method but `watch` raises `SpoolError` where the disk does not let it.

    Args:
        store: the spool.
        name: of the destination.
        endpoint: its URL.
        shown_endpoint: the same without secrets.
        headers: of its requests.
        timeout_s: of its requests, in seconds: once for connecting, once for the rest.
    """

    def __init__(
        self,
        store: SpoolStore,
        name: str,
        endpoint: str,
        shown_endpoint: str,
        headers: Mapping[str, str],
        timeout_s: float,
    ) -> None:
        self.store = store
        self.owner = secrets.token_hex(8)
        self._name = name
        self._endpoint = endpoint
        self._shown_endpoint = shown_endpoint
        self._headers = headers
        self._lease_s = min(2 * timeout_s + _LEASE_MARGIN_S, MAX_LEASE_S)
        self._salt = b""
        self._identity = ""

    def again(self) -> Shelf:
        """Return the same for another owner: a child process."""
        other = copy(self)
        other.owner = secrets.token_hex(8)
        return other

    @property
    def exists(self) -> bool:
        """Whether there is a spool at all yet; does not open it."""
        return self.store.path.exists()

    @property
    def identity(self) -> str:
        """Under which the bodies wait; takes a tenth of a second the first time."""
        # A spool that was damaged is begun anew, with another salt.
        salt = self.store.salt()
        if salt != self._salt:
            # OpenSSL has locks of its own while it looks an algorithm up, and a child would wait for them for ever.
            with importing:
                self._identity = identity_of(self._name, self._endpoint, self._shown_endpoint, self._headers, salt)
            self.store.introduce(self._identity, self._name, self._shown_endpoint)
            self._salt = salt
        return self._identity

    def add(self, body: Body[bytes], records: int) -> int:
        """Store a body and return its number."""
        return self.store.add(self.identity, self.owner, body, records)

    def claim(self) -> StoredBody | None:
        """Return the oldest body that nobody is at; None: there is none, or it is not time yet."""
        return self.store.claim(self.identity, self.owner, self._lease_s)

    def release(self, number: int) -> None:
        """Let others send a body."""
        self.store.release(number)

    def remove(self, number: int) -> None:
        """Remove a body that was delivered, or is given up."""
        self.store.remove(number)

    def replace(self, stored: StoredBody, *parts: tuple[Body[bytes], int]) -> list[int]:
        """Put several bodies, each with the number of its records, in the place of one; return their numbers."""
        return self.store.replace(stored.id, self.identity, stored.owner, parts)

    def pause(self, seconds: float) -> None:
        """Have no process send to the destination for so long; 0: at once."""
        self.store.pause(self.identity, seconds)

    def count(self) -> int:
        """Return how many bodies wait."""
        return self.store.count(self.identity)

    def own_rows(self) -> set[int]:
        """Return the numbers of this owner's bodies that wait, or are being sent."""
        return self.store.rows_of(self.owner)

    def watch(self, listener: Callable[[str, int], None]) -> None:
        """Have a function called with what this owner loses: the reason, and how many records."""
        self.store.watch(self.owner, listener)
