"""The spans that a context of the program's opens: the root, a step below it, and when and how they end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from opentelemetry import trace

from llm_otel_broadcast.fields.ids import new_span_id
from llm_otel_broadcast.fields.merge import TraceObject, as_text, has_ids, merge, over
from llm_otel_broadcast.host.forks import begin_anew_in_child
from llm_otel_broadcast.host.guard import Guard, or_else
from llm_otel_broadcast.record.enclosing_span import CONTEXT, EnclosingKind, EnclosingSpan
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.totals import Totals
from llm_otel_broadcast.record.trace_fields import Fields
from llm_otel_broadcast.tracing.placement import SpanIds, parent_ids, roots
from llm_otel_broadcast.tracing.scope import Scope, Sink, current_span_ids, sinks

_OPENING: Final = Guard("opening a trace context")
_CLOSING: Final = Guard("closing a trace context")


_NO_SCOPE: Final = Scope({})
"""What is around the outermost context."""


class _Process:
    forks = 0

    @classmethod
    def count_fork(cls) -> None:
        cls.forks += 1


begin_anew_in_child(_Process.count_fork)


class ContextSpans:
    """The spans of one context, from their beginning to their end.

    Attributes:
        current_span: the span that is to be current inside; None: none of ours.
        opened: the spans that are open, outermost first.
    """

    __slots__ = (
        "_end",
        "_forks",
        "_kind",
        "_late_name",
        "_needs_generations",
        "_own_fields",
        "_scope",
        "_sinks",
        "_subject",
        "current_span",
        "opened",
    )

    def __init__(
        self,
        scope: Scope,
        own_fields: TraceObject,
        *,
        late_name: object = None,
        needs_generations: bool = False,
        end: Callable[[EnclosingSpan], None] | None = None,
        kind: EnclosingKind | None = None,
        subject: str = "",
    ) -> None:
        """Prepare the spans; `open` opens them.

        Args:
            scope: the context's scope, which they become part of.
            own_fields: the fields stated for this context.
            late_name: what is asked for the outermost span's name at the end; such a span is never the one root of its name
                that calls elsewhere refer to.
            needs_generations: they are sent only if a generation, or a span that needs none, was below.
            end: called with each span that ends, in place of `hand_over`.
            kind: what the innermost span stands for, which there is then, also where no name is stated.
            subject: what the tool or the agent is called; "": as the span.
        """
        self._scope = scope
        self._own_fields = own_fields
        self._late_name = late_name
        self._needs_generations = needs_generations
        self._end = end
        self._kind = kind
        self._subject = subject
        self._forks = _Process.forks
        # `uninstrument()` may come before the end: who listened at the beginning is told all the same
        self._sinks = sinks.all
        self.current_span: trace.Span | None = None
        self.opened: tuple[EnclosingSpan, ...] = ()

    def open(self) -> None:
        """Open the spans, below what is current, and complete the scope."""
        self._forks = _Process.forks
        with _OPENING:
            scope, own_fields = self._scope, self._own_fields
            # inside the guard: what the caller states may be of any type, and none of it may fail the program
            outer = scope.outer or _NO_SCOPE
            # None says nothing where there is nothing that it could take away
            context_fields = over(outer.context_fields, own_fields) if outer.context_fields else dict(own_fields)
            scope.context_fields = context_fields
            scope.merged = {}
            # a step is of this context only, not of calls inside
            span_name = as_text(context_fields.pop("span_name", None))
            sink = sinks.primary
            fields = merge(None, None, None, context_fields) if sink is None else sink.fields_within(scope)
            if fields.private:
                outer.hide_errors()
            is_detached = has_ids(own_fields) or not outer.enclosing_spans
            current = current_span_ids()
            trace_name = as_text(own_fields.get("trace_name"))
            # a kind is a span's: where the names open none, there is one all the same
            if self._kind is not None and not span_name and (not trace_name or (is_detached and fields.parent_span_id)):
                span_name = trace_name or self._kind
            if is_detached:
                ids = parent_ids(fields, current)
                scope.enclosing_spans = ()
                scope.ignores_current_span = bool(fields.trace_id or fields.parent_span_id)
                # A default `trace_name` alone opens nothing: it names the roots of the calls inside. A stated parent stands in
                # for a root.
                if (trace_name or span_name) and fields.trace_name and not fields.parent_span_id:
                    ids = self._open_span(fields.trace_name, ids, fields, is_root=True, is_innermost=not span_name)
            else:
                ids = outer.anchor(current)
                scope.enclosing_spans = outer.enclosing_spans
                scope.ignores_current_span = outer.ignores_current_span
                if trace_name:
                    ids = self._open_span(trace_name, ids, fields, is_root=False, is_innermost=not span_name)
            if span_name:
                ids = self._open_span(span_name, ids, fields, is_root=False, is_innermost=True)
            # without one, each call inside begins a trace of its own, and a made-up id must not be shown to the program
            has_trace = bool(scope.enclosing_spans or fields.trace_id or current)
            scope.parent_ids = ids if has_trace else (0, ids[1])

    def _open_span(self, name: str, above: SpanIds, fields: Fields, *, is_root: bool, is_innermost: bool) -> SpanIds:
        """Open a span below another; return its own ids."""
        scope = self._scope
        trace_id, parent = above
        span_id = None
        # an id that other processes can derive; the second context of that name needs another
        if is_root and self._late_name is None:
            span_id = roots.claim(trace_id, name, parent, scope.start_ns)
        if span_id is None:
            span_id = new_span_id()
        enclosing_span = EnclosingSpan(name, trace_id, span_id, parent, scope.start_ns, opener=CONTEXT)
        if is_innermost and self._kind is not None:
            enclosing_span.kind, enclosing_span.subject = self._kind, self._subject
        # only the outermost span sums up, so that whoever adds up a trace counts each call once
        enclosing_span.totals = None if scope.enclosing_spans else (Totals(), Totals())
        enclosing_span.needs_generations = self._needs_generations
        # this one is sent whatever happens below, and must not hang in the air
        if not self._needs_generations:
            for span_above in scope.enclosing_spans:
                span_above.needs_generations = False
        enclosing_span.ignores_current_span = scope.ignores_current_span
        enclosing_span.fields = fields
        self.opened = (*self.opened, enclosing_span)
        scope.enclosing_spans = (*scope.enclosing_spans, enclosing_span)
        sink = sinks.primary
        if sink is not None:
            # a courtesy span goes below what is current: for the step that is the root
            self.current_span = sink.enclosing_span_opened(enclosing_span, self.current_span) or self.current_span
        # the app's traces do not have it
        if self.current_span is None:
            enclosing_span.ignores_current_span = scope.ignores_current_span = True
        return enclosing_span.trace_id, enclosing_span.span_id

    def close(self, error: BaseException | None = None) -> None:
        """End the spans, innermost first; only the first time counts."""
        with _CLOSING:
            self._scope.is_over = True
            # taken away first: a finalizer or a signal handler may close in between
            opened, self.opened = self.opened, ()
            # forked meanwhile: they are the parent's to end
            if not opened or self._forks != _Process.forks:
                return
            now_ns = time.time_ns()
            if self._late_name is not None:
                opened[0].name = as_text(self._late_name) or opened[0].name
            for enclosing_span in reversed(opened):
                # a lane that sees the end is to know whether the span has outlived its settings
                self.listeners(enclosing_span)
                # the clock may have been set back
                now_ns = max(now_ns, enclosing_span.latest_end_ns, enclosing_span.start_ns)
                enclosing_span.end_ns = now_ns
                # a generator that is closed early has not failed
                if error is not None and not isinstance(error, GeneratorExit):
                    text = "" if enclosing_span.hides_texts else or_else(lambda: str(error), "")
                    enclosing_span.failure = Failure(type(error).__qualname__, text)
                (self._end or self.hand_over)(enclosing_span)

    def hand_over(self, enclosing_span: EnclosingSpan) -> None:
        """Tell all listeners that a span has ended."""
        for sink in self.listeners(enclosing_span):
            sink.enclosing_span_closed(enclosing_span, self._scope)

    def listeners(self, enclosing_span: EnclosingSpan) -> tuple[Sink, ...]:
        """Return who is told of a span's end: the sinks of now, and of its beginning (`uninstrument` in between)."""
        listeners = list(sinks.all)
        for sink in self._sinks:
            last = sink
            while last.successor is not None:
                last, enclosing_span.has_outlived_settings = last.successor, True
            if last not in listeners:
                listeners.append(last)
        return tuple(listeners)
