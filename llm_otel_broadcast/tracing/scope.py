"""What the program has said round the calls it makes: fields, and the spans that its contexts opened.

One scope a context; the current one travels with `contextvars` through tasks and `asyncio.to_thread`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from opentelemetry import context as otel_context
from opentelemetry import trace

from llm_otel_broadcast.fields.ids import new_span_id, root_span_id
from llm_otel_broadcast.fields.merge import as_text, has_ids, merge, over
from llm_otel_broadcast.host.guard import Guard, or_else
from llm_otel_broadcast.host.process import begin_anew_in_child
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.totals import Totals
from llm_otel_broadcast.record.trace_fields import Fields
from llm_otel_broadcast.tracing.placement import Place, roots, stated_place

_OPENING: Final = Guard("opening a trace context")
_CLOSING: Final = Guard("closing a trace context")


class Sink(Protocol):
    """Who wants to know of blocks: the newest `instrument()`, and those for single clients."""

    def around(self, said: Mapping[Any, Any]) -> Mapping[Any, Any]:
        """Return what is said over what holds for all calls (`trace_defaults`, baggage)."""

    def enclosing_span_opened(self, enclosing_span: EnclosingSpan, said: Mapping[Any, Any]) -> trace.Span | None:
        """Complete the block's fields from what was said; return the span that is to be current in it, None for none."""

    def enclosing_span_closed(self, enclosing_span: EnclosingSpan, said: Mapping[Any, Any]) -> None:
        """Take a block that has ended."""

    def reported(
        self, record: Generation, said: Mapping[Any, Any], enclosing_span: EnclosingSpan | None = None
    ) -> None:
        """Take a generation that the program itself reported; `block` is the span it turned out to be."""

    @property
    def wants_content(self) -> bool:
        """Whether anybody wants content at all."""

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


sinks: Final = Sinks()


@dataclass(slots=True, eq=False)
class Scope:
    """What holds for calls made inside a context.

    Attributes:
        said: the fields of this context over those of the outer ones.
        outer: the context round this one.
        own: the decorated call that this is, or is in.
        since_ns: when the context began.
        blocks: the spans opened by this and the outer contexts, outermost first.
        is_apart: calls hang below the innermost block whatever span is current, because its ids were given or because the
            app's traces do not have it.
        place: trace and span that calls inside hang below as far as it is known before they are made; 0: unknown.
        late: finds out what could not be known at the beginning. Asked when something is about to hang below.
        is_over: the context has ended, though tasks that began in it may go on.
        outside: OpenTelemetry's context before it was entered, and inside.
        request: what tells the web request that it is of from others.
    """

    said: dict[Any, Any]
    outer: Scope | None = None
    own: Any = None
    since_ns: int = field(default_factory=time.time_ns)
    enclosing_spans: tuple[EnclosingSpan, ...] = ()
    is_apart: bool = False
    place: Place = (0, 0)
    late: Callable[[], None] | None = None
    is_over: bool = False
    outside: Any = None
    inside: Any = None
    request: Any = None

    def hide_errors(self) -> None:
        """Note that something private happens inside: an exception that leaves a block round it may quote that."""
        scope: Scope | None = self
        while scope is not None:
            for enclosing_span in scope.enclosing_spans:
                enclosing_span.hides_errors = True
            scope = scope.outer

    def anchor(self, current: Place | None) -> Place:
        """Return where a call inside hangs; there must be blocks."""
        innermost = self.enclosing_spans[-1]
        if self.is_apart or current is None:
            return innermost.trace_id, innermost.span_id
        return current


_current: ContextVar[Scope | None] = ContextVar("llm_otel_broadcast_scope", default=None)
REQUEST: Final = otel_context.create_key("llm_otel_broadcast_request")
"""Where OpenTelemetry's context has the scope of the web request that it is of."""


class _Process:
    number = 0


def _after_fork() -> None:
    _Process.number += 1


begin_anew_in_child(_after_fork)


def current_place() -> Place | None:
    """Return trace and span id of the app's current span, None where there is none or none is to be joined."""
    if not all(sink.joins for sink in sinks.all[:1]):
        return None
    around = trace.get_current_span().get_span_context()
    return (around.trace_id, around.span_id) if around.is_valid else None


def current_scope() -> Scope | None:
    """Return the innermost scope, complete; None outside of all contexts."""
    scope = _current.get()
    if scope is not None and scope.late is not None:
        scope.late()
    return scope


def running() -> Any:
    """Return the decorated call that is running, None outside of any."""
    scope = _current.get()
    return scope.own if scope is not None else None


