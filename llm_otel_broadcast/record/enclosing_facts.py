"""What a dialect is given of an enclosing span. Imports only values of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.trace_fields import Fields


@dataclass(frozen=True, slots=True)
class EnclosingSpanFacts:
    """An enclosing span as one destination may have it: its place, its times, whom it is for; no text of an error.

    Attributes:
        fields: its own, else those of the generation it is sent with, as far as the destination may have them.
        failure: without its message.
        totals: sums over all generations below an outermost span, by the names of `Spent`, and `calls`.
    """

    name: str
    trace_id: int
    span_id: int
    parent_span_id: int
    start_ns: int
    end_ns: int
    fields: Fields
    failure: Failure | None
    totals: Mapping[str, float]
