"""The SQLite file of a spool: opened, shared between threads and processes, and replaced where it is damaged."""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from llm_otel_broadcast.host.fork_lock import ForkLock
from llm_otel_broadcast.host.logs import log
from llm_otel_broadcast.spool.directory import SpoolError, move_aside, prepare_directory, prepare_file

# The number of the schema is part of the name: two versions of this package may use one directory.
FILE_NAME: Final = "bodies-1.sqlite3"
_SCHEMA_VERSION: Final = 1
_BUSY_TIMEOUT_S: Final = 5.0
_FORK_WAIT_S: Final = 1.0
# A disk that hangs holds nobody up for longer.
_LOCK_TIMEOUT_S: Final = 6.0
# After a failure the disk is left alone for so long, and everything stays in memory.
_RETRY_AFTER_S: Final = 5.0
# Many processes that write at once may keep each other waiting; one that keeps all of them waiting for so long is a fault.
_MAX_BUSY_S: Final = 30.0
_WAL_BYTES: Final = 4_000_000
# Pages that are given back to the file system after a removal.
_VACUUM_PAGES: Final = 256
# Statement by statement: `executescript` would commit the transaction that they are to be part of.
_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS bodies (
        id INTEGER PRIMARY KEY AUTOINCREMENT, destination TEXT NOT NULL, owner TEXT NOT NULL, created REAL NOT NULL,
        records INTEGER NOT NULL, spans INTEGER NOT NULL, encoding TEXT NOT NULL, compression TEXT NOT NULL,
        claimed_until REAL NOT NULL DEFAULT 0, claimant TEXT NOT NULL DEFAULT '',
        bytes INTEGER NOT NULL, crc INTEGER NOT NULL, content BLOB NOT NULL)""",
    # Each file begins with a number of its own: what was claimed in one has the number of nothing in the next.
    """INSERT INTO sqlite_sequence (name, seq) SELECT 'bodies', abs(random() % 1000000000000)
        WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'bodies')""",
    "CREATE INDEX IF NOT EXISTS bodies_of_destination ON bodies (destination, id)",
    "CREATE INDEX IF NOT EXISTS bodies_by_age ON bodies (created)",
    """CREATE TABLE IF NOT EXISTS destinations (
        identity TEXT PRIMARY KEY, name TEXT NOT NULL, endpoint TEXT NOT NULL, not_before REAL NOT NULL DEFAULT 0)""",
    "CREATE TABLE IF NOT EXISTS usage (bytes INTEGER NOT NULL)",
    "INSERT INTO usage SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM usage)",
    """CREATE TRIGGER IF NOT EXISTS bodies_added AFTER INSERT ON bodies
        BEGIN UPDATE usage SET bytes = bytes + NEW.bytes; END""",
    """CREATE TRIGGER IF NOT EXISTS bodies_removed AFTER DELETE ON bodies
        BEGIN UPDATE usage SET bytes = bytes - OLD.bytes; END""",
    "CREATE TABLE IF NOT EXISTS salt (value BLOB NOT NULL)",
)
# Of a file that was cut short, pages are missing.
_DAMAGED_CODES: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR_SHORT_READ})
_BUSY_CODES: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_REASONS: Final = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "the file may not be written to",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_PERM: "the file may not be written to",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
    sqlite3.SQLITE_BUSY: "another process keeps it locked",
    sqlite3.SQLITE_LOCKED: "another process keeps it locked",
}
# SQLite's own locks may be held by a thread of ours when the process forks, and would be for ever in the child.
_forks_wait: Final = ForkLock(_FORK_WAIT_S)
_abandoned: Final[list[sqlite3.Connection]] = []
"""Connections of a parent process: SQLite forbids to use or even close them in its child."""


class _ForeignFileError(sqlite3.DatabaseError):
    """The file has another schema than its name says."""


class SpoolFile:
    """The file in one directory. Opens it at its first use; any thread may use it, one at a time.

    Args:
        directory: where it lies.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._fault = ""
        """Why the file cannot be used; empty: it can."""
        self._salt = b""
        self._not_before = 0.0
        self._busy_since: float | None = None
        self._is_in_use = False
        self._unlogged: deque[tuple[int, str]] = deque()

    @contextmanager
    def transaction(self, *, writes: bool = True) -> Iterator[sqlite3.Connection]:
        """Hold the file for writing, or for one look (`writes=False`); what is done is undone if it fails.

        Raises:
            SpoolError: the file cannot be used now.
        """
        try:
            with _forks_wait.within(_LOCK_TIMEOUT_S) as is_held:
                if not is_held:
                    raise SpoolError("the disk does not answer")
                if _forks_wait.was_held_at_fork:
                    raise SpoolError("this process was forked while its parent wrote to the spool")
                # The lock is one that its thread may take again: a signal handler may come on top of a transaction.
                if self._is_in_use:
                    raise SpoolError("a signal handler came while it was used")
                self._is_in_use = True
                try:
                    connection = self._open()
                    connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
                    try:
                        yield connection
                        connection.execute("COMMIT")
                    except BaseException:
                        with suppress(sqlite3.Error):
                            connection.execute("ROLLBACK")
                        raise
                except (sqlite3.Error, OSError, SpoolError, UnicodeError) as error:
                    raise self._unusable(error) from None
                finally:
                    self._is_in_use = False
                self._busy_since = None
                if self._fault:
                    self._fault = ""
                    self._unlogged.append((logging.INFO, f"the spool in {self.path.parent} works again"))
        finally:
            # Not under the lock: a log handler of the program's may take its time.
            while self._unlogged:
                log(*self._unlogged.popleft())

    def salt(self) -> bytes:
        """Return a random text that the file has of its own."""
        if self._connection is None or not self._is_same_file():
            with self.transaction(writes=False):
                # Opening it reads the salt.
                pass
        return self._salt

    @property
    def is_open(self) -> bool:
        """Whether there is a connection to the file."""
        return self._connection is not None

    def _is_same_file(self) -> bool:
        """Return whether the file that is open is the one under this name: it may have been moved aside, or removed."""
        try:
            return self.path.stat().st_ino == self._inode
        except OSError:
            return False

    def _open(self) -> sqlite3.Connection:
        """Return the connection; where the file is not the same any more, one to that which is there now."""
        if self._connection is not None:
            if self._is_same_file():
                return self._connection
            self.close()
        if time.monotonic() < self._not_before:
            raise SpoolError(self._fault)
        prepare_directory(self.path.parent)
        prepare_file(self.path)
        self._inode = self.path.stat().st_ino
        # One connection for all threads, one at a time.
        connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            # Another process that makes the file at this moment does it for us.
            with suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA journal_mode = WAL")
            # A kill of the process loses nothing that was committed; a loss of power may lose the last moments, and damages nothing.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
            self._make_tables(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._salt = bytes(connection.execute("SELECT value FROM salt").fetchone()[0])
        return connection

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == _SCHEMA_VERSION:
            return
        if version:
            raise _ForeignFileError
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            connection.execute(statement)
        if connection.execute("SELECT count(*) FROM salt").fetchone()[0] == 0:
            connection.execute("INSERT INTO salt VALUES (?)", (secrets.token_bytes(16),))
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        connection.execute("COMMIT")

    def _unusable(self, error: sqlite3.Error | OSError | SpoolError | UnicodeError) -> SpoolError:
        """Note why the file cannot be used, and that once for the log; move it aside where it is damaged."""
        if time.monotonic() < self._not_before:
            return SpoolError(self._fault)
        full_code = getattr(error, "sqlite_errorcode", 0)
        # The low byte is the kind of error, the rest says more of it.
        code = full_code & 0xFF
        if code in _BUSY_CODES:
            self._busy_since = self._busy_since or time.monotonic()
            if time.monotonic() - self._busy_since < _MAX_BUSY_S:
                return SpoolError(_REASONS[code])
        # Where names in the file are no text any more, the `sqlite3` module fails to read them.
        is_damaged = code in _DAMAGED_CODES or full_code in _DAMAGED_CODES or isinstance(error, UnicodeError)
        is_first = not self._fault
        self._not_before = time.monotonic() + _RETRY_AFTER_S
        self.close()
        if is_damaged or isinstance(error, _ForeignFileError):
            self._fault = self._move_aside("is damaged" if is_damaged else "is no spool of this version")
        elif isinstance(error, SpoolError):
            self._fault = str(error)
        elif isinstance(error, OSError):
            self._fault = f"{self.path.parent} cannot be used ({_reason_of(error)})"
        else:
            self._fault = f"{self.path} cannot be used ({_REASONS.get(code, 'SQLite refuses it')})"
        if is_first:
            text = f"the spool: {self._fault}. What cannot be delivered stays in memory meanwhile"
            self._unlogged.append((logging.WARNING, text))
        return SpoolError(self._fault)

    def _move_aside(self, fault: str) -> str:
        """Move the file out of the way; return what is wrong, and where it is now."""
        # A new file is made at once.
        self._not_before = 0.0
        try:
            # Another process may have done it, and made a new one.
            if self.path.stat().st_ino != self._inode:
                return f"{self.path} {fault}"
            return f"{self.path} {fault}: it is now {move_aside(self.path).name}, and a new one is begun"
        except OSError as error:
            self._not_before = time.monotonic() + _RETRY_AFTER_S
            return f"{self.path} {fault}, and cannot be moved aside ({_reason_of(error)})"

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def abandon(self) -> None:
        """In a child process: the connection is the parent's."""
        if self._connection is not None:
            _abandoned.append(self._connection)
        self._connection, self._not_before, self._fault = None, 0.0, ""
        self._is_in_use = False

    def tidy(self) -> None:
        """Give free pages back to the file system, and empty the log of what was written: it holds what has been removed."""
        # SQLite does that outside of transactions only. The data is safe without.
        with _forks_wait.within(_LOCK_TIMEOUT_S) as is_held, suppress(sqlite3.Error):
            if is_held and self._connection is not None:
                # Now or not at all: who waits here for readers keeps all writers waiting.
                self._connection.execute("PRAGMA busy_timeout = 0")
                try:
                    self._connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                finally:
                    self._connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_S * 1000:.0f}")


def _reason_of(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else type(error).__name__
