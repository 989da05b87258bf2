"""The arithmetic: more load never needs less, and what must fit fits."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast.collector import sizing
from llm_otel_broadcast.collector.sizing import Load
from tests.collector import traffic
from tests.collector.tables import DAYS, tables

RATES = st.floats(0.001, 1_000_000)
SIZES = st.integers(100, 10_000_000)
SECONDS = st.integers(1, 7 * 86_400)
ROOT = Path(__file__).parent.parent.parent

FIGURES = {
    "consumers": sizing.consumers,
    "memory_mib": sizing.memory_mib,
    "collectors": sizing.collectors,
    "balancers": traffic.balancers,
    "partitions": sizing.partitions,
    "queue of an hour": lambda load: sizing.queue_bytes(load, 3_600),
    "disk of an hour": lambda load: sizing.disk_bytes(sizing.queue_bytes(load, 3_600)),
    "traces held": lambda load: sizing.traces_held(load, 130),
    "sampler's memory": lambda load: sizing.memory_mib(load, sizing.sampler_bytes(load, 130)),
    "kept": lambda load: sizing.load_after_sampling(load, 10).bytes,
}


@pytest.mark.parametrize("name", FIGURES)
@given(rate=RATES, size=SIZES, more=st.floats(1, 1_000))
def test_a_larger_load_never_needs_less(name, rate, size, more):
    figure = FIGURES[name]
    assert figure(Load(rate, size)) <= figure(Load(rate * more, size))
    assert figure(Load(rate, size)) <= figure(Load(rate, math.ceil(size * more)))


@given(rate=RATES, size=SIZES, shorter=SECONDS, longer=SECONDS)
def test_a_longer_outage_never_needs_less(rate, size, shorter, longer):
    load, (shorter, longer) = Load(rate, size), sorted((shorter, longer))
    assert sizing.queue_bytes(load, shorter) <= sizing.queue_bytes(load, longer)
    assert sizing.retention_bytes(load, shorter, 6) <= sizing.retention_bytes(load, longer, 6)
    assert sizing.decision_wait(shorter) <= sizing.decision_wait(longer)


@given(rate=RATES, size=SIZES, seconds=SECONDS)
def test_a_queue_holds_the_whole_outage_and_the_largest_request(rate, size, seconds):
    queue = sizing.queue_bytes(Load(rate, size), seconds)
    # as exact as numbers are: beyond 2^53 bytes, eight petabytes, the order of the factors shows
    assert queue >= rate * size * seconds * (1 - 1e-12)
    assert queue >= sizing.LARGEST_REQUEST_BYTES
    assert sizing.disk_bytes(queue) > queue


@given(rate=RATES, size=SIZES)
def test_all_partitions_together_keep_the_whole_outage(rate, size):
    load = Load(rate, size)
    count = sizing.partitions(load, sizing.collectors(load))
    assert count * sizing.retention_bytes(load, 3_600, count) >= load.bytes * 3_600
    assert count >= sizing.collectors(load)


@given(rate=RATES, size=SIZES)
def test_a_tier_carries_its_load_with_one_collector_away(rate, size):
    load = Load(rate, size)
    each = traffic.share(load)
    if sizing.collectors(load) > 1:
        assert each.spans <= sizing.COLLECTOR_SPANS_PER_SECOND * 1.001
        assert each.bytes <= sizing.COLLECTOR_BYTES_PER_SECOND * 1.001
    else:
        assert each == load


@given(keep=st.floats(0.01, 99.99))
def test_the_threshold_keeps_the_share_that_was_asked_for(keep):
    assert int(sizing.threshold(keep), 16) / 16**12 == pytest.approx(keep / 100, abs=1e-12)


@pytest.mark.parametrize("keep", [1, 10, 37.5, 90])
def test_of_many_sessions_the_share_is_kept(keep):
    """Compared as the Collector compares: the whole sum in hexadecimal digits with the threshold, as texts."""
    sessions, share = 20_000, keep / 100
    sums = (hashlib.sha256(f"session_{number}".encode()).hexdigest() for number in range(sessions))
    kept = sum(each < sizing.threshold(keep) for each in sums)
    assert abs(kept - sessions * share) < 4 * math.sqrt(sessions * share * (1 - share))


def test_a_session_that_is_kept_stays_so_when_more_are_kept():
    kept = [sizing.threshold(keep) for keep in (0.01, 1, 10, 50, 99.99)]
    assert kept == sorted(kept)
    assert {len(each) for each in kept} == {12}


def test_a_single_sampler_needs_no_balancer():
    assert traffic.balancers(traffic.load_of_a_day(DAYS[0], traffic.CONTENT_BYTES)) == 0
    assert traffic.balancers(traffic.load_of_a_day(DAYS[-1], traffic.CONTENT_BYTES)) > 1


def test_the_tables_in_the_docs_are_what_the_arithmetic_says():
    """`python -m tests.collector.tables` prints them."""
    docs = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    for table in tables():
        assert table in docs
