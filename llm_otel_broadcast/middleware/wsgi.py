"""For WSGI applications: Flask, Django, Pyramid, Bottle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

from llm_otel_broadcast.fields.scope import sinks
from llm_otel_broadcast.guard import Guard
from llm_otel_broadcast.middleware.request import Asking, RequestScope
from llm_otel_broadcast.middleware.routes import wsgi_route

Environ: TypeAlias = dict[str, Any]
Application: TypeAlias = Callable[[Environ, Any], Iterable[bytes]]

_BEGINNING: Final = Guard("beginning a web request")


class TraceMiddleware:
    """Makes each request a context with a root span, which lasts until the answer's body has been produced.

    The root span is sent only when a generation happened below it. A W3C `traceparent` in the request says what it hangs
    below, unless a span is current already; `x-session-id` is `session.id`.

    The functions are asked when the first generation of a request happens. What one of them fails with is logged once, and the
    request goes on.

    Args:
        app: the WSGI application.
        trace_name: name of the root span: text, or a function of the environ; default: method and route, such as
            `GET /items/<id>`, or the method alone where there is no route.
        user: function of the environ that returns `user.id`, or None.
        metadata: function of the environ that returns metadata (or `session_id`, `generation_name`, `privacy`).

    Raises:
        TypeError: naming an argument of the wrong kind.
    """

    def __init__(
        self,
        app: Application,
        *,
        trace_name: str | Callable[[Environ], str | None] | None = None,
        user: Callable[[Environ], str | None] | None = None,
        metadata: Callable[[Environ], Mapping[str, object] | None] | None = None,
    ) -> None:
        self.app = app
        self._asking = Asking(trace_name, user, metadata)

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        request = self._begin(environ) if sinks.all else None
        if request is None:
            return self.app(environ, start_response)
        request.enter()
        try:
            body = self.app(environ, start_response)
        except BaseException as error:
            request.leave()
            request.close(error)
            raise
        request.leave()
        if _is_produced(body, environ):
            request.close()
            return body
        return _Body(body, request)

    def _begin(self, environ: Environ) -> RequestScope | None:
        with _BEGINNING:
            return RequestScope(
                environ,
                _Headers(environ),
                self._asking,
                method=str(environ.get("REQUEST_METHOD")),
                route=partial(wsgi_route, environ),
            )
        return None


def _is_produced(body: object, environ: Environ) -> bool:
    """Return whether nothing of the program's runs while the body is sent: servers measure lists, and send files their own way."""
    file_wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(body, list | tuple | bytes) or (isinstance(file_wrapper, type) and isinstance(body, file_wrapper))


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

    def __del__(self) -> None:
        """End the request for a server that never calls `close`."""
        self._request.close()


class _Headers:
    """The headers of a WSGI request."""

    def __init__(self, environ: Environ) -> None:
        self._environ = environ

    def all(self, name: str) -> list[str]:
        value = self._environ.get("HTTP_" + name.upper().replace("-", "_"))
        return [value] if isinstance(value, str) else []

    def names(self) -> list[str]:
        return [key[5:].replace("_", "-").lower() for key in self._environ if key.startswith("HTTP_")]
