"""The middleware in an app that traces its requests itself, with OpenTelemetry's own instrumentation round it or inside."""

from __future__ import annotations

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware as AsgiInstrumentation
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as WsgiInstrumentation
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from llm_otel_broadcast.middleware import asgi, wsgi
from tests.middleware.model_calls import Model
from tests.middleware.wsgi_apps import flask_app
from tests.support.app import App
from tests.support.web_servers import asgi_served, get, wsgi_served

CALL = "chat gpt-4o-mini"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
HEADERS = {"traceparent": CALLER, "baggage": "tenant=acme"}
ABOVE = int(CALLER.split("-")[2], 16)


@pytest.fixture
def app():
    made = App()
    yield made
    made.provider.shutdown()


@pytest.fixture
def model(base_url):
    made = Model(base_url)
    yield made
    made.close()


def pages(model, app):
    """Return an application that calls a model inside a span of its own, then outside of it."""

    def plain(request):
        with app.tracer.start_as_current_span("inside"):
            model.ask(extra_body={"trace": {"generation_name": "first"}})
        model.ask(extra_body={"trace": {"generation_name": "second"}})
        return PlainTextResponse("done")

    def streamed(request):
        def body():
            for name in ("first", "second"):
                yield model.ask(extra_body={"trace": {"generation_name": name}})

        return StreamingResponse(body())

    return Starlette(routes=[Route("/items/{item}", plain), Route("/streamed", streamed)])


def server_span(app):
    """Return the app's only span of the request itself, which is to be as without us: below the caller, and a server's."""
    (span,) = [span for span in app.memory.get_finished_spans() if span.kind is SpanKind.SERVER]
    assert span.parent.span_id == ABOVE
    return span


def hex_of(span):
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def within(inner, app):
    return asgi.TraceMiddleware(AsgiInstrumentation(inner, tracer_provider=app.provider))


def round_it(inner, app):
    return AsgiInstrumentation(asgi.TraceMiddleware(inner), tracer_provider=app.provider)


@pytest.mark.parametrize("stack", [within, round_it])
@pytest.mark.parametrize("path", ["/items/1", "/streamed"])
def test_the_root_hangs_below_the_server_span_of_an_asgi_instrumentation(
    app, model, instrumented, arrived, stack, path
):
    """Whichever is outermost: the caller is taken up once, by the app, and the app's spans are as without us."""
    instrumented(tracer_provider=app.provider, baggage_metadata=["tenant"])
    with asgi_served(stack(pages(model, app), app)) as url:
        get(f"{url}{path}", HEADERS)
    spans = {span.name: span for span in arrived(3)}
    server = server_span(app)
    root = spans["GET /items/{item}" if path == "/items/1" else "GET /streamed"]
    assert root.trace_id == CALLER.split("-")[1]
    if path == "/streamed" or stack is round_it:
        assert (root.trace_id, root.parent_span_id) == hex_of(server)
    for name in ("first", "second"):
        assert (spans[name].trace_id, spans[name].parent_span_id) == (root.trace_id, root.span_id)
        assert spans[name].attributes["trace.metadata.tenant"] == "acme"
    courtesy = [span for span in app.memory.get_finished_spans() if span.name in ("first", "second")]
    assert {span.context.trace_id for span in courtesy} == {server.context.trace_id}


def test_the_root_hangs_below_the_server_span_of_a_wsgi_instrumentation(app, model, instrumented, arrived):
    instrumented(tracer_provider=app.provider)
    inner = flask_app(model)
    with wsgi_served(WsgiInstrumentation(wsgi.TraceMiddleware(inner), tracer_provider=app.provider)) as url:
        get(f"{url}/streamed", HEADERS)
    spans = {span.span_id: span for span in arrived(3)}
    (root,) = [span for span in spans.values() if span.name == "GET /streamed"]
    assert (root.trace_id, root.parent_span_id) == hex_of(server_span(app))
    assert {span.parent_span_id for span in spans.values() if span is not root} == {root.span_id}
    courtesy = [span for span in app.memory.get_finished_spans() if span.name == CALL]
    assert {span.parent.span_id for span in courtesy} == {server_span(app).context.span_id}


