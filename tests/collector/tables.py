"""The tables of docs/scaling.md, from `sizing.py` and `traffic.py` alone: `python -m tests.collector.tables` prints them."""

from __future__ import annotations

from collections.abc import Iterable

from llm_otel_broadcast.collector import sizing
from llm_otel_broadcast.collector.roles import amount
from llm_otel_broadcast.collector.sizing import Load
from tests.collector import traffic

HOUR = 3_600
LONGEST = 120
KEEP = 10
DAYS = tuple(10**power for power in range(3, 10))
TRAFFIC = (
    "generations a day",
    "mean/s",
    "peak/s",
    "spans/s",
    "content: bytes",
    "content: gzip",
    "without: bytes",
    "without: gzip",
)
MACHINES = (
    "generations a day",
    "balancers",
    "samplers",
    "memory of each",
    "num_traces",
    "agents' queues, 1 h",
    "agents' disks",
    "a sampler's queue, 1 h",
    "its disk",
    "Kafka partitions",
)


def tables() -> list[str]:
    return [
        _table(TRAFFIC, map(_traffic, DAYS)),
        _table(MACHINES, map(_machines, DAYS)),
        "".join(f"- {line}\n" for line in _assumed()),
    ]


def _assumed() -> Iterable[str]:
    yield f"the peak of a day: {traffic.PEAK} times its mean"
    yield f"a collector with 4 cores: {sizing.COLLECTOR_SPANS_PER_SECOND:,} spans/s and {amount(sizing.COLLECTOR_BYTES_PER_SECOND)}/s, half idle; one to spare in each tier"
    yield f"a byte on the wire takes {sizing.HEAP_SHARE} of the heap while it is held; {sizing.HEAP_BASE_MIB} MiB for the rest"
    yield f"a request is sent with {amount(sizing.BATCH_BYTES)} or after a second, and answered in {sizing.ANSWER_S:g} s"
    yield f"the queue's database takes {sizing.DISK_SHARE:g} times what it holds; a queue has {amount(sizing.SMALLEST_QUEUE_BYTES)} at least"
    yield f"a Kafka partition: {amount(sizing.PARTITION_BYTES_PER_SECOND)}/s, before compression; three for each reader"
    yield f"traces with an error: {sizing.ERRORS_PERCENT} %"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---:",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _traffic(generations: int) -> tuple[str, ...]:
    load = traffic.load_of_a_day(generations, traffic.CONTENT_BYTES)
    sizes = (traffic.CONTENT_BYTES, traffic.CONTENT_GZIPPED, traffic.PRIVATE_BYTES, traffic.PRIVATE_GZIPPED)
    return (
        f"{generations:,}",
        *(_figure(each) for each in (generations / traffic.DAY, load.rate, load.spans)),
        *(f"{amount(Load(load.rate, size).bytes)}/s" for size in sizes),
    )


def _machines(generations: int) -> tuple[str, ...]:
    load = traffic.load_of_a_day(generations, traffic.CONTENT_BYTES)
    each, wait = traffic.share(load), sizing.decision_wait(LONGEST)
    agents = sizing.queue_bytes(load, HOUR)
    queue = sizing.queue_bytes(sizing.load_after_sampling(each, KEEP), HOUR)
    return (
        f"{generations:,}",
        str(traffic.balancers(load) or "none"),
        str(sizing.collectors(load)),
        f"{sizing.memory_mib(each, sizing.sampler_bytes(each, wait)) / 1024:.1f} GiB",
        f"{sizing.traces_held(each, wait):,}",
        amount(agents),
        amount(sizing.disk_bytes(agents)),
        amount(queue),
        amount(sizing.disk_bytes(queue)),
        str(sizing.partitions(load, sizing.collectors(load))),
    )


def _figure(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


if __name__ == "__main__":
    print(*tables(), sep="\n", end="")
