"""What both kinds of middleware do with a request: where it comes from, what it is called, who asks."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.propagators.textmap import Getter

from llm_otel_broadcast.fields.merge import as_text
from llm_otel_broadcast.host.guard import Callback, Guard, or_else
from llm_otel_broadcast.tracing.scope import REQUEST, OpenScope, Stay, sinks, surroundings
from llm_otel_broadcast.tracing.trace_context import say

_READING: Final = Guard("reading a web request")
_FINDING_OUT: Final = Guard("finding out about a web request")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})
_OF_CALLS: Final = frozenset({trace.SpanKind.CLIENT, trace.SpanKind.PRODUCER})
_PATIENCE: Final = 0.2
"""Seconds to wait for another thread that is asking about the same request."""

Asked: TypeAlias = Callable[[Any], Any] | None
"""A function of the program's that is asked about a request: of its ASGI scope, or its WSGI environ."""


class Headers(Protocol):
    """A request's headers, whatever the server keeps them in; names in lower case."""

    def all(self, name: str) -> list[str]: ...
    def names(self) -> list[str]: ...


class _HeaderGetter(Getter[Headers]):
    """How OpenTelemetry's propagators read them."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        found = carrier.all(key.lower())
        return [",".join(found)] if found else None

    def keys(self, carrier: Headers) -> list[str]:
        return carrier.names()


_GETTER: Final = _HeaderGetter()


class Asking:
    """What a middleware was told to ask of each request. Wrong settings are refused when the app is put together.

    Args:
        app: the application that it is put round.
        trace_name: text, or a function; None: method and route.
        user: a function that returns `user.id`, or None.
        metadata: a function that returns metadata, or None.

    Raises:
        TypeError: naming the setting and the fix.
    """

    def __init__(self, app: object, trace_name: object, user: object, metadata: object) -> None:
        if not callable(app):
            raise TypeError(f"TraceMiddleware: app must be the application, got {type(app).__name__}")
        self.text = trace_name if isinstance(trace_name, str) and trace_name else None
        self.name: Asked = None if isinstance(trace_name, str) else _checked("trace_name", trace_name)
        self.user: Asked = _checked("user", user)
        self.metadata: Asked = _checked("metadata", metadata)


def _checked(name: str, given: Any) -> Asked:
    if given is not None and not callable(given):
        kinds = "text or a function of the request" if name == "trace_name" else "a function of the request"
        raise TypeError(f"TraceMiddleware: {name} must be {kinds}, got {type(given).__name__}")
    if inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(getattr(given, "__call__", None)):  # noqa: B004
        raise TypeError(f"TraceMiddleware: {name} must be a plain function, not a coroutine function")
    return given  # type: ignore[no-any-return]


def _result_of(name: str, function: Callable[[], Any]) -> Any:
    """Return what a function of the program's returns, None if it fails."""
    return Callback(f"{name}= of TraceMiddleware", function, "what it should say is left out", prefix="")()[1]


class RequestName:
    """`METHOD route`, as far as it is known when somebody asks: frameworks find the route after the middleware has begun.

    Never the raw path, which is different for each request, nor a method that anybody can make up.
    """

    def __init__(self, method: str, route: Callable[[], str | None], given: Callable[[], Any] | None) -> None:
        self._method = method if method in _METHODS else "HTTP"  # as OpenTelemetry's conventions have it
        self._route = route
        self._given = given
        self._known: str | None = None
        self.has_begun = False
        """Whether the application has had the request; before, there is nothing to ask about."""

    def __str__(self) -> str:
        if self._known is None and self.has_begun:
            self._known = self._find()
        return self._known or self._method

    def _find(self) -> str | None:
        if self._given is not None:
            name = as_text(_result_of("trace_name", self._given))
            if name:
                return name
        route = or_else(self._route, None)
        return f"{self._method} {route}" if route else None


