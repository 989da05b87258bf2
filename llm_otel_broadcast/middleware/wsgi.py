"""For WSGI applications: Flask, Django, Pyramid, Bottle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

from llm_otel_broadcast.middleware.request import RequestScope, RouteName
from llm_otel_broadcast.middleware.routes import wsgi_route

Environ: TypeAlias = dict[str, Any]
Application: TypeAlias = Callable[[Environ, Any], Iterable[bytes]]


class TraceMiddleware:
    """Makes each request a context with a root span, which lasts until the answer's body has been produced.

    The root span is sent only when a generation happened below it.

    Args:
        app: the WSGI application.
        trace_name: name of the root span: text, or a function of the environ; default: method and route, such as
            `GET /items/<id>`.
        user: function of the environ that returns `user.id`, or None.
        metadata: function of the environ that returns metadata.
    """

    def __init__(
        self,
        app: Application,
        *,
        trace_name: str | Callable[[Environ], str] | None = None,
        user: Callable[[Environ], str | None] | None = None,
        metadata: Callable[[Environ], Mapping[str, object]] | None = None,
    ) -> None:
        self.app = app
        self._trace_name = trace_name
        self._user = user
        self._metadata = metadata

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        request = self._begin(environ)
        request.enter()
        try:
            body = self.app(environ, start_response)
        except BaseException as error:
            request.leave()
            request.close(error)
            raise
        request.leave()
        return _Body(body, request)

    def _begin(self, environ: Environ) -> RequestScope:
        name: object = self._trace_name
        if callable(name):
            name = RouteName("", partial(name, environ))
        elif name is None:
            name = RouteName(str(environ.get("REQUEST_METHOD", "HTTP")), partial(wsgi_route, environ))
        return RequestScope(
            _headers(environ),
            trace_name=name,
            user=partial(self._user, environ) if self._user else None,
            metadata=partial(self._metadata, environ) if self._metadata else None,
        )


class _Body:
    """The answer's body: each piece is produced inside the request's context, and `close` ends it."""

    def __init__(self, body: Iterable[bytes], request: RequestScope) -> None:
        self._body = body
        self._pieces: Iterator[bytes] | None = None
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self._request.enter()
        try:
            if self._pieces is None:
                self._pieces = iter(self._body)
            return next(self._pieces)
        except StopIteration:
            raise
        except BaseException as error:
            self._request.close(error)
            raise
        finally:
            self._request.leave()

    def close(self) -> None:
        """Close the application's own body and end the request."""
        close = getattr(self._body, "close", None)
        self._request.enter()
        try:
            if close is not None:
                close()
        finally:
            self._request.leave()
            self._request.close()


def _headers(environ: Environ) -> dict[str, str]:
    return {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") and isinstance(value, str)
    }
