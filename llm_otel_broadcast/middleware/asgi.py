"""For ASGI applications: Starlette, FastAPI, Django, Quart, Litestar."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from functools import partial
from typing import Any, Final, TypeAlias

from llm_otel_broadcast.fields.scope import sinks
from llm_otel_broadcast.guard import Guard
from llm_otel_broadcast.middleware.request import Asking, RequestScope
from llm_otel_broadcast.middleware.routes import asgi_route

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_BEGINNING: Final = Guard("beginning a web request")


class TraceMiddleware:
    """Makes each HTTP request a context with a root span, streamed answers included; websockets and lifespan pass through.

    The root span is sent only when a generation happened below it. A W3C `traceparent` in the request says what it hangs
    below, unless a span is current already; `x-session-id` is `session.id`.

    The functions are asked when the first generation of a request happens. What one of them fails with is logged once, and the
    request goes on.

    Args:
        app: the ASGI application.
        trace_name: name of the root span: text, or a function of the ASGI scope; default: method and route, such as
            `GET /items/{id}`, or the method alone where there is no route.
        user: function of the ASGI scope that returns `user.id`, or None.
        metadata: function of the ASGI scope that returns metadata (or `session_id`, `generation_name`, `privacy`).

    Raises:
        TypeError: naming an argument of the wrong kind.
    """

    def __init__(
        self,
        app: Application,
        *,
        trace_name: str | Callable[[Scope], str | None] | None = None,
        user: Callable[[Scope], str | None] | None = None,
        metadata: Callable[[Scope], Mapping[str, object] | None] | None = None,
    ) -> None:
        self.app = app
        self._asking = Asking(trace_name, user, metadata)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = self._begin(scope) if scope["type"] == "http" and sinks.all else None
        if request is None:
            await self.app(scope, receive, send)
            return
        request.enter()
        try:
            await self.app(scope, receive, send)
        except BaseException as error:
            request.leave()
            request.close(error)
            raise
        request.leave()
        request.close()

    def _begin(self, scope: Scope) -> RequestScope | None:
        with _BEGINNING:
            return RequestScope(
                scope,
                _Headers(scope.get("headers") or ()),
                self._asking,
                method=str(scope.get("method")),
                route=partial(asgi_route, scope, scope.get("app") or self.app),
            )
        return None


class _Headers:
    """The headers of an ASGI request."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._raw = list(raw)

    def all(self, name: str) -> list[str]:
        wanted = name.encode("latin-1")
        return [value.decode("latin-1") for key, value in self._raw if key.lower() == wanted]

    def names(self) -> list[str]:
        return [key.decode("latin-1").lower() for key, _ in self._raw]
