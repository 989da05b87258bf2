"""Whether the books of a destination balance: each record that was handed over is in one place, and in one only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from llm_otel_broadcast.delivery.ledger import DestinationStatus
from llm_otel_broadcast.runtime.runs import Status

_LOOK_INTERVAL_S = 0.001
AnyBooks = DestinationStatus | Iterable[DestinationStatus] | Status


def imbalance(books: DestinationStatus) -> int:
    """Return how many records are nowhere; below zero: how many are in several places."""
    unsent = sum(books.dropped.values()) + sum(books.left_out.values())
    return books.produced - books.delivered - unsent - books.queued_records - books.spooled


def balanced(books: DestinationStatus) -> bool:
    return imbalance(books) == 0


def assert_balanced(status: AnyBooks) -> None:
    """Fail unless all books balance and no figure is below zero.

    Args:
        status: of `status()`, of a span processor, or of one destination.
    """
    destinations = status.destinations if isinstance(status, Status) else status
    for books in (destinations,) if isinstance(destinations, DestinationStatus) else destinations:
        assert imbalance(books) == 0, f"{imbalance(books)} record(s) are nowhere: {books!r}"
        figures = (books.produced, books.delivered, books.retried, books.queued_records, books.queued_bytes)
        assert min(*figures, *books.dropped.values(), *books.left_out.values()) >= 0, repr(books)


@contextmanager
def always_balanced(read: Callable[[], AnyBooks]) -> Iterator[None]:
    """Look at the books all the time, from a thread of its own, and fail at the end if they did not balance at any look."""
    faults: list[AssertionError] = []
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(_LOOK_INTERVAL_S):
            try:
                assert_balanced(read())
            except AssertionError as fault:
                faults.append(fault)
                return

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield
    finally:
        is_over.set()
        looking.join(10.0)
    assert not looking.is_alive(), "a look at the books blocks"
    if faults:
        raise faults[0]
    assert_balanced(read())
