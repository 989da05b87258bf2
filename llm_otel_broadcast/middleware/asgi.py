"""For ASGI applications: Starlette, FastAPI, Django, Quart, Litestar."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from functools import partial
from typing import Any, Final, TypeAlias

from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.middleware.questions import Questions, RequestName
from llm_otel_broadcast.middleware.request import RequestContext
from llm_otel_broadcast.middleware.routes import asgi_route
from llm_otel_broadcast.tracing.scope import sinks

# `Any`, as in the frameworks' own types, which these must be the same as
Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_BEGINNING: Final = Guard("beginning a web request")


class TraceMiddleware:
    """Makes each HTTP request a context with a root span, streamed answers included; websockets and lifespan pass through.

    The root span is sent only when a generation happened below it. It hangs below the span that is current or else below the
    one that the request's headers name (W3C `traceparent`, or what OpenTelemetry is set to); `x-session-id` is `session.id`.

    The functions are asked when the first generation of a request happens. When one fails, that is logged once, and the
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
        self._questions = Questions(app, trace_name, user, metadata)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request: RequestContext | None = None
        if sinks.all and scope["type"] == "http":
            with _BEGINNING:
                raw = scope.get("headers") or ()
                route = partial(asgi_route, scope, dict(scope), self.app)
                request = RequestContext(
                    request=scope,
                    # one middleware around another may get a copy of the scope, with the same list of headers
                    identity=raw or scope,
                    headers=_Headers(raw),
                    questions=self._questions,
                    name=RequestName(str(scope.get("method")), route, self._questions.trace_name, scope),
                    # OpenTelemetry's instrumentations keep their span nowhere in the ASGI scope, but have it current
                    server_span=lambda: None,
                )
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


class _Headers:
    """The headers of an ASGI request."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._raw = list(raw)

    def all(self, name: str) -> list[str]:
        raw_name = name.encode("latin-1")
        return [value.decode("latin-1") for key, value in self._raw if key.lower() == raw_name]

    def names(self) -> list[str]:
        return [key.decode("latin-1").lower() for key, _ in self._raw]
