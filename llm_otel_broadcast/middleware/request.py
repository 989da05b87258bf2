"""The context of one web request, in both kinds of middleware: where it comes from, what it is called, whose it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter

from llm_otel_broadcast.fields.merge import as_text
from llm_otel_broadcast.host.guard import Guard, or_else
from llm_otel_broadcast.middleware.questions import Questions, RequestName, answer, result_of
from llm_otel_broadcast.middleware.surroundings import REQUEST, surroundings
from llm_otel_broadcast.tracing.attachment import Attachment
from llm_otel_broadcast.tracing.context_spans import ContextSpans
from llm_otel_broadcast.tracing.scope import Scope, sinks
from llm_otel_broadcast.tracing.trace_context import add_fields

_HEADERS: Final = Guard("reading a web request")
_COMPLETING: Final = Guard("finding out about a web request")
_KINDS_OF_CALLS: Final = frozenset({trace.SpanKind.CLIENT, trace.SpanKind.PRODUCER})
_LOCK_TIMEOUT_S: Final = 0.2
"""How long to wait for another thread that is asking about the same request."""


class Headers(Protocol):
    """A request's headers, whatever the server keeps them in; names in lower case."""

    def all(self, name: str) -> list[str]: ...
    def names(self) -> list[str]: ...


class _HeaderGetter(Getter[Headers]):
    """How OpenTelemetry's propagators read them."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        values = carrier.all(key.lower())
        return [",".join(values)] if values else None

    def keys(self, carrier: Headers) -> list[str]:
        return carrier.names()


_GETTER: Final = _HeaderGetter()


class RequestContext:
    """The context of one web request, below the caller's span when nobody else has taken that up.

    What the program's functions answer about a request is asked when the first generation happens, because sessions, users and
    routes are found after the middleware has begun. In an app that traces itself the span is opened then, too: below the one
    that the app's own instrumentation has made, be that around this middleware or inside it.
    """

    __slots__ = (
        "_attachment",
        "_is_completing",
        "_is_opened",
        "_lock",
        "_parent_context",
        "_questions",
        "_request",
        "_server_span",
        "_spans",
        "_wants_metadata",
        "_wants_user",
        "scope",
    )

    def __init__(
        self,
        *,
        request: object,
        identity: object,
        headers: Headers,
        questions: Questions,
        name: RequestName,
        server_span: Callable[[], trace.Span | None],
    ) -> None:
        """Begin.

        Args:
            request: what the program's functions are asked about.
            identity: what tells it from another one that begins in its context; None: there is no such thing.
            headers: its headers.
            questions: those functions.
            name: its name, where the program has none.
            server_span: finds the span that the app's own instrumentation has made of it, where it keeps that.
        """
        self._request = request
        self._questions = questions
        self._server_span = server_span
        # reentrant: a function of the program's may make a call itself
        self._lock = threading.RLock()
        self._is_completing = False
        self._wants_user, self._wants_metadata = questions.user is not None, questions.metadata is not None
        own_fields: dict[str, object] = {"trace_name": questions.fixed_name or name}
        outer, outside = surroundings(identity)
        app_traces = (sink := sinks.primary) is not None and sink.app_traces
        self._parent_context = outside
        with _HEADERS:
            own_fields["session_id"] = next(iter(headers.all("x-session-id")), None) or None
            # a span that is current is the app's own, and has taken up the caller's already
            if not _span_in(outside).is_valid:
                self._parent_context = or_else(partial(propagate.extract, headers, outside, _GETTER), outside)
        call = outer.decorated_call if outer else None
        self.scope = Scope(dict(own_fields), outer, call, request=identity, outside=outside)
        # a late name, even where it is fixed: its span is never to be the one root of its name in a trace
        self._spans = ContextSpans(self.scope, own_fields, late_name=own_fields["trace_name"], needs_generations=True)
        base_context = self._parent_context
        # the caller's span is hidden: were it current, the app's own instrumentation would take it for one of its own process
        if app_traces and base_context is not outside and _span_in(base_context).is_remote:
            base_context = trace.set_span_in_context(trace.INVALID_SPAN, base_context)
        self._attachment = Attachment(self.scope, otel_context.set_value(REQUEST, self.scope, base_context))
        self._is_opened = not app_traces
        if self._is_opened:
            self._open_in(self._parent_context)
        self.scope.complete = self._complete_once
        name.has_begun = True

    def enter(self) -> None:
        """Make it current."""
        self._attachment.enter()

    def leave(self) -> None:
        """Put back what was current before."""
        # a span that the program left current is so when its body is produced
        self._attachment.context = otel_context.get_current()
        self._attachment.leave()

    def close(self, error: BaseException | None = None) -> None:
        """End the request. Its span ends with it if something is sent that is below, else with the first generation that still is."""
        if self.scope.is_over:
            return
        self.scope.is_over = True
        if any(
            enclosing_span.generations or not enclosing_span.needs_generations for enclosing_span in self._spans.opened
        ):
            self._end_span(error)
        # the program has put back what was current when it began
        if otel_context.get_value(REQUEST) is self.scope and self.scope.outside is not None:
            otel_context.attach(self.scope.outside)

    def _end_span(self, error: BaseException | None = None) -> None:
        # the caller's baggage is on the span, too
        token = otel_context.attach(self._parent_context)
        try:
            self._spans.close(error)
        finally:
            otel_context.detach(token)

    def _open_in(self, context: Context) -> None:
        token = otel_context.attach(context)
        try:
            self._spans.open()
            self._attachment.span = self._spans.current_span
        finally:
            otel_context.detach(token)

    def _complete_once(self) -> None:
        """Complete the scope. The program's functions may make calls themselves, and other threads be at it, too."""
        if not self._lock.acquire(timeout=_LOCK_TIMEOUT_S):
            return
        try:
            if self._is_completing:
                return
            self._is_completing = True
            scope = self.scope
            with _COMPLETING:
                if not self._is_opened:
                    self._is_opened = True
                    self._open_in(self._app_context())
                if self._wants_metadata:
                    self._wants_metadata = False
                    result_of("metadata", self._ask_metadata)
                if self._wants_user:
                    result_of("user", self._ask_user)
                if scope.is_over:
                    self._end_span()
                if scope.is_over or not self._wants_user:
                    scope.complete = None
            self._is_completing = False
        finally:
            self._lock.release()

    def _app_context(self) -> Context:
        """Return the context to open the span in: with the span that the app's own instrumentation has made, if it has."""
        span = _span_in(self._parent_context)
        if span.is_valid and not span.is_remote:
            return self._parent_context
        app_span = or_else(self._server_span, None)
        if app_span is None:
            app_span = trace.get_current_span()
            # a span of the call itself, which another instrumentation made, is passed over
            if getattr(app_span, "kind", None) in _KINDS_OF_CALLS:
                parent = getattr(app_span, "parent", None)
                app_span = trace.INVALID_SPAN if parent is None else trace.NonRecordingSpan(parent)
        if not app_span.get_span_context().is_valid:
            return self._parent_context
        return trace.set_span_in_context(app_span, self._parent_context)

    def _ask_metadata(self) -> None:
        metadata = answer(self._questions.metadata, self._request)
        if metadata is not None and not isinstance(metadata, Mapping):
            raise TypeError(f"metadata must be a mapping, got {type(metadata).__name__}")
        add_fields(self.scope, metadata or {})

    def _ask_user(self) -> None:
        user = as_text(answer(self._questions.user, self._request))
        # asked again at the next generation: the program may log its user in later
        if user:
            self._wants_user = False
            add_fields(self.scope, {"user": user})


def _span_in(context: Context) -> trace.SpanContext:
    return trace.get_current_span(context).get_span_context()
