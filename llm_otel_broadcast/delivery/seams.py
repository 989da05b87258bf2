"""What a destination's worker works with: the seams to rendering, encoding and sending."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar

from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.trace_fields import Fields

# What is encoded and sent is for the lanes' threads, which import it.
if TYPE_CHECKING:
    from llm_otel_broadcast.record.span_data import SpanData
    from llm_otel_broadcast.wire.exchange import Answer, Body

Payload = TypeVar("Payload")


class FinishedForeignSpan(Protocol):
    """A span of somebody else's that goes the same way as a generation."""

    @property
    def size(self) -> int: ...
    @property
    def enclosing_spans(self) -> Sequence[EnclosingSpan]: ...
    @property
    def fields(self) -> Fields: ...
    def settle(self) -> None: ...


Record: TypeAlias = Generation | EnclosingSpan | FinishedForeignSpan
"""A generation, a span that a context of the program's opened and has ended, or a span of another instrumentation's."""


# One protocol for HTTP and for exporter objects. Encoding stands apart from posting so that what cannot be sent now can be
# kept in the form in which it would go out, by a process that ends or on disk.
class Transport(Protocol[Payload]):
    """Sends spans to one destination in two steps, so that a body can be kept, and posted later. Used by one thread only."""

    def encode(self, spans: Sequence[SpanData], *, divisible: bool = False) -> Body[Payload]:
        """Return spans as one request.

        Raises:
            OversizedError: they are `divisible`, and more than one request may have.
        """

    def post(self, body: Body[Payload]) -> Answer:
        """Send one request and return what became of it."""

    def flush(self) -> bool:
        """Pass on what is still held back; False: that failed."""

    def close(self) -> None: ...


# Of any content: a transport posts what it has encoded itself, and nobody else looks into it.
AnyBody: TypeAlias = "Body[Any]"
AnyTransport: TypeAlias = Transport[Any]


class RetryPolicy(Protocol):
    """How long to wait before the next try."""

    def __call__(self, attempt: int, retry_after: float | None, random: Callable[[], float]) -> float: ...


class Item:
    """A record on its way through the worker's thread.

    Attributes:
        record: what was handed over.
        size: its estimated bytes at that time. Reading a body in the background adds to the record's own size.
        spans: what is to be sent of it.
        enclosing_spans: what is to be sent of the spans round it, unless the destination has them.
        is_accounted: the books have it as delivered, dropped or left out.
    """

    __slots__ = ("enclosing_spans", "is_accounted", "record", "size", "spans")

    def __init__(self, record: Record, size: int = 0) -> None:
        self.record = record
        self.size = size
        self.spans: list[SpanData] = []
        self.enclosing_spans: list[SpanData] = []
        self.is_accounted = False


class LeftOut(NamedTuple):
    """A record that the destination does not ask for, and why."""

    reason: str


class Unreadable(NamedTuple):
    """A record that cannot be rendered, and the type of the error."""

    error: str


class Withdrawn(NamedTuple):
    """An enclosing span that is not sent by itself: what is below it brings it along later, or was dropped and counted."""


def choose_all(_enclosing_span: EnclosingSpan) -> bool:
    """Choose every enclosing span."""
    return True


def cannot_shrink(_record: Record, _spans: list[SpanData]) -> list[SpanData] | None:
    """Leave every record as it is."""
    return None


class LaneParts(NamedTuple):
    """What a lane works with, made on its own thread at its first batch, so that nothing of it burdens the host.

    Attributes:
        transport: encodes and posts.
        render: makes the spans of a generation, or of another's span.
        enclosing_span: makes the data of an enclosing span, sent with a generation or by itself; None: the destination gets no
            such spans.
        delay: says how long to wait before the next try.
        chooses: whether an enclosing span without generations is sent; any other is sent with what is below it.
        shrink: makes the spans of a record again, smaller than they are; None: they cannot be.
        withheld: how many values of other instrumentations' spans were kept back, as they may be content.
    """

    transport: AnyTransport
    # Of a record of any kind: which kinds there are is for the pipeline to know.
    render: Callable[[Any], list[SpanData] | LeftOut]
    enclosing_span: Callable[[EnclosingSpan, Generation | None], SpanData | None]
    delay: RetryPolicy
    chooses: Callable[[EnclosingSpan], bool] = choose_all
    shrink: Callable[[Any, list[SpanData]], list[SpanData] | None] = cannot_shrink
    withheld: Callable[[], int] = int


def do_nothing() -> None:
    """Do nothing."""


class RecordReader(NamedTuple):
    """What a recorder hands its records to, all on its own thread.

    Attributes:
        read: takes a record that is complete. Where that takes too long, another thread goes on with the next one.
        finish: does what may take its time, after each batch.
        close: does what is left, at the end.
    """

    read: Callable[[Generation], None]
    finish: Callable[[], None] = do_nothing
    close: Callable[[], None] = do_nothing
