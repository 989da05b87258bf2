"""What the processes of a soak write down as they go: one line of JSON each, in a file for each life of a process."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import llm_otel_broadcast

_FDS: Final = Path("/proc/self/fd")
_MEMORY: Final = Path("/proc/self/statm")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0


class Books(NamedTuple):
    """The figures of one destination at one moment, in one process."""

    name: str
    produced: int
    delivered: int
    dropped: int
    left_out: int
    queued: int
    spooled: int

    @property
    def imbalance(self) -> int:
        """How many records are nowhere; below zero: how many are in several places."""
        return self.produced - self.delivered - self.dropped - self.left_out - self.queued - self.spooled


class Sample(NamedTuple):
    """One look at a process."""

    pid: int
    at: float
    memory_bytes: int
    descriptors: int
    internal_errors: int
    books: tuple[Books, ...]


def look() -> Sample:
    """Look at this process."""
    status = llm_otel_broadcast.status()
    books = tuple(
        Books(
            name=found.name,
            produced=found.produced,
            delivered=found.delivered,
            dropped=sum(found.dropped.values()),
            left_out=sum(found.left_out.values()),
            queued=found.queued_records,
            spooled=getattr(found, "spooled", 0),
        )
        for found in status.destinations
    )
    memory_bytes = int(_MEMORY.read_text().split()[1]) * _PAGE_BYTES if _MEMORY.exists() else 0
    descriptors = len(list(_FDS.iterdir())) if _FDS.exists() else 0
    return Sample(os.getpid(), time.time(), memory_bytes, descriptors, sum(status.internal_errors.values()), books)


class Ledger:
    """Writes a life's file; forked children write to the same one. What has been written survives SIGKILL."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, kind: str, value: object) -> None:
        # One write for each line: those of several processes do not mix.
        os.write(self._file, (json.dumps({kind: value}) + "\n").encode())

    def note_call(self, call_id: str) -> None:
        """Note a call that has returned."""
        self.write("call", [call_id, time.time()])

    def note_sample(self, kind: str = "sample") -> None:
        """Note how this process stands; `final`: after its last delivery."""
        self.write(kind, look())


class LedgerContent(NamedTuple):
    """What a life has written.

    Attributes:
        calls: when each call returned (seconds since the epoch), by its id.
        samples: in the order of their time.
        final: the last look of a process that shut down.
        leaving_at: when it began to end.
    """

    calls: dict[str, float]
    samples: list[Sample]
    final: Sample | None
    leaving_at: float | None


def read_ledger(path: Path) -> LedgerContent:
    calls: dict[str, float] = {}
    samples: list[Sample] = []
    final, leaving_at = None, None
    for kind, value in _lines(path):
        if kind == "call":
            calls[value[0]] = value[1]
        elif kind == "leaving":
            leaving_at = value
        else:
            sample = Sample(*value[:-1], tuple(Books(*books) for books in value[-1]))
            samples.append(sample)
            final = sample if kind == "final" else final
    return LedgerContent(calls, samples, final, leaving_at)


def _lines(path: Path) -> Iterator[tuple[str, object]]:
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        yield from json.loads(line).items()
