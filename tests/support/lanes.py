"""Lanes with real destinations, a quick retry policy, and records to put into them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llm_otel_broadcast import Destination
from llm_otel_broadcast.delivery.lane import Lane
from llm_otel_broadcast.delivery.seams import LaneParts
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.trace_fields import NO_FIELDS
from llm_otel_broadcast.spool.shelf import Shelf
from llm_otel_broadcast.spool.store import SpoolStore
from llm_otel_broadcast.wire.transport import make_transport
from tests.support.books import assert_balanced
from tests.support.spans import enclosing_span_data, generation_span

_numbers = itertools.count(1)


def record(model: str = "gpt-4o", *, size: int | None = None, root: EnclosingSpan | None = None) -> Generation:
    """Return a finished generation called `chat MODEL`."""
    made = Generation("chat")
    made.request_model = model
    made.trace_id, made.span_id = root.trace_id if root else next(_numbers), next(_numbers)
    if root is not None:
        made.enclosing_spans, made.parent_span_id = (root,), root.span_id
    if size is not None:
        made.size = size
    made.end()
    return made


def root(name: str = "root") -> EnclosingSpan:
    return EnclosingSpan(name, next(_numbers), next(_numbers), 0, time.time_ns())


def at_once(attempt: int, retry_after: float | None, random: Callable[[], float]) -> float:
    return 0.01


def parts(transport: Any, delay: Any = at_once) -> LaneParts:
    return LaneParts(
        transport=transport,
        render=lambda made: [generation_span(made, None, content=True)],
        enclosing_span=lambda enclosing_span, record: enclosing_span_data(
            enclosing_span, enclosing_span.fields or (record.fields if record else NO_FIELDS), content=True
        ),
        delay=delay,
    )


@contextmanager
def running(
    endpoint: str | None = None,
    *,
    transport: Any = None,
    delay: Any = at_once,
    batch_delay: float = 0.0,
    max_bytes: int = 64_000_000,
    started: bool = True,
    shelf: Shelf | None = None,
    durable: bool = False,
    **more: Any,
) -> Iterator[Lane]:
    """Run a lane to an endpoint (`more` goes to its `Destination`) or with a transport of the test's own; its books balance."""

    def make() -> LaneParts:
        if transport is not None:
            return parts(transport, delay)
        return parts(make_transport(Destination(endpoint=endpoint, **more), "1", "tests", lambda: None), delay)

    lane = Lane("backend", batch_delay, max_bytes, make, shelf=shelf, is_durable=durable)
    if started:
        lane.start()
    try:
        yield lane
    finally:
        lane.stop(time.monotonic() + 0.1)
    assert_balanced(lane.status())


def shelf_at(directory: Path, endpoint: str, *, timeout_s: float = 10.0, **bounds: Any) -> Shelf:
    """Return an owner's part of a spool, through a connection of its own as another process has one."""
    store = SpoolStore(directory, bounds.get("max_bytes", 64_000_000), bounds.get("max_age_s", 3600.0))
    return Shelf(store, "backend", endpoint, endpoint, bounds.get("headers", {}), timeout_s)


def on_disk(directory: Path, endpoint: str) -> int:
    """Return how many records wait in a spool."""
    return sum(backlog.records for backlog in shelf_at(directory, endpoint).store.backlogs())


def flushed(lane: Lane, timeout: float = 5.0) -> bool:
    return lane.wait(lane.hurry(), time.monotonic() + timeout)
