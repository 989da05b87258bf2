"""The bodies on disk: one SQLite file in WAL mode that several processes use at once.

A body waits under the identity of its destination. Who sends it claims it first, for as long as a request may take: of a process
that dies meanwhile another one takes it over then, and sends it once more if it had arrived. Times are those of the wall clock, which
may step: a claim or a pause that lies further ahead than any that is given out does not count.
"""

from __future__ import annotations

import logging
import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from llm_otel_broadcast.host.forks import begin_anew_in_child
from llm_otel_broadcast.host.logs import log
from llm_otel_broadcast.spool.directory import SpoolError
from llm_otel_broadcast.spool.file import SpoolFile
from llm_otel_broadcast.wire.exchange import Body

MAX_LEASE_S: Final = 7_300.0
"""A request has up to an hour (`timeout`) for connecting, and as long for the rest."""
_MAX_PAUSE_S: Final = 3_660.0
_TIDY_INTERVAL_S: Final = 10.0
# What is logged of losses that nobody in this process counts. What somebody has cleared needs no warning.
_LOSSES: Final = {
    "spool_expired": "they waited for longer than max_age",
    "spool_full": "there was no room within max_bytes",
    "spool_damaged": "they were damaged on disk",
}


@dataclass(frozen=True, slots=True)
class StoredBody:
    """A body that is claimed.

    Attributes:
        id: its number in the file.
        owner: who stored it.
        records: how many records it carries.
        body: as it is to be posted.
    """

    id: int
    owner: str
    records: int
    body: Body[bytes]


class Backlog(NamedTuple):
    """What waits for one destination; `oldest` is seconds since the epoch, `endpoint` without secrets."""

    identity: str
    name: str
    endpoint: str
    bodies: int
    records: int
    bytes: int
    oldest: float


