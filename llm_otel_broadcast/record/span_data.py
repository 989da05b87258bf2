"""What a dialect makes of a record and what the wire encodes: one finished span as plain values.

Knows neither OpenTelemetry's SDK nor any client library, and imports nothing of ours but our name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from llm_otel_broadcast.record.scope_name import SCOPE_NAME

AttributeValue: TypeAlias = str | bool | int | float | Sequence[str] | Sequence[bool] | Sequence[int] | Sequence[float]
Attributes: TypeAlias = Mapping[str, AttributeValue]

# OTLP enum values (opentelemetry/proto/trace/v1/trace.proto).
KIND_INTERNAL: Final = 1
KIND_SERVER: Final = 2
KIND_CLIENT: Final = 3
KIND_PRODUCER: Final = 4
KIND_CONSUMER: Final = 5
STATUS_UNSET: Final = 0
STATUS_OK: Final = 1
STATUS_ERROR: Final = 2

CONTENT_TOO_LARGE: Final = "llm_otel_broadcast.content.too_large"
"""The attribute of a span whose content a destination found too large; its values are the next two."""
CONTENT_CUT: Final = "cut"
CONTENT_LEFT_OUT: Final = "left_out"


@dataclass(frozen=True, slots=True)
class Event:
    """A moment inside a span, for instance an exception."""

    name: str
    time_ns: int
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Link:
    """Another span that a span has to do with."""

    trace_id: int
    span_id: int
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scope:
    """The instrumentation that a span comes from."""

    # None: it states none.
    version: str | None
    name: str = SCOPE_NAME


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a span of another instrumentation comes from: its scope, and the resource of its provider."""

    scope: Scope
    resource: Attributes


class SharedText:
    """The encoded forms of a span that several destinations are sent, once the first of their lanes has made them."""

    __slots__ = ("json", "protobuf")

    def __init__(self) -> None:
        self.json: bytes | None = None
        self.protobuf: bytes | None = None


# Not frozen, which takes three times as long to make, for each record and destination.
@dataclass(slots=True)
class SpanData:
    """A finished span. Nobody changes one: whoever wants another makes a changed copy."""

    name: str
    # Integers as in OpenTelemetry's API; a parent's of 0 means none.
    trace_id: int
    span_id: int
    parent_span_id: int
    kind: int
    # Unix time.
    start_ns: int
    end_ns: int
    attributes: Attributes
    status_code: int = STATUS_UNSET
    status_message: str = ""
    events: tuple[Event, ...] = ()
    links: tuple[Link, ...] = ()
    trace_state: str = ""
    # Which version of which conventions its names are of; empty: none is stated.
    schema_url: str = ""
    # None for our own.
    origin: Origin | None = None
    # None: it is sent to one destination only. Not in a changed copy (`dataclasses.replace`), whose text is another one.
    shared_text: SharedText | None = field(default=None, init=False, compare=False, repr=False)

    def shared(self) -> SpanData:
        """Return the span for several destinations, whose text is made once."""
        span = replace(self)
        span.shared_text = SharedText()
        return span
