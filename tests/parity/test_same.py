"""Whatever is called, however it is used, whatever goes wrong: a host sees the same with us and without us."""

from __future__ import annotations

import inspect
import sys

import pytest

from llm_otel_broadcast.clients.openai.targets import TARGETS
from tests.parity.faults import EACH_OPERATION, FAULTS
from tests.parity.observation import observe
from tests.support.host_usage import use
from tests.support.scenarios import SCENARIOS, Scenario, owner_of

CASES = [
    (scenario, fault)
    for scenario in SCENARIOS
    for fault in (FAULTS if scenario.operation.name == "chat" else EACH_OPERATION)
    if FAULTS[fault].suits(scenario)
]

REFUSED_BEFORE = ("odd_headers", "unknown_argument")
"""Faults that the client may see before it comes to a method that we watch."""


def is_refused_later(kind: str, scenario: Scenario, fault: str) -> bool:
    """Return whether wrong arguments are refused where the coroutine is awaited instead of where it is made.

    That is so where the client's own method is an `async def`: what takes its place must be one, and takes any argument.
    """
    name = scenario.operation.method.rpartition(".")[2]
    twin = getattr(owner_of(scenario.operation.method, kind), name)
    return kind == "async" and fault == "unknown_argument" and inspect.iscoroutinefunction(twin)


def is_watched(scenario: Scenario) -> bool:
    """Return whether the operation is one that we record."""
    if scenario.operation.helper:  # in some versions it goes through another class's `create` than its own
        return True
    name = scenario.operation.method.rpartition(".")[2]
    kind = owner_of(scenario.operation.method)
    return any(
        target.method == name and getattr(sys.modules.get(target.module), target.owner, None) is kind
        for target in TARGETS
    )


@pytest.mark.parametrize(("scenario", "fault"), CASES, ids=str)
def test_a_host_sees_the_same_with_us_and_without_us(kind, scenario, fault, stand_in, same):
    """P1, P2, P5, P6: results, errors, tracebacks, warnings, logs, context, requests and connections."""
    wrong = FAULTS[fault]
    asked = Scenario(scenario.operation, scenario.form, wrong.more)

    def host():
        return observe(
            stand_in,
            kind,
            lambda client, note: use(client, asked, note),
            wrong.answers(scenario.answer),
            max_retries=wrong.retries,
        )

    spans = same(host, afterwards=fault == "none", compare_frames=not is_refused_later(kind, scenario, fault))
    expected = {int(is_watched(scenario))} | ({0} if fault in REFUSED_BEFORE else set())
    assert len(spans) in expected, [span.name for span in spans]