class SpoolStore:
    """The spool in one directory. Opens it at its first use; any thread may use it.

    Every method but `close` and `watch` raises `SpoolError` where the disk does not let it.

    Args:
        directory: where it lies.
        max_bytes: of all bodies together; over that the oldest go.
        max_age_s: how long a body is kept, in seconds.
    """

    def __init__(self, directory: Path, max_bytes: int, max_age_s: float) -> None:
        self._file = SpoolFile(directory)
        self.path = self._file.path
        self.max_bytes = max_bytes
        self.max_age_s = max_age_s
        self._listeners: dict[str, Callable[[str, int], None]] = {}
        # Delivered, but the disk did not let them be removed.
        self._delivered: set[int] = set()
        self._tidy_at = 0.0

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._file.close()

    def abandon(self) -> None:
        """In a child process: the connection is the parent's."""
        self._file.abandon()
        self._delivered.clear()

    # -- bodies -----------------------------------------------------------------------------------------------------

    def salt(self) -> bytes:
        """Return what the identities of this spool are made with."""
        return self._file.salt()

    def introduce(self, identity: str, name: str, endpoint: str) -> None:
        """Note what a destination is called; `endpoint` without secrets."""
        with self._file.transaction() as connection:
            connection.execute(
                "INSERT INTO destinations (identity, name, endpoint) VALUES (?, ?, ?) "
                "ON CONFLICT (identity) DO UPDATE SET name = excluded.name, endpoint = excluded.endpoint",
                (identity, name, endpoint),
            )

    def add(self, identity: str, owner: str, body: Body[bytes], records: int) -> int:
        """Store a body and return its number; the oldest ones go where there is no room.

        Args:
            identity: of its destination.
            owner: who stores it, and hears of it if it is lost.
            body: what is to be posted.
            records: how many records it carries.
        """
        # The file is all right: nothing is wrong but this body.
        if len(body.content) > self.max_bytes:
            raise SpoolError(f"the spool takes {self.max_bytes} bytes at most, less than this one request")
        now = time.time()
        with self._file.transaction() as connection:
            lost = self._make_room(connection, now, len(body.content))
            number = _insert(connection, identity, owner, now, records, body)
        self._tell(lost)
        return number

    def _make_room(self, connection: sqlite3.Connection, now: float, added_bytes: int) -> list[tuple[str, str, int]]:
        """Remove what is too old, and the oldest while there is no room; return owner, reason and records of each.

        What is being sent at the moment stays.
        """
        times = {"now": now, "last": now + MAX_LEASE_S, "begin": now - self.max_age_s}
        expired = connection.execute(
            "SELECT id, owner, records FROM bodies WHERE created < :begin AND NOT (claimed_until BETWEEN :now AND :last)",
            times,
        ).fetchall()
        lost = [(owner, "spool_expired", records) for _, owner, records in expired]
        connection.executemany("DELETE FROM bodies WHERE id = ?", [(number,) for number, _, _ in expired])
        used_bytes = connection.execute("SELECT bytes FROM usage").fetchone()[0]
        while used_bytes + added_bytes > self.max_bytes:
            oldest = connection.execute(
                "SELECT id, owner, records, bytes FROM bodies WHERE NOT (claimed_until BETWEEN :now AND :last) ORDER BY id LIMIT 1",
                times,
            ).fetchone()
            if oldest is None:
                break
            connection.execute("DELETE FROM bodies WHERE id = ?", (oldest[0],))
            lost.append((oldest[1], "spool_full", oldest[2]))
            used_bytes -= oldest[3]
        return lost

    def claim(self, identity: str, claimant: str, lease_s: float) -> StoredBody | None:
        """Return the oldest body that nobody is at, claimed for so many seconds; None: there is none, or it is not time yet.

        Args:
            identity: of the destination.
            claimant: who is to send it.
            lease_s: how long nobody else takes it, at most `MAX_LEASE_S`.
        """
        now = time.time()
        lost: list[tuple[str, str, int]] = []
        stored = None
        self.remove_delivered()
        # Whoever only looks keeps no writer waiting.
        with self._file.transaction(writes=False) as connection:
            pause = connection.execute("SELECT not_before FROM destinations WHERE identity = ?", (identity,)).fetchone()
            free = connection.execute(
                "SELECT 1 FROM bodies WHERE destination = ? AND NOT (claimed_until BETWEEN ? AND ?) LIMIT 1",
                (identity, now, now + MAX_LEASE_S),
            ).fetchone()
        if free is None or (pause is not None and now < pause[0] < now + _MAX_PAUSE_S):
            return None
        with self._file.transaction() as connection:
            lost += self._make_room(connection, now, 0)
            while stored is None:
                row = connection.execute(
                    "SELECT id, owner, records, spans, encoding, compression, crc, content FROM bodies WHERE id = ("
                    "SELECT id FROM bodies WHERE destination = ? AND NOT (claimed_until BETWEEN ? AND ?) ORDER BY id LIMIT 1)",
                    (identity, now, now + MAX_LEASE_S),
                ).fetchone()
                if row is None:
                    break
                number, owner, records, spans, encoding, compression, checksum, content = row
                if isinstance(content, bytes) and checksum == _checksum(records, spans, encoding, compression, content):
                    stored = StoredBody(number, owner, records, Body(content, spans, encoding, compression))
                    connection.execute(
                        "UPDATE bodies SET claimed_until = ?, claimant = ? WHERE id = ?",
                        (now + min(lease_s, MAX_LEASE_S), claimant, number),
                    )
                else:
                    connection.execute("DELETE FROM bodies WHERE id = ?", (number,))
                    lost.append((owner, "spool_damaged", records if isinstance(records, int) else 1))
        self._tell(lost)
        return stored

    def remove(self, number: int) -> None:
        """Remove a body that was delivered, or is given up."""
        self._delivered.add(number)
        with self._file.transaction() as connection:
            connection.execute("DELETE FROM bodies WHERE id = ?", (number,))
            is_empty = connection.execute("SELECT bytes FROM usage").fetchone()[0] == 0
        self._delivered.discard(number)
        # Each time would cost a write of the disk for each body.
        if is_empty and time.monotonic() >= self._tidy_at:
            self.tidy()

    @property
    def is_open(self) -> bool:
        """Whether the file is open in this process."""
        return self._file.is_open

    @property
    def has_leftovers(self) -> bool:
        """Whether something that was delivered could not be removed yet."""
        return bool(self._delivered)

    def remove_delivered(self) -> None:
        """Remove what could not be removed when it was delivered."""
        if not self._delivered:
            return
        numbers = tuple(self._delivered)
        with self._file.transaction() as connection:
            connection.executemany("DELETE FROM bodies WHERE id = ?", [(number,) for number in numbers])
        self._delivered.difference_update(numbers)

    def tidy(self) -> None:
        """Leave nothing of what was removed on disk."""
        self._tidy_at = time.monotonic() + _TIDY_INTERVAL_S
        self._file.tidy()

    def release(self, number: int) -> None:
        """Let others send a body."""
        with self._file.transaction() as connection:
            connection.execute("UPDATE bodies SET claimed_until = 0, claimant = '' WHERE id = ?", (number,))

    def replace(self, number: int, identity: str, owner: str, parts: Sequence[tuple[Body[bytes], int]]) -> list[int]:
        """Put several bodies in the place of one that was too large; return their numbers.

        Args:
            number: of the one.
            identity: of the destination.
            owner: whose they are.
            parts: each with the number of its records.
        """
        with self._file.transaction() as connection:
            created = connection.execute("SELECT created FROM bodies WHERE id = ?", (number,)).fetchone()
            connection.execute("DELETE FROM bodies WHERE id = ?", (number,))
            since = created[0] if created else time.time()
            return [_insert(connection, identity, owner, since, records, body) for body, records in parts]

    def pause(self, identity: str, seconds: float) -> None:
        """Have no process send to a destination for so long; 0: at once."""
        with self._file.transaction() as connection:
            connection.execute(
                "UPDATE destinations SET not_before = ? WHERE identity = ?",
                (time.time() + min(seconds, _MAX_PAUSE_S) if seconds else 0.0, identity),
            )

    # -- figures ----------------------------------------------------------------------------------------------------

    def backlogs(self) -> list[Backlog]:
        """Return what waits, by destination."""
        with self._file.transaction(writes=False) as connection:
            rows = connection.execute(
                "SELECT destination, coalesce(name, ''), coalesce(endpoint, ''), count(*), sum(records), sum(bytes), min(created) "
                "FROM bodies LEFT JOIN destinations ON identity = destination GROUP BY destination ORDER BY min(id)"
            ).fetchall()
        return [Backlog(*row) for row in rows]

    def count(self, identity: str) -> int:
        """Return how many bodies wait for a destination."""
        with self._file.transaction(writes=False) as connection:
            return int(
                connection.execute("SELECT count(*) FROM bodies WHERE destination = ?", (identity,)).fetchone()[0]
            )

    def rows_of(self, owner: str) -> set[int]:
        """Return the numbers of an owner's bodies that wait, or are being sent."""
        with self._file.transaction(writes=False) as connection:
            return {number for (number,) in connection.execute("SELECT id FROM bodies WHERE owner = ?", (owner,))}

    def clear(self, identity: str) -> int:
        """Remove what waits for a destination; return how many records that were."""
        with self._file.transaction() as connection:
            rows = connection.execute("SELECT owner, records FROM bodies WHERE destination = ?", (identity,)).fetchall()
            connection.execute("DELETE FROM bodies WHERE destination = ?", (identity,))
        self._tell([(owner, "spool_cleared", records) for owner, records in rows])
        return sum(records for _, records in rows)

    def hand_over(self, identity: str, successor: str) -> None:
        """Let what waits for a destination be sent to another one: the same, with other headers."""
        with self._file.transaction() as connection:
            connection.execute("UPDATE bodies SET destination = ? WHERE destination = ?", (successor, identity))

    # -- losses -----------------------------------------------------------------------------------------------------

    def watch(self, owner: str, listener: Callable[[str, int], None]) -> None:
        """Tell an owner of this process of what it loses: the reason, and how many records."""
        self._listeners[owner] = listener

    def _tell(self, lost: Sequence[tuple[str, str, int]]) -> None:
        # Not in the transaction: who listens has locks of its own.
        strangers: Counter[str] = Counter()
        for owner, reason, records in lost:
            listener = self._listeners.get(owner)
            if listener is None:
                strangers[reason] += records
            else:
                listener(reason, records)
        for reason, records in strangers.items():
            if text := _LOSSES.get(reason):
                loss = f"{records} record(s) of other processes dropped: {text}"
                log(logging.WARNING, "the spool in %s: %s", self.path.parent, loss)