def surroundings(request: object) -> tuple[Scope | None, Any]:
    """Return the scope that is round a new web request, and OpenTelemetry's context, past what an earlier one left behind.

    asyncio lets a connection's next request begin in the context of the one before (python/cpython#140947), which may be at
    work still, after its answer.

    Args:
        request: what tells it from others; None: others that are not over are round it.
    """
    scope, context = _current.get(), otel_context.get_current()
    found = scope
    while found is not None:
        if found.is_over or _is_of_another(found, request):
            scope = found.outer
            if context is found.inside or _shows(context, found.inside):
                context = found.outside
        found = found.outer
    left: Any = context.get(REQUEST)
    while left is not None and (left.is_over or _is_of_another(left, request)):
        context = left.outside
        left = context.get(REQUEST)
    return scope, context


def _is_of_another(scope: Scope, request: object) -> bool:
    return request is not None and scope.request is not None and scope.request is not request


def _shows(context: Any, inside: Any) -> bool:
    """Return whether the span that is current in a context is the one that a scope made current."""
    span = None if inside is None else trace.get_current_span(inside)
    return span is not None and span is not trace.INVALID_SPAN and trace.get_current_span(context) is span


class Stay:
    """A scope and a context of OpenTelemetry's, current between `enter` and `leave`, which may alternate."""

    __slots__ = ("_attached", "_before", "_previous", "_span", "context", "scope")

    def __init__(self, scope: Scope | None, context: Any = None) -> None:
        """Begin.

        Args:
            scope: what is to be current.
            context: OpenTelemetry's; None: the one that is current when it is entered.
        """
        self.scope = scope
        self.context = context
        self._span: trace.Span | None = None
        self._previous: Scope | None = None
        self._attached: Any = None
        self._before: Any = None

    def enter(self) -> None:
        """Make the scope, the context and its innermost span current."""
        self._previous = _current.get()
        try:
            _current.set(self.scope)
            self._before = before = otel_context.get_current()
            inside = before if self.context is None else self.context
            if self._span is not None:
                inside = trace.set_span_in_context(self._span, inside)
            if inside is not before:
                self._attached = inside
                otel_context.attach(inside)
        except BaseException:  # a signal handler has raised: nobody will leave what was not entered
            self.leave()
            raise

    def leave(self) -> None:
        """Put back what was current, unless control has moved to another context meanwhile (then ours is not there)."""
        if _current.get() is self.scope:
            _current.set(self._previous)
        attached, before = self._attached, self._before
        now = otel_context.get_current()
        if attached is None:
            pass
        elif now is attached:
            otel_context.attach(before)  # no detach: its token belongs to the context that `enter` ran in
        elif _shows(now, attached):  # the program left something of its own behind: that stays, our span does not
            otel_context.attach(trace.set_span_in_context(trace.get_current_span(before), now))
        self._attached = self._before = self._previous = None

    def took(self, value: Any) -> None:
        """Take what a decorated function returned: nothing to a plain context."""

    def yielded(self, value: Any) -> None:
        """Take one of the values that a decorated generator yielded: likewise."""

    def close(self, error: BaseException | None = None) -> None:
        """End what this began: nothing here."""