class RequestScope(OpenScope):
    """The context of one web request, below the caller's span when nobody else has taken that up.

    What functions of the program's say of a request is asked when the first generation happens, because sessions, users and
    routes are found after the middleware has begun. In an app that traces itself the span is opened then, too: below the one
    that the app's own instrumentation has made, be that round this middleware or inside it.
    """

    __slots__ = (
        "_asking",
        "_below",
        "_busy",
        "_is_opened",
        "_lock",
        "_request",
        "_server_span",
        "_wants_metadata",
        "_wants_user",
    )

    def __init__(  # all by keyword
        self,
        *,
        request: Any,
        identity: object,
        headers: Headers,
        asking: Asking,
        method: str,
        route: Callable[[], str | None],
        server_span: Callable[[], trace.Span | None],
    ) -> None:
        """Begin.

        Args:
            request: what the program's functions are asked about.
            identity: what tells it from another one that begins in its context; None: there is no such thing.
            headers: its headers.
            asking: those functions.
            method: its method.
            route: finds its route.
            server_span: finds the span that the app's own instrumentation has made of it, where it keeps that.
        """
        self._request = request
        self._asking = asking
        self._server_span = server_span
        self._lock = threading.RLock()
        self._busy = False
        self._wants_user = asking.user is not None
        self._wants_metadata = asking.metadata is not None
        name = RequestName(method, route, asking.name and partial(_plain, asking.name, request))
        given: dict[str, Any] = {"trace_name": asking.text or name}
        outer, before = surroundings(identity)
        app_traces = any(sink.app_traces for sink in sinks.all[:1])
        self._below = before
        with _READING:
            session = headers.all("x-session-id")
            if session and session[0]:
                given["session_id"] = session[0]
            if not _span_in(before).is_valid:
                self._below = or_else(partial(propagate.extract, headers, before, _GETTER), before)
        self._prepare(given, outer, with_calls_only=True)
        self._late_name = given["trace_name"]  # so that its span is never taken for the one root of its name in a trace
        self.scope.request, self.scope.outside = identity, before
        self.context = otel_context.set_value(REQUEST, self.scope, self._shown(before, app_traces=app_traces))
        self._is_opened = not app_traces
        if self._is_opened:
            self._open_in(self._below)
        self.scope.late = self._find_out
        name.has_begun = True

    def _shown(self, before: Any, *, app_traces: bool) -> Any:
        """Return OpenTelemetry's context for the application.

        Were the caller's span current, the app's own instrumentation would take that for one of its own process.
        """
        if app_traces and self._below is not before and _span_in(self._below).is_remote:
            return trace.set_span_in_context(trace.INVALID_SPAN, self._below)
        return self._below

    def enter(self) -> None:
        Stay.enter(self)

    def leave(self) -> None:
        # a span that the program left current is so when its body is produced
        self.context = otel_context.get_current()
        super().leave()

    def close(self, error: BaseException | None = None) -> None:
        """End the request. Its span ends with it if a generation has happened below, else with the first that still does."""
        if self.scope.is_over:
            return
        self.scope.is_over = True
        if any(enclosing_span.generations for enclosing_span in self._opened):
            self._end_span(error)
        if otel_context.get_value(REQUEST) is self.scope:  # the program has put back what was current when it began
            otel_context.attach(self.scope.outside)

    def _end_span(self, error: BaseException | None = None) -> None:
        token = otel_context.attach(self._below)  # the caller's baggage is on the span, too
        try:
            super().close(error)
        finally:
            otel_context.detach(token)

    def _open_in(self, context: Any) -> None:
        token = otel_context.attach(context)
        try:
            self._open()
        finally:
            otel_context.detach(token)

    def _find_out(self) -> None:
        """Complete the scope. The program's functions may make calls themselves, and other threads be at it, too."""
        if not self._lock.acquire(timeout=_PATIENCE):
            return
        try:
            if not self._busy:
                self._busy = True
                with _FINDING_OUT:
                    self._complete()
                self._busy = False
        finally:
            self._lock.release()

    def _complete(self) -> None:
        scope = self.scope
        if not self._is_opened:
            self._is_opened = True
            self._open_in(self._around())
        if self._wants_metadata:
            self._wants_metadata = False
            _result_of("metadata", self._ask_metadata)
        if self._wants_user:
            _result_of("user", self._ask_user)
        if scope.is_over:
            self._end_span()
        if scope.is_over or not self._wants_user:
            scope.late = None

    def _around(self) -> Any:
        """Return the context to open the span in: with the span that the app's own instrumentation has made, if it has."""
        span = _span_in(self._below)
        if span.is_valid and not span.is_remote:
            return self._below
        found = or_else(self._server_span, None) or _enclosing(trace.get_current_span())
        if not found.get_span_context().is_valid:
            return self._below
        return trace.set_span_in_context(found, self._below)

    def _ask_metadata(self) -> None:
        told = _plain(self._asking.metadata, self._request)
        if told is not None and not isinstance(told, Mapping):
            raise TypeError(f"metadata must be a mapping, got {type(told).__name__}")
        say(self.scope, told or {})

    def _ask_user(self) -> None:
        user = as_text(_plain(self._asking.user, self._request))
        if user:
            self._wants_user = False
            say(self.scope, {"user": user})


def _plain(asked: Asked, request: Any) -> Any:
    """Ask a function of the program's.

    Raises:
        TypeError: its answer would have to be awaited.
    """
    said = asked(request) if asked else None
    if inspect.iscoroutine(said):
        said.close()
        raise TypeError("it must be a plain function, not one that returns a coroutine")
    return said


def _span_in(context: Any) -> trace.SpanContext:
    return trace.get_current_span(context).get_span_context()


def _enclosing(span: trace.Span) -> trace.Span:
    """Return the span round a call; one of the call itself, which another instrumentation made, is passed over."""
    if getattr(span, "kind", None) not in _OF_CALLS:
        return span
    above = getattr(span, "parent", None)
    return trace.NonRecordingSpan(above) if above is not None else trace.INVALID_SPAN
