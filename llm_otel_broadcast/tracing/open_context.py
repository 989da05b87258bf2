"""A context of the program's from its beginning to its end: its scope, its spans, and where it is current."""

from __future__ import annotations

from collections.abc import Callable

from llm_otel_broadcast.fields.merge import TraceObject
from llm_otel_broadcast.record.enclosing_span import EnclosingKind, EnclosingSpan
from llm_otel_broadcast.tracing.attachment import Attachment
from llm_otel_broadcast.tracing.context_spans import ContextSpans
from llm_otel_broadcast.tracing.scope import Scope, current_scope


class OpenContext:
    """One context that has begun. It is entered and left any number of times, and closed once.

    Attributes:
        scope: what holds inside.
        spans: the spans that it opened; `spans.close` ends it.
        leave: puts back what was current before `enter`.
    """

    __slots__ = ("_attachment", "leave", "scope", "spans")

    def __init__(
        self,
        own_fields: TraceObject,
        *,
        end: Callable[[EnclosingSpan], None] | None = None,
        kind: EnclosingKind | None = None,
        subject: str = "",
    ) -> None:
        """Begin the context and open its spans.

        Args:
            own_fields: its fields. A `trace_name` that is no text is asked for its text again at the end.
            end: see `ContextSpans`.
            kind: see `ContextSpans`.
            subject: see `ContextSpans`.
        """
        # a request's scope must be complete, as its fields are taken over here
        outer = current_scope()
        self.scope = Scope(dict(own_fields), outer, outer.decorated_call if outer else None)
        # an object that is a text only later: a middleware's name, which knows the route when the request has been handled
        name = own_fields.get("trace_name")
        late_name = None if name is None or isinstance(name, str) else name
        self.spans = ContextSpans(self.scope, own_fields, late_name=late_name, end=end, kind=kind, subject=subject)
        self.spans.open()
        self._attachment = Attachment(self.scope, span=self.spans.current_span)
        self.leave = self._attachment.leave

    def enter(self) -> None:
        """Make it current."""
        attachment = self._attachment
        attachment.enter()
        # a web request that begins in this context by mistake finds its way out with these
        self.scope.outside, self.scope.attached_context = attachment.outside, attachment.attached_context
