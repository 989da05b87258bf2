"""In an app that traces itself, the root of a request hangs below the app's own span of it, wherever that is made."""

from __future__ import annotations

import pytest
from opentelemetry import context, propagate, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llm_otel_broadcast.middleware import asgi, wsgi
from tests.middleware import apps
from tests.middleware.serving import asgi_served, fetch, wsgi_served
from tests.middleware.test_requests import CALL, SPAN_ID, TRACE_ID, TRACEPARENT, root_of


@pytest.fixture
def spans():
    """What the app's own provider has recorded."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider, exporter.get_finished_spans
    provider.shutdown()


def parent_for(carrier):
    """Return the context in which instrumentations begin a server span: the caller's, unless a span is current."""
    if trace.get_current_span().get_span_context().is_valid:
        return context.get_current()
    return propagate.extract(carrier)


def asgi_tracing(app, tracer):
    """Do what an app's own ASGI instrumentation does."""

    async def traced(scope, receive, send):
        if scope["type"] != "http":
            return await app(scope, receive, send)
        carrier = {name.decode(): value.decode() for name, value in scope["headers"]}
        kind = trace.SpanKind.SERVER
        with tracer.start_as_current_span("server", parent_for(carrier), kind):
            return await app(scope, receive, send)

    return traced


def wsgi_tracing(app, tracer):
    def traced(environ, start_response):
        carrier = {name[5:].lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
        with tracer.start_as_current_span("server", parent_for(carrier), trace.SpanKind.SERVER):
            return list(app(environ, start_response))

    return traced


@pytest.mark.parametrize("place", ["round", "inside"])
@pytest.mark.parametrize("framework", ["starlette", "flask"])
def test_the_root_hangs_below_the_apps_own_server_span(framework, place, kit, spans, instrumented, arrived):
    provider, finished = spans
    is_asgi = framework in apps.ASGI
    tracing, middleware = (asgi_tracing, asgi) if is_asgi else (wsgi_tracing, wsgi)
    tracer = provider.get_tracer("app")
    app = {**apps.ASGI, **apps.WSGI}[framework](kit)
    if place == "round":
        app = tracing(middleware.TraceMiddleware(app), tracer)
    else:
        app = middleware.TraceMiddleware(tracing(app, tracer))
    instrumented(tracer_provider=provider)
    with (asgi_served if is_asgi else wsgi_served)(app) as port:
        fetch(port, "/items/17", TRACEPARENT)
    (server,) = [span for span in finished() if span.name == "server"]
    assert f"{server.context.trace_id:032x}" == TRACE_ID
    assert f"{server.parent.span_id:016x}" == SPAN_ID
    root = root_of(arrived(2))
    assert (root.trace_id, root.parent_span_id) == (TRACE_ID, f"{server.context.span_id:016x}")
    assert root.name.startswith("GET /items/")


@pytest.mark.parametrize("framework", ["starlette", "flask"])
def test_a_request_without_generations_leaves_no_span_of_ours_in_the_app(framework, served, spans, instrumented):
    provider, finished = spans
    instrumented(tracer_provider=provider)
    with served(framework) as port:
        fetch(port, "/quiet")
    assert finished() == ()


def test_the_courtesy_span_is_in_the_apps_own_trace(served, spans, instrumented, arrived):
    provider, finished = spans
    instrumented(tracer_provider=provider)
    with served("flask", around=lambda app: wsgi_tracing(app, provider.get_tracer("app"))) as port:
        fetch(port, "/items/17")
    by_name = {span.name: span for span in finished()}
    assert by_name.keys() == {"server", CALL}
    assert by_name[CALL].parent.span_id == by_name["server"].context.span_id
    assert root_of(arrived(2)).trace_id == f"{by_name['server'].context.trace_id:032x}"