class OpenScope(Stay):
    """A context of the program's from its beginning to its end."""

    __slots__ = ("_given", "_late_name", "_opened", "_process", "_sinks", "_with_calls_only")

    scope: Scope

    def __init__(self, given: Mapping[Any, Any]) -> None:
        """Begin a context with the fields given, and open its spans."""
        self._prepare(given, current_scope())
        self._open()

    def _prepare(
        self, given: Mapping[Any, Any], outer: Scope | None, context: Any = None, *, with_calls_only: bool = False
    ) -> None:
        """Set everything but the spans.

        Args:
            given: the fields. A `trace_name` that is no text is asked for its text again at the end.
            outer: the scope round this one.
            context: OpenTelemetry's context that holds inside; None: what is current.
            with_calls_only: its spans are sent only if a generation happened below.
        """
        super().__init__(Scope(dict(given), outer, outer.own if outer else None), context)
        name = given.get("trace_name")
        self._given = given
        self._late_name = None if name is None or isinstance(name, str) else name
        self._with_calls_only = with_calls_only
        self._opened: tuple[EnclosingSpan, ...] = ()
        self._sinks = sinks.all

    def _open(self) -> None:
        """Open the spans, below what is current."""
        self._process = _Process.number
        with _OPENING:
            self._name_and_place()

    def _name_and_place(self) -> None:
        scope, given = self.scope, self._given
        outer = scope.outer or Scope({})
        scope.said = said = over(outer.said, given)
        span_name = as_text(said.pop("span_name", None))
        fields = self._fields()
        if fields.private:
            outer.hide_errors()
        afresh = has_ids(given) or not outer.enclosing_spans
        current = current_place()
        where = stated_place(fields, current) if afresh else outer.anchor(current)
        scope.enclosing_spans = () if afresh else outer.enclosing_spans
        scope.is_apart = bool(fields.trace_id or fields.parent_span_id) if afresh else outer.is_apart
        for name, is_root in self._names(fields, span_name, afresh=afresh):
            where = self._begin(name, where, is_root=is_root)
        known = bool(scope.enclosing_spans or fields.trace_id or current)
        scope.place = where if known else (0, where[1])

    def _fields(self) -> Fields:
        said: Mapping[Any, Any] = self.scope.said
        for sink in sinks.all[:1]:
            said = sink.around(said)
        return merge(None, None, None, said)

    def _names(self, fields: Fields, span_name: str | None, *, afresh: bool) -> list[tuple[str, bool]]:
        """Return the names of the spans to open, outermost first, and whether each is the root."""
        names = []
        if afresh:
            wants_root = as_text(self._given.get("trace_name")) or span_name
            if wants_root and fields.trace_name and not fields.parent_span_id:
                names.append((fields.trace_name, True))
        elif nested := as_text(self._given.get("trace_name")):
            names.append((nested, False))
        if span_name:
            names.append((span_name, False))
        return names

    def _begin(self, name: str, where: Place, *, is_root: bool) -> Place:
        """Open a block below `where`; return the place below it."""
        scope = self.scope
        trace_id, parent = where
        span_id = new_span_id()
        if is_root and self._late_name is None and roots.claim(trace_id, name, parent, scope.since_ns):
            span_id = root_span_id(trace_id, name)
        enclosing_span = EnclosingSpan(name, trace_id, span_id, parent, scope.since_ns, is_scoped=True)
        enclosing_span.totals = None if scope.enclosing_spans else (Totals(), Totals())
        enclosing_span.with_calls_only = self._with_calls_only
        enclosing_span.is_apart = scope.is_apart
        enclosing_span.fields = self._fields()
        self._opened = (*self._opened, enclosing_span)
        scope.enclosing_spans = (*scope.enclosing_spans, enclosing_span)
        for sink in sinks.all[:1]:
            with trace.use_span(self._span) if self._span else nullcontext():
                self._span = sink.enclosing_span_opened(enclosing_span, scope.said) or self._span
        if self._span is None:  # the app's traces do not have it
            enclosing_span.is_apart = scope.is_apart = True
        return enclosing_span.trace_id, enclosing_span.span_id

    def enter(self) -> None:
        super().enter()
        self.scope.outside, self.scope.inside = self._before, self._attached

    def close(self, error: BaseException | None = None) -> None:
        """End the spans that this context opened, innermost first; only the first time counts."""
        with _CLOSING:
            self.scope.is_over = True
            opened, self._opened = self._opened, ()
            if self._process != _Process.number:  # forked meanwhile: they are the parent's to end
                return
            now = time.time_ns()
            if opened and self._late_name is not None:
                opened[0].name = as_text(self._late_name) or opened[0].name
            for enclosing_span in reversed(opened):
                self._hearing(enclosing_span)  # a lane that sees the end is to know whether the block is handed on
                enclosing_span.end_ns = now = max(
                    now, enclosing_span.latest_ns, enclosing_span.start_ns
                )  # the clock may have been set back
                enclosing_span.failure = _failure(enclosing_span, error)
                self._end(enclosing_span)

    def _end(self, enclosing_span: EnclosingSpan) -> None:
        for sink in self._hearing(enclosing_span):
            sink.enclosing_span_closed(enclosing_span, self.scope.said)

    def _hearing(self, enclosing_span: EnclosingSpan) -> tuple[Sink, ...]:
        """Return who hears of the end: who listens now, and who did at the beginning (`uninstrument` in between)."""
        hearing = list(sinks.all)
        for sink in self._sinks:
            last = sink
            while last.successor is not None:
                last, enclosing_span.is_handed_on = last.successor, True
            if last not in hearing:
                hearing.append(last)
        return tuple(hearing)


def _failure(enclosing_span: EnclosingSpan, error: BaseException | None) -> Failure | None:
    if error is None or isinstance(error, GeneratorExit):
        return None
    return Failure(type(error).__qualname__, "" if enclosing_span.hides_errors else or_else(lambda: str(error), ""))
