"""What a middleware asks the program about each request: the name of its trace, its user, its metadata."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias, cast

from llm_otel_broadcast.fields.merge import as_text
from llm_otel_broadcast.host.guard import Callback, or_else

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})

# `Any`: the ASGI scope or the WSGI environ, as the middleware's own signature says
Question: TypeAlias = Callable[..., object]
"""A function of the program's that is asked about a request: of its ASGI scope, or its WSGI environ."""


class Questions:
    """The functions that a middleware was set up with. Wrong ones are refused when the app is put together.

    Args:
        app: the application that the middleware is put around.
        trace_name: text, or a function; None: method and route.
        user: a function that returns `user.id`, or None.
        metadata: a function that returns metadata, or None.

    Attributes:
        fixed_name: the trace's name where that is text.
        trace_name: the function that returns it.

    Raises:
        TypeError: naming the setting and the fix.
    """

    def __init__(self, app: object, trace_name: object, user: object, metadata: object) -> None:
        if not callable(app):
            raise TypeError(f"TraceMiddleware: app must be the application, got {type(app).__name__}")
        is_text = isinstance(trace_name, str)
        self.fixed_name = trace_name if is_text and trace_name else None
        self.trace_name = None if is_text else _checked("trace_name", trace_name)
        self.user = _checked("user", user)
        self.metadata = _checked("metadata", metadata)


def _checked(name: str, setting: object) -> Question | None:
    if setting is not None and not callable(setting):
        kinds = "text or a function of the request" if name == "trace_name" else "a function of the request"
        raise TypeError(f"TraceMiddleware: {name} must be {kinds}, got {type(setting).__name__}")
    if inspect.iscoroutinefunction(setting) or inspect.iscoroutinefunction(getattr(setting, "__call__", None)):  # noqa: B004
        raise TypeError(f"TraceMiddleware: {name} must be a plain function, not a coroutine function")
    return cast("Question | None", setting)


def answer(question: Question | None, request: object) -> object:
    """Ask a function of the program's; None where there is no function.

    Raises:
        TypeError: its answer would have to be awaited.
    """
    result = question(request) if question else None
    if inspect.iscoroutine(result):
        # or Python warns that nobody has awaited it
        result.close()
        raise TypeError("it must be a plain function, not one that returns a coroutine")
    return result


def result_of(name: str, function: Callable[[], object]) -> object:
    """Return what a function that the program gave the middleware returns, None if it fails."""
    return Callback(f"{name}= of TraceMiddleware", function, "what it should say is left out", prefix="")()[1]


class RequestName:
    """`METHOD route`, as far as it is known when somebody asks: frameworks find the route after the middleware has begun.

    Never the raw path, which is different for each request, nor a method that anybody can make up.

    Attributes:
        has_begun: the application has had the request; before, there is nothing to ask about.
    """

    def __init__(
        self, method: str, route: Callable[[], str | None], question: Question | None, request: object
    ) -> None:
        """Begin.

        Args:
            method: the request's method.
            route: finds its route.
            question: the program's function for another name, None for none.
            request: what it is asked about.
        """
        # as OpenTelemetry's conventions have it for methods they do not know
        self._method = method if method in _METHODS else "HTTP"
        self._route = route
        self._question = question
        self._request = request
        self._name: str | None = None
        self.has_begun = False

    def __str__(self) -> str:
        if self._name is None and self.has_begun:
            # the program's own name comes before the route
            if self._question is not None:
                self._name = as_text(result_of("trace_name", partial(answer, self._question, self._request)))
            if self._name is None and (route := or_else(self._route, None)):
                self._name = f"{self._method} {route}"
        return self._name or self._method
