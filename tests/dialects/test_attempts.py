"""A gateway's tries at providers are in their order also where nobody says when they were."""

from __future__ import annotations

import pytest

from llm_otel_broadcast.delivery.facts import facts_of
from llm_otel_broadcast.dialects.attempts import attempt_times
from llm_otel_broadcast.record.generation import Attempt, Generation
from llm_otel_broadcast.record.trace_fields import Fields

START_NS = 1_790_000_000_000_000_000
MILLISECOND_NS = 1_000_000


def times_of(*latencies, lasting_ns=10 * MILLISECOND_NS):
    record = Generation("chat", "chat_completions")
    record.end()
    record.start_ns, record.end_ns = START_NS, START_NS + lasting_ns
    record.attempts = [Attempt("Azure", latency_ms=latency) for latency in latencies]
    times = attempt_times(facts_of(record, Fields()))
    return [(start - START_NS, end - START_NS) for start, end in times]


def test_an_attempt_takes_its_latency_after_the_one_before():
    assert times_of(2, 3) == [(0, 2 * MILLISECOND_NS), (2 * MILLISECOND_NS, 5 * MILLISECOND_NS)]


def test_a_backend_that_keeps_microseconds_sees_the_order_of_those_whose_times_are_unknown():
    times = times_of(None, None, None)
    starts = [start // 1_000 for start, _ in times]
    assert starts == sorted(set(starts))
    assert {end for _, end in times} == {10 * MILLISECOND_NS}


@pytest.mark.parametrize("lasting_ns", [0, 1_500])
def test_none_begins_after_the_generations_end(lasting_ns):
    assert all(start <= end <= lasting_ns for start, end in times_of(None, None, None, 5, lasting_ns=lasting_ns))
