"""What the tables of docs/scaling.md assume about traffic, and how its tiers share a load; the product only sizes one collector."""

from __future__ import annotations

from llm_otel_broadcast.collector.sizing import Load, collectors

DAY = 86_400
PEAK = 3
"""The busiest minute of a day over the mean."""
CONTENT_BYTES = 19_562
"""Measured: a generation of 4,000 tokens and its root as OTLP protobuf (tests/benchmarks/sizes.py), 20 to a request."""
CONTENT_GZIPPED = 8_051
PRIVATE_BYTES = 1_287
"""The same without content."""
PRIVATE_GZIPPED = 130


def load_of_a_day(generations: float, size: int) -> Load:
    """Return the peak load of so many generations a day."""
    return Load(generations / DAY * PEAK, size)


def share(load: Load) -> Load:
    """Return what each collector of a tier gets while the spare one is away."""
    count = collectors(load)
    return load.shared_by(count - 1 if count > 1 else 1)


def balancers(load: Load) -> int:
    """Return how many balancers: none in front of a single sampler, which sees every trace whole anyway."""
    return collectors(load) if collectors(load) > 1 else 0
