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

from llm_otel_broadcast.fields.context import FIXED
from llm_otel_broadcast.fields.merge import as_text, over
from llm_otel_broadcast.fields.scope import OpenScope, sinks, surroundings
from llm_otel_broadcast.guard import Guard, ask, consult

_READING: Final = Guard("reading a web request")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})
_OF_REQUESTS: Final = frozenset({trace.SpanKind.SERVER, trace.SpanKind.INTERNAL})
_PATIENCE: Final = 1.0
"""Seconds to wait for another thread that is asking the program's functions about the same request."""

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
        trace_name: text, or a function; None: method and route.
        user: a function that returns `user.id`, or None.
        metadata: a function that returns metadata, or None.

    Raises:
        TypeError: naming the setting and the fix.
    """

    def __init__(self, trace_name: object, user: object, metadata: object) -> None:
        self.text = trace_name if isinstance(trace_name, str) and trace_name else None
        self.name: Asked = None if isinstance(trace_name, str) else _checked("trace_name", trace_name)
        self.user: Asked = _checked("user", user)
        self.metadata: Asked = _checked("metadata", metadata)


def _checked(name: str, given: Any) -> Asked:
    if given is not None and not callable(given):
        raise TypeError(f"TraceMiddleware: {name} must be a function of the request, got {type(given).__name__}")
    if inspect.iscoroutinefunction(given):
        raise TypeError(f"TraceMiddleware: {name} must be a plain function, not a coroutine function")
    return given  # type: ignore[no-any-return]


class RequestName:
    """`METHOD route`, as far as it is known when somebody asks: frameworks find the route after the middleware has begun.

    Never the raw path, which is different for each request.
    """

    def __init__(self, method: str, route: Callable[[], str | None], given: Callable[[], Any] | None) -> None:
        self._method = (
            method if method in _METHODS else "HTTP"
        )  # as the HTTP conventions have it: anybody can make one up
        self._route = route
        self._given = given
        self._known: str | None = None
        self.has_begun = False
        """Whether the framework has had the request; what it says before is about nothing."""

    def __str__(self) -> str:
        if not self.has_begun:
            return self._method
        if self._given is not None:
            name = as_text(consult(self._given, None, "trace_name= of TraceMiddleware"))
            if name:
                return name
        if self._known is None:
            self._known = ask(self._route, None)
        return f"{self._method} {self._known or ''}".strip()


class RequestScope(OpenScope):
    """The context of one web request, below the caller's span when nobody else has taken that up.

    What functions of the program's say of a request is asked when the first generation happens, because sessions, users and
    routes are found after the middleware has begun. In an app that traces itself the span is opened then, too: below the one
    that the app's own instrumentation has made, be that round this middleware or inside it.
    """

    __slots__ = ("_asking", "_below", "_busy", "_is_opened", "_lock", "_request", "_wants_metadata", "_wants_user")

    def __init__(
        self, request: Any, headers: Headers, asking: Asking, *, method: str, route: Callable[[], str | None]
    ) -> None:
        """Begin.

        Args:
            request: what the program's functions are asked about.
            headers: its headers.
            asking: those functions.
            method: its method.
            route: finds its route.
        """
        self._request = request
        self._asking = asking
        self._lock = threading.RLock()
        self._busy = False
        self._wants_user = asking.user is not None
        self._wants_metadata = asking.metadata is not None
        name = None if asking.name is None else partial(asking.name, request)
        named = RequestName(method, route, name)
        given: dict[str, Any] = {"trace_name": asking.text or named}
        outer, self._below = surroundings()
        app_traces = any(sink.app_traces for sink in sinks.all[:1])
        with _READING:
            session = headers.all("x-session-id")
            if session and session[0]:
                given["session_id"] = session[0]
            if not _is_in(self._below):
                self._below = ask(partial(propagate.extract, headers, self._below, _GETTER), self._below)
        self._prepare(given, outer, self._inside(app_traces=app_traces), with_calls_only=True)
        self._is_opened = not app_traces
        if self._is_opened:
            self._open_below(self._below)
        if app_traces or self._wants_user or self._wants_metadata:
            self.scope.late = self._find_out
        named.has_begun = True

    def close(self, error: BaseException | None = None) -> None:
        """End the request's span; the caller's baggage is on it, too."""
        token = otel_context.attach(self._below)
        try:
            super().close(error)
        finally:
            otel_context.detach(token)

    def _inside(self, *, app_traces: bool) -> Any:
        """Return OpenTelemetry's context for the request, None to leave it as it is.

        Were the caller's span current, the app's own instrumentation would take that for one of its own process.
        """
        if self._below is otel_context.get_current():
            return None
        if app_traces and trace.get_current_span(self._below).get_span_context().is_remote:
            return trace.set_span_in_context(trace.INVALID_SPAN, self._below)
        return self._below

    def _open_below(self, context: Any) -> None:
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
            if not self._busy and self.scope.late is not None:
                self._busy = True
                if not self._is_opened:
                    self._is_opened = True
                    self._open_below(self._around())
                self._ask()
        finally:
            self._busy = False
            self._lock.release()

    def _around(self) -> Any:
        """Return the context to open the span in: with the span that the app's own instrumentation has made, if it has."""
        found = trace.get_current_span()
        if (
            (_is_in(self._below) and not trace.get_current_span(self._below).get_span_context().is_remote)
            or not found.get_span_context().is_valid
            or getattr(found, "kind", None) not in _OF_REQUESTS
        ):
            return self._below
        return trace.set_span_in_context(found, self._below)

    def _ask(self) -> None:
        """Ask the program's functions; for the user again until there is one."""
        if self._wants_metadata:
            self._wants_metadata = False
            self._say(consult(self._metadata, {}, "metadata= of TraceMiddleware"))
        if self._wants_user:
            user = consult(partial(self._asking.user or _nobody, self._request), None, "user= of TraceMiddleware")
            if as_text(user):
                self._wants_user = False
                self._say({"user": user})
        if not self._wants_user:
            self.scope.late = None

    def _metadata(self) -> dict[Any, Any]:
        found = self._asking.metadata(self._request) if self._asking.metadata else None
        if found is None:
            return {}
        if not isinstance(found, Mapping):
            raise TypeError(f"metadata must be a mapping, got {type(found).__name__}")
        if FIXED & found.keys():
            raise TypeError(f"metadata cannot say {', '.join(sorted(FIXED & found.keys()))}")
        return dict(found)

    def _say(self, told: Mapping[Any, Any]) -> None:
        self.scope.said = over(self.scope.said, told)


def _nobody(_request: Any) -> None:
    return None


def _is_in(context: Any) -> bool:
    """Return whether a span is current in a context."""
    return trace.get_current_span(context).get_span_context().is_valid
