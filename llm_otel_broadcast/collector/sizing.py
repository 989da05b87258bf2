"""The arithmetic of a chain of collectors: pure functions from a load to bytes, queues, memory, disks and counts.

What is assumed and not computed is a constant here, with its reason; `docs/scaling.md` shows them all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

MIB: Final = 1024 * 1024
SPANS_PER_GENERATION: Final = 2
"""A generation, and the root above it."""
BATCH_BYTES: Final = 1_000_000
"""A request is sent when it has this much: enough to compress well, little enough for backends that take 4 MB."""
LARGEST_BATCH_BYTES: Final = 16_000_000
"""A span larger than this is dropped: the next collector's receiver would refuse it anyway."""
LARGEST_REQUEST_BYTES: Final = 20 * MIB
"""What the Collector's HTTP receiver takes at most; a queue that cannot hold one such request would refuse it for ever."""
SMALLEST_QUEUE_BYTES: Final = 64 * MIB
ANSWER_S: Final = 0.5
"""Until a backend has answered one request."""
LONG_PAUSE_S: Final = 10
"""Seconds that a tier holds in memory when the tier in front of it has a disk or is Kafka."""
DISK_SHARE: Final = 1.25
"""Pages that the queue's database has claimed over what it holds."""
HEAP_SHARE: Final = 4
"""Bytes of heap for a byte on the wire: decoded spans take two to three times as much, and garbage waits to be collected."""
HEAP_BASE_MIB: Final = 256
ERRORS_PERCENT: Final = 5
"""Traces with an error, which a sampler keeps besides."""
COLLECTOR_SPANS_PER_SECOND: Final = 10_000
"""Spans a second for one collector with 4 cores, so that it is half idle and catches up after an outage."""
COLLECTOR_BYTES_PER_SECOND: Final = 20_000_000
MAX_BYTES_PER_SECOND: Final = 10_000_000_000
"""Bytes a second that one machine's network takes in; beyond it figures would leave the range of the Collector's numbers."""
MAX_MEMORY_MIB: Final = 1024 * 1024
PARTITION_BYTES_PER_SECOND: Final = 5_000_000
"""Bytes a second for one Kafka partition."""
DECISION_MARGIN_S: Final = 10
"""Seconds from the end of a span until it has come through exporter, agent and balancer."""


@dataclass(frozen=True, slots=True)
class Load:
    """What comes through one collector, or one tier, at its peak.

    Args:
        rate: generations a second.
        size: bytes of one generation with all of its spans, as OTLP protobuf before compression.
    """

    rate: float
    size: int

    @property
    def spans(self) -> float:
        """Spans a second."""
        return self.rate * SPANS_PER_GENERATION

    @property
    def bytes(self) -> int:
        """Bytes a second."""
        return math.ceil(self.rate * self.size)

    def shared_by(self, count: int) -> Load:
        """Return what each of `count` equal ones gets."""
        return Load(self.rate / max(1, count), self.size)


def consumers(load: Load) -> int:
    """Return how many requests must be under way at once, twice over, so that a backlog shrinks."""
    # At least 4, so that one slow request does not hold up a quiet collector; at most 200 connections to a backend.
    batches = max(1.0, load.bytes / BATCH_BYTES)
    return min(200, max(4, math.ceil(batches * ANSWER_S * 2)))


def queue_bytes(load: Load, seconds: float) -> int:
    """Return the bytes that are held while nothing can be passed on for so many seconds."""
    return max(SMALLEST_QUEUE_BYTES, math.ceil(load.bytes * seconds))


def disk_bytes(queue: int) -> int:
    """Return the bytes of disk that a queue of so many bytes takes."""
    return math.ceil(queue * DISK_SHARE)


def memory_mib(load: Load, held_bytes: float = 0) -> int:
    """Return the memory limit in MiB: batches under way, two seconds of arrivals, and what is held in memory besides."""
    # A request may be one large span, and decoded it lies in memory beside what has just arrived.
    under_way = consumers(load) * max(BATCH_BYTES, load.size) + 2 * load.bytes + held_bytes
    return _round_up(HEAP_BASE_MIB + HEAP_SHARE * max(under_way, LARGEST_REQUEST_BYTES) / MIB, 64)


def spike_mib(memory: int) -> int:
    """Return the MiB that memory may grow between two checks: a fifth, as the Collector's documentation advises."""
    return memory // 5


def decision_wait(longest: float) -> int:
    """Return the seconds that a sampler waits for the rest of a trace after its first span."""
    return math.ceil(longest) + DECISION_MARGIN_S


def traces_held(load: Load, wait: float) -> int:
    """Return how many traces a sampler holds while it waits, twice over; each generation may be a trace of its own."""
    # `num_traces` is a hard bound: when it is reached the oldest traces are dropped before they are decided.
    return _round_up(max(1_000, 2 * load.rate * wait), 1_000)


def sampler_bytes(load: Load, wait: float) -> int:
    """Return the bytes that a sampler holds in memory while it waits."""
    return math.ceil(load.bytes * wait)


def load_after_sampling(load: Load, keep: float) -> Load:
    """Return what a sampler that keeps so many percent of the sessions passes on, errors included."""
    return Load(load.rate * min(100, keep + ERRORS_PERCENT) / 100, load.size)


def threshold(keep: float) -> str:
    """Return the hexadecimal digits below which `keep` percent of all SHA-256 sums begin."""
    # The Collector compares sums as texts, so the digits must be as many for every share; 48 bits are exact in a float.
    return f"{int(keep / 100 * 16**12):012x}"


def collectors(load: Load) -> int:
    """Return how many collectors share a tier's load; more than one come with a spare."""
    # Where one is enough a spare would double the cost: agents keep on disk what arrives while it is away.
    needed = math.ceil(max(load.spans / COLLECTOR_SPANS_PER_SECOND, load.bytes / COLLECTOR_BYTES_PER_SECOND))
    return 1 if needed <= 1 else needed + 1


def partitions(load: Load, readers: int = 1) -> int:
    """Return how many Kafka partitions: enough for the bytes, and three for each reader, so that readers can be added."""
    return _round_up(max(load.bytes / PARTITION_BYTES_PER_SECOND, 3 * readers), 6)


def retention_bytes(load: Load, seconds: float, count: int) -> int:
    """Return the bytes that one of `count` partitions keeps for so many seconds."""
    return max(1024 * MIB, math.ceil(load.bytes * seconds * DISK_SHARE / count))


def _round_up(value: float, step: int) -> int:
    return math.ceil(value / step) * step
