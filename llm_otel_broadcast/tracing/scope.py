"""The scope of a call: the fields and spans of the program's contexts that are around it.

Each context has one; the innermost travels with `contextvars` through tasks and `asyncio.to_thread`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, Protocol

from opentelemetry import trace
from opentelemetry.context import Context

from llm_otel_broadcast.fields.merge import MutableTraceObject
from llm_otel_broadcast.host.current_context import get_current, ids_in
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.trace_fields import Fields
from llm_otel_broadcast.tracing.placement import SpanIds


class Sink(Protocol):
    """Who takes the spans of contexts: the newest `instrument()`, and those for single clients."""

    def fields_within(self, scope: Scope, /) -> Fields:
        """Return the fields of a context over those that hold for all calls (`trace_defaults`, baggage)."""

    def enclosing_span_opened(self, enclosing_span: EnclosingSpan, above: trace.Span | None, /) -> trace.Span | None:
        """Begin a span of a context, below another; return the span that is to be current in it, None for none."""

    def enclosing_span_closed(self, enclosing_span: EnclosingSpan, scope: Scope, /) -> None:
        """Take an enclosing span that has ended."""

    def reported(self, record: Generation, scope: Scope, enclosing_span: EnclosingSpan | None = None, /) -> None:
        """Take a generation that the program itself reported; `enclosing_span` is the span that it turned out to be."""

    @property
    def wants_content(self) -> bool:
        """Whether anybody wants content at all."""

    @property
    def unwanted(self) -> frozenset[str]:
        """Parts of the content that nobody wants."""

    @property
    def joins(self) -> bool:
        """Whether what is sent hangs below the app's own current span."""

    @property
    def app_traces(self) -> bool:
        """Whether the app has a tracer provider: a span that is current would be the parent of its own."""

    @property
    def successor(self) -> Sink | None:
        """Whose settings have replaced these."""


class Sinks:
    """The sinks of this process; the first one makes courtesy spans."""

    def __init__(self) -> None:
        self.all: tuple[Sink, ...] = ()

    @property
    def primary(self) -> Sink | None:
        """The sink that makes courtesy spans, None where there are no sinks."""
        # Read once: another thread may change the settings between two looks.
        sinks = self.all
        return sinks[0] if sinks else None


sinks: Final = Sinks()


# compared by identity, and that makes it a key: `trace_context` looks up which of its contexts is being left
@dataclass(slots=True, eq=False)
class Scope:
    """What holds for calls made inside a context.

    Attributes:
        context_fields: the fields of this context over those of the outer ones.
        outer: the scope around this one.
        decorated_call: the call of a `@traced_generation` function that this is, or is in.
        start_ns: when the context began.
        enclosing_spans: the spans opened by this and the outer contexts, outermost first.
        ignores_current_span: see `EnclosingSpan`.
        parent_ids: trace and span that calls inside hang below, as far as they are known before the calls; 0: unknown.
        complete: finds out what could not be known at the beginning. Called when something is about to hang below.
        is_over: the context has ended, though tasks that began in it may go on.
        outside: OpenTelemetry's context before the scope was entered.
        attached_context: OpenTelemetry's context that was attached for it.
        request: what tells the web request that it belongs to from others.
        merged: the fields of calls inside, as each sink has merged them. Replaced by an empty one whenever the context's change,
            so that what another thread is merging meanwhile is forgotten.
    """

    context_fields: MutableTraceObject
    outer: Scope | None = None
    decorated_call: object = None
    start_ns: int = field(default_factory=time.time_ns)
    enclosing_spans: tuple[EnclosingSpan, ...] = ()
    ignores_current_span: bool = False
    parent_ids: SpanIds = (0, 0)
    complete: Callable[[], None] | None = None
    is_over: bool = False
    outside: Context | None = None
    attached_context: Context | None = None
    request: object = None
    merged: dict[object, Fields] = field(default_factory=dict)

    def hide_errors(self) -> None:
        """Note that something private happens inside: what leaves a span around it, an exception or a result, may quote that."""
        scope: Scope | None = self
        # an exception may leave all of them
        while scope is not None:
            for enclosing_span in scope.enclosing_spans:
                enclosing_span.hides_texts = True
            scope = scope.outer

    def anchor(self, current: SpanIds | None) -> SpanIds:
        """Return the span that a call inside hangs below; there must be enclosing spans."""
        innermost = self.enclosing_spans[-1]
        if self.ignores_current_span or current is None:
            return innermost.trace_id, innermost.span_id
        return current


_current: ContextVar[Scope | None] = ContextVar("llm_otel_broadcast_scope", default=None)


def innermost_scope() -> Scope | None:
    """Return the innermost scope as it is; None outside of all contexts."""
    return _current.get()


def set_innermost_scope(scope: Scope | None) -> None:
    """Make a scope the innermost one in this thread or task."""
    _current.set(scope)


def current_scope() -> Scope | None:
    """Return the innermost scope, complete; None outside of all contexts."""
    scope = _current.get()
    # sessions, users and routes are found after a middleware has begun: the first call of a request asks for them
    if scope is not None and scope.complete is not None:
        scope.complete()
    return scope


def current_span_ids() -> SpanIds | None:
    """Return trace and span id of the app's current span, None where there is none or none is to be joined."""
    # `join_app_traces=False` (the newest settings decide): what is sent has ids of its own
    sink = sinks.primary
    if sink is not None and not sink.joins:
        return None
    return ids_in(get_current())
