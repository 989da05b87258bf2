"""One server and one receiver for the whole suite: it makes some thousand calls."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import pytest

import llm_otel_broadcast
from llm_otel_broadcast.receiver import OtlpReceiver, ReceivedSpan
from tests.parity.observation import Seen
from tests.support.client_calls import KINDS
from tests.support.stand_in.server import StandIn


@pytest.fixture(scope="package")
def api() -> Iterator[StandIn]:
    with StandIn() as running:
        yield running


@pytest.fixture(scope="package")
def sink() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def _quick_collections() -> Iterator[None]:
    """Each run ends with a garbage collection: let it look at what the run has made only."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def stand_in(api: StandIn) -> Iterator[StandIn]:
    api.requests.clear()
    yield api
    api.forget_script()


@pytest.fixture
def receiver(sink: OtlpReceiver) -> OtlpReceiver:
    sink.clear()
    return sink


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def same(instrumented: Callable[..., Any], arrived: Callable[..., list[ReceivedSpan]]) -> Callable[..., Any]:
    """Run a host plain and instrumented, require that it sees the same, and return the spans."""

    def compare(
        host: Callable[[], Seen], *, afterwards: bool = False, compare_frames: bool = True, **options: Any
    ) -> list[ReceivedSpan]:
        plain = host()
        instrumented(**options)
        traced = host()
        spans = arrived()
        if not compare_frames:
            plain.error["frames"] = traced.error["frames"] = []
        assert_same(plain, traced)
        llm_otel_broadcast.uninstrument()
        if afterwards:
            assert_same(plain, host())
        return spans

    return compare


def assert_same(plain: Seen, traced: Seen) -> None:
    """Compare part by part, so that a difference says where it is."""
    for part in fields(Seen):
        assert getattr(traced, part.name) == getattr(plain, part.name), part.name
