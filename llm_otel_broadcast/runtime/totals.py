"""The books of all lanes, added up by destination: settings that change give a destination a new lane, whose books begin at zero."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from llm_otel_broadcast.delivery.lane import Lane


class Figure(NamedTuple):
    """What is counted, as `DestinationStatus` calls it, and why where it is counted by reason."""

    subject: str
    reason: str = ""


Totals: TypeAlias = dict[str, "Counter[Figure]"]
"""The figures by the destination's name."""


def add_books(totals: Totals, lanes: Iterable[Lane]) -> None:
    """Add the books of lanes to totals."""
    for lane in lanes:
        books = lane.status()
        figures = {
            Figure("produced"): books.produced,
            Figure("delivered"): books.delivered,
            Figure("retried"): books.retried,
            Figure("queued_records"): books.queued_records,
            Figure("queued_bytes"): books.queued_bytes,
            Figure("spooled"): books.spooled,
            **{Figure("dropped", reason): count for reason, count in books.dropped.items()},
            **{Figure("left_out", reason): count for reason, count in books.left_out.items()},
        }
        totals.setdefault(books.name, Counter()).update(figures)
