"""For ASGI applications: Starlette, FastAPI, Django, Quart, Litestar."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from functools import partial
from typing import Any, TypeAlias

from llm_otel_broadcast.middleware.request import RequestScope, RouteName
from llm_otel_broadcast.middleware.routes import asgi_route

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class TraceMiddleware:
    """Makes each HTTP request a context with a root span, streamed answers included; websockets and lifespan pass through.

    The root span is sent only when a generation happened below it.

    Args:
        app: the ASGI application.
        trace_name: name of the root span: text, or a function of the ASGI scope; default: method and route, such as
            `GET /items/{id}`.
        user: function of the ASGI scope that returns `user.id`, or None.
        metadata: function of the ASGI scope that returns metadata.
    """

    def __init__(
        self,
        app: Application,
        *,
        trace_name: str | Callable[[Scope], str] | None = None,
        user: Callable[[Scope], str | None] | None = None,
        metadata: Callable[[Scope], Mapping[str, object]] | None = None,
    ) -> None:
        self.app = app
        self._trace_name = trace_name
        self._user = user
        self._metadata = metadata

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = self._begin(scope)
        request.enter()
        try:
            await self.app(scope, receive, send)
        except BaseException as error:
            request.leave()
            request.close(error)
            raise
        request.leave()
        request.close()

    def _begin(self, scope: Scope) -> RequestScope:
        name: object = self._trace_name
        if callable(name):
            name = RouteName("", partial(name, scope))
        elif name is None:
            name = RouteName(str(scope.get("method", "HTTP")), partial(asgi_route, scope))
        return RequestScope(
            _headers(scope.get("headers") or ()),
            trace_name=name,
            user=partial(self._user, scope) if self._user else None,
            metadata=partial(self._metadata, scope) if self._metadata else None,
        )


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}
