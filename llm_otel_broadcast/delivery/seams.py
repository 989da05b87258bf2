"""What a lane works with: the seams to rendering, encoding and sending."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.span_data import SpanData
from llm_otel_broadcast.record.trace_fields import Fields


class Finished(Protocol):
    """A span of somebody else's that goes the same way as a generation."""

    @property
    def size(self) -> int: ...
    @property
    def enclosing_spans(self) -> Sequence[EnclosingSpan]: ...
    @property
    def fields(self) -> Fields: ...
    def settle(self) -> None: ...


Record: TypeAlias = Generation | EnclosingSpan | Finished
"""What a lane takes: a generation, a block that a context of the program's opened and has ended, or another's span."""


class Outcome(Protocol):
    """What became of one request."""

    @property
    def kind(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def retry_after(self) -> float | None: ...
    @property
    def rejected(self) -> int: ...


class Transport(Protocol):
    """Encodes spans and sends them to one destination; used by one thread only."""

    def send(self, spans: Sequence[SpanData], *, divisible: bool) -> Outcome: ...
    def flush(self) -> bool: ...
    def close(self) -> None: ...


class RetryPolicy(Protocol):
    """How long to wait before the next try."""

    def __call__(self, attempt: int, retry_after: float | None, random: Callable[[], float]) -> float: ...


@dataclass(slots=True)
class Item:
    """A record under way: its spans, the blocks around it, and whether the books have it as delivered or dropped."""

    record: Record
    size: int = 0
    spans: list[SpanData] = field(default_factory=list)
    enclosing_spans: list[SpanData] = field(default_factory=list)
    done: bool = False


class LeftOut(NamedTuple):
    """A record that the destination does not ask for, and why."""

    reason: str


def every(_enclosing_span: EnclosingSpan) -> bool:
    """Choose every block."""
    return True


def never_smaller(_record: Record, _spans: list[SpanData]) -> list[SpanData] | None:
    """Leave every record as it is."""
    return None


@dataclass(frozen=True, slots=True)
class LaneParts:
    """What a lane works with, made on its own thread at its first batch, so that nothing of it burdens the host.

    Attributes:
        transport: sends.
        render: makes the spans of a generation, or of another's span.
        enclosing_span: makes an enclosing span's data, with the fields that it is for; None: the destination gets no such spans.
        delay: says how long to wait before the next try.
        chooses: whether a block without generations is sent; any other is sent with what is below it.
        shrink: makes the spans of a record again, smaller than they are; None: they cannot be.
        withheld: how many values of other instrumentations' spans were kept back, as they may be content.
    """

    transport: Transport
    render: Callable[[Any], list[SpanData] | LeftOut]
    enclosing_span: Callable[[EnclosingSpan, Fields], SpanData | None]
    delay: RetryPolicy
    chooses: Callable[[EnclosingSpan], bool] = every
    shrink: Callable[[Any, list[SpanData]], list[SpanData] | None] = never_smaller
    withheld: Callable[[], int] = int
