"""What both kinds of middleware do with a request: where it comes from, what it is called, who asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace

from llm_otel_broadcast.fields.scope import OpenScope
from llm_otel_broadcast.guard import Guard, ask

_READING: Final = Guard("reading a web request")


class RouteName:
    """`METHOD route`, as far as it is known when somebody asks: frameworks find the route after the middleware has begun.

    Never the raw path, which is different for each request.
    """

    def __init__(self, method: str, route: Callable[[], str | None]) -> None:
        self._method = method
        self._route = route

    def __str__(self) -> str:
        found = ask(self._route, None)
        return f"{self._method} {found or ''}".strip()


class RequestScope:
    """The context of one web request, below the caller's span when nobody else has taken that up."""

    def __init__(
        self,
        headers: Mapping[str, str],
        *,
        trace_name: object,
        user: Callable[[], str | None] | None,
        metadata: Callable[[], Mapping[str, object]] | None,
    ) -> None:
        self._before: Any = None
        self._extracted: Any = None
        given: dict[str, Any] = {"trace_name": trace_name}
        with _READING:
            if not trace.get_current_span().get_span_context().is_valid:
                self._extracted = propagate.extract(headers)
            given["session_id"] = headers.get("x-session-id")
            if metadata is not None:
                given = {**ask(metadata, {}), **given}
            if user is not None:
                given["user"] = ask(user, None)
        self._enter_caller()
        self._open = OpenScope(
            {name: value for name, value in given.items() if value is not None}, with_calls_only=True
        )
        self._leave_caller()

    def enter(self) -> None:
        """Make the request's context current."""
        self._enter_caller()
        self._open.enter()

    def leave(self) -> None:
        """Put back what was current."""
        self._open.leave()
        self._leave_caller()

    def close(self, error: BaseException | None = None) -> None:
        """End the request's span."""
        self._open.close(error)

    def _enter_caller(self) -> None:
        if self._extracted is not None:
            self._before = otel_context.get_current()
            otel_context.attach(self._extracted)

    def _leave_caller(self) -> None:
        if self._extracted is not None and otel_context.get_current() is self._extracted:
            otel_context.attach(self._before)
