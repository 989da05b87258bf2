"""Making a scope and a context of OpenTelemetry's current, and taking both back."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context

from llm_otel_broadcast.host.current_context import attach, get_current, with_span
from llm_otel_broadcast.tracing.scope import Scope, innermost_scope, set_innermost_scope


class Attachment:
    """A scope and a context of OpenTelemetry's, current between `enter` and `leave`, which may alternate.

    Attributes:
        scope: the scope; None: outside of all.
        context: the context; None: the one that is current when it is entered.
        span: the span to be current in that context; None: the context's own.
        outside: while it is entered: the context that was current before.
        attached_context: while it is entered: the context that is attached; None: there was no need to attach one.
    """

    __slots__ = ("_previous_scope", "attached_context", "context", "outside", "scope", "span")

    def __init__(self, scope: Scope | None, context: Context | None = None, span: trace.Span | None = None) -> None:
        self.scope = scope
        self.context = context
        self.span = span
        self.outside: Context | None = None
        self.attached_context: Context | None = None
        self._previous_scope: Scope | None = None

    def enter(self) -> None:
        """Make the scope, the context and the span current."""
        self._previous_scope = innermost_scope()
        try:
            set_innermost_scope(self.scope)
            self.outside = outside = get_current()
            attached_context = outside if self.context is None else self.context
            if self.span is not None:
                attached_context = with_span(self.span, attached_context)
            # attaching is not free, and a scope without a span of its own has nothing to attach
            if attached_context is not outside:
                self.attached_context = attached_context
                attach(attached_context)
        # a signal handler has raised: nobody will leave what was not entered
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Put back what was current, unless control has moved to another context meanwhile (then ours is not there)."""
        # by identity: tasks and generators that take turns leave in any order
        if innermost_scope() is self.scope:
            set_innermost_scope(self._previous_scope)
        attached_context, outside = self.attached_context, self.outside
        if attached_context is not None and outside is not None:
            current = get_current()
            if current is attached_context:
                # no detach: a token is good only in the task that got it, a generator may be resumed in another, and then
                # OpenTelemetry logs "Failed to detach context" (opentelemetry-python#2606, langfuse#9198)
                attach(outside)
            elif has_span_of(current, attached_context):
                # the program left something of its own behind: that stays, our span does not
                attach(trace.set_span_in_context(trace.get_current_span(outside), current))
        self.attached_context = self.outside = self._previous_scope = None


def has_span_of(context: Context, attached_context: Context | None) -> bool:
    """Return whether the span that is current in a context is the one that a scope made current."""
    span = None if attached_context is None else trace.get_current_span(attached_context)
    return span is not None and span is not trace.INVALID_SPAN and trace.get_current_span(context) is span
