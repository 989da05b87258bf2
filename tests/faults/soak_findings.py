"""What the ledgers of a soak and its destinations say together: what is wrong, and the figures."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.faults.soak_ledger import LedgerContent, Sample

_RESET_WINDOW_S: Final = 5.0
"""An answer that was sent so shortly before a destination reset its connections may not have arrived."""
_KILL_WINDOW_S: Final = 1.0
"""What a killed process promises goes back to so long before its end."""
_MIN_SAMPLES: Final = 40
"""Below that a process has not lived long enough to say whether it grows."""
_MAX_GROWTH_BYTES: Final = 16 * 1024 * 1024
_MAX_MORE_DESCRIPTORS: Final = 8
_LONGEST_END_S: Final = 35.0
"""From a process's last call to its end: `shutdown()` may take 30 s."""
_EXIT_MARGIN_S: Final = 20.0
"""The machine may be busy."""


@dataclass(frozen=True)
class Life:
    """One process from its start to its end.

    Attributes:
        number: in the ids of its calls.
        kind: how it called.
        ending: how it was to end.
        exit_code: as it was.
        ended_at: when that was seen (seconds since the epoch).
        killed_at: when it was sent SIGKILL.
        errors: what it wrote to stderr.
        ledger: what it wrote down.
    """

    number: int
    kind: str
    ending: str
    exit_code: int
    ended_at: float
    killed_at: float | None
    errors: str
    ledger: LedgerContent

    def __str__(self) -> str:
        return f"life {self.number} ({self.kind}, {'killed' if self.killed_at else self.ending})"


@dataclass
class Arrivals:
    """What came to one destination.

    Attributes:
        name: of the destination.
        is_steady: it never had a fault.
        acknowledged: when each call was taken by a request that was answered well, by the call's id; of all calls of a request
            the same moment.
        unanswered: calls of requests that were taken, and not answered as they should be: these may come again.
        resets: when it closed all its connections at once.
    """

    name: str
    is_steady: bool = False
    acknowledged: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    unanswered: Counter[str] = field(default_factory=Counter)
    resets: list[float] = field(default_factory=list)

    def has(self, call_id: str) -> bool:
        return call_id in self.acknowledged or call_id in self.unanswered

    def is_excused(self, taken_at: float) -> bool:
        """Return whether an answer given at that time may have been lost."""
        return any(abs(taken_at - reset) < _RESET_WINDOW_S for reset in self.resets)


def faults(
    lives: Sequence[Life], destinations: Sequence[Arrivals], *, exit_timeout_s: float, spool: bool, durable: bool
) -> list[str]:
    """Return what is wrong, a sentence each."""
    return [
        *unbalanced(lives),
        *growing(lives),
        *badly_ended(lives, exit_timeout_s),
        *(fault for destination in destinations for fault in doubled(lives, destination, spool=spool)),
        *(fault for destination in destinations for fault in missing(lives, destination, spool=spool, durable=durable)),
    ]


def unbalanced(lives: Sequence[Life]) -> Iterator[str]:
    """Books that do not balance, and errors of our own."""
    for life in lives:
        for sample in life.ledger.samples:
            for books in sample.books:
                if books.imbalance:
                    yield f"{life}: the books of {books.name} are out by {books.imbalance}: {books}"
        if any(sample.internal_errors for sample in life.ledger.samples):
            yield f"{life}: errors of our own"
        final = life.ledger.final
        if final is not None and (waiting := sum(books.queued for books in final.books)):
            yield f"{life}: {waiting} records still wait after shutdown()"


def growing(lives: Sequence[Life]) -> Iterator[str]:
    """Memory and descriptors that go on growing: the last quarter of a life against its second."""
    for life in lives:
        second, last = quarters(main_samples(life))
        if not last:
            continue
        grown = statistics.median(s.memory_bytes for s in last) - statistics.median(s.memory_bytes for s in second)
        if grown > _MAX_GROWTH_BYTES:
            yield f"{life}: grew by {grown / 2**20:.0f} MiB"
        more = statistics.median(s.descriptors for s in last) - statistics.median(s.descriptors for s in second)
        if more > _MAX_MORE_DESCRIPTORS:
            yield f"{life}: {more:.0f} more file descriptors"


def main_samples(life: Life) -> list[Sample]:
    """Return the samples of the process itself, without its children's."""
    samples = life.ledger.samples
    return [sample for sample in samples if sample.pid == samples[0].pid]