def _checksum(records: object, spans: object, encoding: object, compression: object, content: bytes) -> int:
    """Return what tells whether the disk gives back what it was given."""
    return zlib.crc32(content, zlib.crc32(f"{records!r} {spans!r} {encoding!r} {compression!r}".encode()))


def _insert(
    connection: sqlite3.Connection, identity: str, owner: str, created: float, records: int, body: Body[bytes]
) -> int:
    """Add a row and return its number."""
    row = {
        "destination": identity,
        "owner": owner,
        "created": created,
        "records": records,
        "spans": body.spans,
        "encoding": body.encoding,
        "compression": body.compression,
        "bytes": len(body.content),
        "crc": _checksum(records, body.spans, body.encoding, body.compression, body.content),
        "content": body.content,
    }
    columns = f"{', '.join(row)}) VALUES (:{', :'.join(row)}"
    return connection.execute(f"INSERT INTO bodies ({columns})", row).lastrowid or 0


_stores: Final[dict[Path, SpoolStore]] = {}


def store_at(directory: Path, max_bytes: int, max_age_s: float) -> SpoolStore:
    """Return the store of a directory, one for the whole process; the bounds are those that were given last."""
    store = _stores.setdefault(directory, SpoolStore(directory, max_bytes, max_age_s))
    store.max_bytes, store.max_age_s = max_bytes, max_age_s
    return store


def _abandon_all() -> None:
    for store in _stores.values():
        store.abandon()


begin_anew_in_child(_abandon_all)