@pytest.fixture
def flask_traced(app, model):
    """A Flask application with its own instrumentation, and the middleware round all that."""
    inner = flask_app(model)

    @inner.get("/inside")
    def inside():
        with app.tracer.start_as_current_span("inside"):
            return model.ask()

    FlaskInstrumentor().instrument_app(inner, tracer_provider=app.provider)
    left = []

    def watched(environ, start_response):
        body = wsgi.TraceMiddleware(inner)(environ, start_response)
        yield from body
        body.close()
        left.append(otel_context.get_current())

    with wsgi_served(watched) as url:
        yield url
    FlaskInstrumentor().uninstrument_app(inner)
    assert set(map(bool, left)) <= {False}


@pytest.mark.parametrize("path", ["/items/1", "/inside", "/streamed-with-context"])
def test_the_root_hangs_below_the_server_span_that_flasks_instrumentation_keeps(
    flask_traced, app, instrumented, arrived, path
):
    """Also below a span of the app's own, and while a body is produced; nothing is left current in the server's thread."""
    calls = 2 if path == "/streamed-with-context" else 1
    instrumented(tracer_provider=app.provider)
    get(f"{flask_traced}{path}", HEADERS)
    spans = arrived(1 + calls)
    (root,) = [span for span in spans if span.name.startswith("GET")]
    assert (root.trace_id, root.parent_span_id) == hex_of(server_span(app))
    assert {span.parent_span_id for span in spans if span is not root} == {root.span_id}
    if calls == 1:  # their span ends with the view, whatever Flask keeps for the body
        (courtesy,) = [span for span in app.memory.get_finished_spans() if span.name == CALL]
        assert courtesy.context.trace_id == server_span(app).context.trace_id


def test_a_span_that_is_current_already_is_what_the_root_hangs_below_and_not_the_caller(
    app, model, instrumented, traced
):
    instrumented()

    async def server(scope, receive, send):
        with app.tracer.start_as_current_span("gateway"):
            await asgi.TraceMiddleware(pages(model, app))(scope, receive, send)

    with asgi_served(server, lifespan="off") as url:
        get(f"{url}/streamed", HEADERS)
    root, _ = traced(3)
    (gateway,) = [span for span in app.memory.get_finished_spans() if span.name == "gateway"]
    assert (root.trace_id, root.parent_span_id) == hex_of(gateway)


def test_another_instrumentations_span_of_the_call_is_not_above_the_root(app, model, instrumented, traced):
    """It is current when the first call begins, and only that one is its."""
    instrumented(tracer_provider=app.provider)

    def page(environ, start_response):
        start_response("200 OK", [])
        with app.tracer.start_as_current_span("page") as own:
            page.span = own
            with app.tracer.start_as_current_span("their span of the call", kind=SpanKind.CLIENT):
                model.ask()
            return [model.ask().encode()]

    with wsgi_served(wsgi.TraceMiddleware(page)) as url:
        get(url + "/", HEADERS)
    root, calls = traced(3)
    assert (root.trace_id, root.parent_span_id) == hex_of(page.span)
    assert {call.parent_span_id for call in calls} == {root.span_id}


def test_without_a_span_of_the_apps_the_root_hangs_below_the_caller(app, model, instrumented, traced):
    instrumented(tracer_provider=app.provider)
    seen = []

    def page(environ, start_response):
        seen.append(trace.get_current_span())
        start_response("200 OK", [])
        return [model.ask().encode()]

    with wsgi_served(wsgi.TraceMiddleware(page)) as url:
        get(url + "/", HEADERS)
    root, _ = traced(2)
    assert (root.trace_id, root.parent_span_id) == tuple(CALLER.split("-")[1:3])
    assert seen == [trace.INVALID_SPAN]


def test_a_root_is_not_in_the_apps_traces(app, model, instrumented, traced):
    """Most requests come to nothing here, and those of the app would have them all."""
    instrumented(tracer_provider=app.provider)
    with wsgi_served(wsgi.TraceMiddleware(flask_app(model))) as url:
        get(f"{url}/items/1")
        get(f"{url}/quiet")
    traced(2)
    assert [span.name for span in app.memory.get_finished_spans()] == [CALL]