def quarters(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Return the second and the last quarter of a life that was long enough; of any other nothing."""
    quarter = len(samples) // 4
    return (samples[quarter : 2 * quarter], samples[-quarter:]) if len(samples) >= _MIN_SAMPLES else ((), ())


def badly_ended(lives: Sequence[Life], exit_timeout_s: float) -> Iterator[str]:
    """Exit codes that are not the program's own, ends that took too long, and tracebacks."""
    for life in lives:
        wanted = -9 if life.killed_at else -15 if life.ending == "SIGTERM" else 0
        if life.exit_code != wanted:
            yield f"{life}: exit code {life.exit_code} in place of {wanted}"
        leaving_at = life.ledger.leaving_at
        if leaving_at is not None and (seconds := life.ended_at - leaving_at) > exit_timeout_s + _EXIT_MARGIN_S:
            yield f"{life}: took {seconds:.1f} s to end"
        if "Traceback" in life.errors or "Exception ignored" in life.errors:
            yield f"{life}: wrote to stderr: {life.errors[:2_000]}"


def doubled(lives: Sequence[Life], destination: Arrivals, *, spool: bool) -> Iterator[str]:
    """Calls that came again though their request had been answered."""
    ends = _ends(lives)
    excusing: dict[float, set[str]] = {}

    def is_in_window(call_id: str, first: float) -> bool:
        # A process that ended after an answer cannot have noted it: the documented window of a spool, of one request.
        if first not in excusing:
            own = _process_of(call_id)
            used = set().union(*excusing.values())
            # Whoever is next sends what lies in a spool, so it may have been another process that ended.
            names = {own, *(ends if spool else ())} - used
            covering = [name for name in names if name in ends and ends[name].covers(first, spool=spool)]
            # Its own, else the one that can excuse the fewest others.
            covering.sort(key=lambda name: (name != own, ends[name].latest - ends[name].earliest, name))
            excusing[first] = set(covering[:1])
        return bool(excusing[first])

    for call_id, times in destination.acknowledged.items():
        for first in times[:-1]:
            if not destination.is_excused(first) and not is_in_window(call_id, first):
                yield f"{destination.name}: {call_id} came {len(times)} times"
                break


@dataclass(frozen=True)
class _End:
    """From when to when a process ended, as far as its life tells."""

    earliest: float
    latest: float
    is_kill: bool

    def covers(self, answered_at: float, *, spool: bool) -> bool:
        """Return whether a process that got an answer then may have ended before it could note that."""
        return (spool or self.is_kill) and self.earliest - _KILL_WINDOW_S < answered_at <= self.latest


def _ends(lives: Sequence[Life]) -> dict[str, _End]:
    """Return the end of each process that called, by the beginning of its calls' ids."""
    ends: dict[str, _End] = {}
    for life in lives:
        last_calls: dict[str, float] = {}
        for call_id, returned_at in life.ledger.calls.items():
            process = _process_of(call_id)
            last_calls[process] = max(returned_at, last_calls.get(process, 0.0))
        for process, last in last_calls.items():
            if life.killed_at is not None:
                ends[process] = _End(life.killed_at, life.killed_at, is_kill=True)
            else:
                ends[process] = _End(last, min(life.ended_at, last + _LONGEST_END_S), is_kill=False)
    return ends


def _process_of(call_id: str) -> str:
    """Return which process of which life has made a call."""
    return call_id.rpartition(".")[0]


def missing(lives: Sequence[Life], destination: Arrivals, *, spool: bool, durable: bool) -> Iterator[str]:
    """Calls that returned, were promised, and are not there."""
    for life in lives:
        lost = {call_id: at for call_id, at in life.ledger.calls.items() if not destination.has(call_id)}
        if life.killed_at is not None:
            promised = life.killed_at - _KILL_WINDOW_S if durable else 0.0
            lost = {call_id: at for call_id, at in lost.items() if at < promised}
        elif not destination.is_steady and not spool:
            # What was given up is counted: no more may be missing than the books of a process that shut down say. Those of its
            # forked children ended with them.
            final = life.ledger.final
            if final is None:
                continue
            lost = {call_id: at for call_id, at in lost.items() if int(call_id.split(".")[1]) == final.pid}
            if len(lost) <= sum(books.dropped for books in final.books if books.name == destination.name):
                continue
        if lost:
            yield f"{destination.name}: {len(lost)} calls of {life} are missing, {min(lost)} among them; stderr: {life.errors[-600:]}"


def figures(lives: Sequence[Life], destinations: Sequence[Arrivals]) -> dict[str, object]:
    """Return what happened, in numbers."""
    long_lives = [(second, last) for second, last in map(quarters, map(main_samples, lives)) if last]
    exits = [
        (round(life.ended_at - life.ledger.leaving_at, 1), str(life))
        for life in lives
        if life.ledger.leaving_at and not life.killed_at
    ]
    dropped = Counter[str]()
    for life in lives:
        final = life.ledger.final
        dropped.update({books.name: books.dropped for books in (final.books if final else ())})
    return {
        "processes": dict(Counter(life.kind for life in lives)),
        "endings": dict(Counter("SIGKILL" if life.killed_at else life.ending for life in lives)),
        "calls": sum(len(life.ledger.calls) for life in lives),
        "samples": sum(len(life.ledger.samples) for life in lives),
        "delivered": {destination.name: len(destination.acknowledged) for destination in destinations},
        "twice": {d.name: sum(len(times) > 1 for times in d.acknowledged.values()) for d in destinations},
        "taken_unanswered": {destination.name: len(destination.unanswered) for destination in destinations},
        "dropped_by_those_that_shut_down": dict(dropped),
        "slowest_end_s": max(exits, default=None),
        "long_lives": len(long_lives),
        "most_growth_mib": round(
            max((_median_mib(last) - _median_mib(second) for second, last in long_lives), default=0.0), 1
        ),
        "most_memory_mib": round(
            max((s.memory_bytes for life in lives for s in life.ledger.samples), default=0) / 2**20
        ),
        "most_descriptors": max((s.descriptors for life in lives for s in life.ledger.samples), default=0),
    }


def _median_mib(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.memory_bytes for sample in samples) / 2**20
