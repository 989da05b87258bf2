"""For WSGI applications: Flask, Django, Pyramid, Bottle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any, Final, TypeAlias

from opentelemetry import trace

from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.middleware.questions import Questions, RequestName
from llm_otel_broadcast.middleware.request import RequestContext
from llm_otel_broadcast.middleware.routes import WsgiRoute
from llm_otel_broadcast.tracing.scope import sinks

# `Any`, as in `wsgiref.types`: the environ of a server may hold anything
Environ: TypeAlias = dict[str, Any]
Application: TypeAlias = Callable[[Environ, Any], Iterable[bytes]]

_BEGINNING: Final = Guard("beginning a web request")
_SPAN_KEYS: Final = ("opentelemetry-flask.span_key", "opentelemetry-instrumentor-django.span_key")


class TraceMiddleware:
    """Makes each request a context with a root span, which lasts until the answer's body has been produced.

    The root span is sent only when a generation happened below it. It hangs below the span that is current or else below the
    one that the request's headers name (W3C `traceparent`, or what OpenTelemetry is set to); `x-session-id` is `session.id`.

    The functions are asked when the first generation of a request happens. When one fails, that is logged once, and the
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
        self._questions = Questions(app, trace_name, user, metadata)

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        if not sinks.all:
            return self.app(environ, start_response)
        route = WsgiRoute(environ, start_response)
        request: RequestContext | None = None
        with _BEGINNING:
            request = RequestContext(
                request=environ,
                identity=None,
                headers=_Headers(environ),
                questions=self._questions,
                name=RequestName(str(environ.get("REQUEST_METHOD")), route, self._questions.trace_name, environ),
                # OpenTelemetry's instrumentation of Flask or Django keeps the request's span in the environ.
                server_span=lambda: next(
                    (span for key in _SPAN_KEYS if isinstance(span := environ.get(key), trace.Span)), None
                ),
            )
        if request is None:
            return self.app(environ, start_response)
        request.enter()
        try:
            body = self.app(environ, route.start_response)
        except BaseException as error:
            request.leave()
            request.close(error)
            raise
        request.leave()
        wrapper = environ.get("wsgi.file_wrapper")
        # The body is produced already, or is a file: servers know these by their type (a `wsgi.file_wrapper` may go out by
        # `sendfile`), and no code of the app's runs any more
        if type(body) in (list, tuple) or (isinstance(wrapper, type) and isinstance(body, wrapper)):
            request.close()
            return body
        return (_SizedBody if isinstance(body, Sized) else _Body)(body, request)


class _Body:
    """The answer's body: each piece is produced inside the request's context, and `close` ends it. The rest is its own."""

    def __init__(self, body: Iterable[bytes], request: RequestContext) -> None:
        self._body = body
        self._pieces: Iterator[bytes] | None = None
        self._request = request
        self._closed = False

    # of `__dict__`: copying makes a body without any attribute, and would ask for `_body` forever
    def __getattr__(self, name: str) -> object:
        return getattr(self.__dict__["_body"], name)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self._request.enter()
        error: BaseException | None = None
        try:
            if self._pieces is None:
                self._pieces = iter(self._body)
            return next(self._pieces)
        except StopIteration:
            raise
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._request.leave()
            if error is not None:
                self._request.close(error)

    def close(self) -> None:
        """Close the application's own body, once, and end the request."""
        close = None if self._closed else getattr(self._body, "close", None)
        self._closed = True
        self._request.enter()
        try:
            if close is not None:
                close()
        finally:
            self._request.leave()
            self._request.close()

    def __del__(self) -> None:
        # a server that does not close what it has sent
        self._request.close()


class _SizedBody(_Body):
    """One whose number of pieces is known: a server may know the answer's length from a single one."""

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]


class _Headers:
    """The headers of a WSGI request."""

    def __init__(self, environ: Environ) -> None:
        self._environ = environ

    def all(self, name: str) -> list[str]:
        value = self._environ.get(f"HTTP_{name.upper().replace('-', '_')}")
        return [value] if isinstance(value, str) else []

    def names(self) -> list[str]:
        return [name[5:].replace("_", "-").lower() for name in self._environ if name.startswith("HTTP_")]
