"""What passes through, what is refused, and what it costs where nothing is instrumented."""

from __future__ import annotations

import asyncio
import timeit

import pytest
from opentelemetry import context as otel_context

from llm_otel_broadcast.middleware import asgi, wsgi
from llm_otel_broadcast.tracing.scope import current_scope

BOTH = pytest.mark.parametrize("middleware", [asgi.TraceMiddleware, wsgi.TraceMiddleware], ids=["asgi", "wsgi"])


@pytest.mark.parametrize("kind", ["websocket", "lifespan", "something.new"])
def test_what_is_no_http_request_passes_through_as_the_very_same_objects(instrumented, kind):
    instrumented()
    seen = []

    async def app(*given):
        assert current_scope() is None
        seen.extend(given)

    async def receive():
        """Never called."""

    async def send(message):
        """Never called."""

    scope = {"type": kind, "headers": []}
    asyncio.run(asgi.TraceMiddleware(app)(scope, receive, send))
    assert seen[0] is scope
    assert seen[1:] == [receive, send]


def test_an_http_request_gets_the_servers_own_objects_and_nothing_is_put_into_them(instrumented):
    instrumented()
    seen = []

    async def app(*given):
        seen.extend(given)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    before = dict(scope)
    asyncio.run(asgi.TraceMiddleware(app)(scope, len, print))
    assert (seen[0] is scope, scope) == (True, before)
    assert seen[1:] == [len, print]


async def coroutine(request):
    return "nobody"


class Asking:
    async def __call__(self, request):
        return "nobody"


@BOTH
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"trace_name": 5}, "trace_name must be text or a function of the request, got int"),
        ({"user": "u-1"}, "user must be a function of the request, got str"),
        ({"metadata": {"a": 1}}, "metadata must be a function of the request, got dict"),
        ({"user": coroutine}, "user must be a plain function"),
        ({"metadata": Asking()}, "metadata must be a plain function"),
    ],
    ids=["number", "text", "mapping", "coroutine function", "async callable"],
)
def test_a_setting_of_the_wrong_kind_is_refused_at_once(middleware, given, said):
    with pytest.raises(TypeError, match=f"TraceMiddleware: {said}"):
        middleware(print, **given)


@BOTH
def test_something_that_is_no_application_is_refused_at_once(middleware):
    with pytest.raises(TypeError, match="TraceMiddleware: app must be the application, got str"):
        middleware("module:app")


def test_there_is_no_context_where_nothing_is_instrumented():
    seen = []

    async def on_asgi(*given):
        seen.append((current_scope(), otel_context.get_current()))

    def on_wsgi(*given):
        seen.append((current_scope(), otel_context.get_current()))

    headers = [(b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
    asyncio.run(asgi.TraceMiddleware(on_asgi)({"type": "http", "method": "GET", "headers": headers}, len, print))
    wsgi.TraceMiddleware(on_wsgi)({"HTTP_TRACEPARENT": headers[0][1].decode()}, print)
    assert seen == [(None, {}), (None, {})]


def test_it_costs_next_to_nothing_where_nothing_is_instrumented():
    def app(environ, start_response):
        return []

    middleware = wsgi.TraceMiddleware(app)
    calls = 10_000
    more = min(timeit.repeat(lambda: middleware({}, None), number=calls, repeat=5)) - min(
        timeit.repeat(lambda: app({}, None), number=calls, repeat=5)
    )
    assert more / calls < 5e-6
