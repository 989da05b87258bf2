"""What the root of a web request shows, and what hangs below it."""

from __future__ import annotations

from wsgiref.util import setup_testing_defaults

import pytest

from llm_otel_broadcast import trace_context, traced
from llm_otel_broadcast.middleware.wsgi import TraceMiddleware
from tests.middleware.model_calls import Model
from tests.support.app import App
from tests.tracing.trees import by_name


@pytest.fixture
def model(base_url):
    made = Model(base_url)
    yield made
    made.close()


@pytest.fixture(params=[False, True], ids=["alone", "in an app that traces"])
def app(request):
    """A tracer provider of the app's own, or none."""
    made = App() if request.param else None
    yield made
    if made is not None:
        made.provider.shutdown()


def visit(work):
    """Have one request handled, in which some work is done."""

    def answer(_environ, start_response):
        start_response("200 OK", [])
        return [(work() or "").encode()]

    environ = {}
    setup_testing_defaults(environ)
    body = TraceMiddleware(answer)(environ, lambda *_: None)
    return b"".join(body).decode()


def test_the_root_of_a_request_shows_what_was_asked_and_answered(model, instrumented, arrived):
    instrumented()
    answer = visit(model.ask)
    root = by_name(arrived(2))["GET"]
    assert root.attributes["openinference.span.kind"] == "CHAIN"
    assert (root.attributes["input.value"], root.attributes["output.value"]) == ("Hello!", answer)


def search():
    traced(kind="tool", span_name="step")(lambda query: "a page")("canaries")


def block():
    with trace_context(span_name="step"):
        pass


@pytest.mark.parametrize("work", [search, block])
def test_a_step_of_a_request_that_asks_no_model_does_not_hang_in_the_air(instrumented, arrived, app, work):
    instrumented(tracer_provider=app.provider if app else None)
    visit(work)
    spans = by_name(arrived(2))
    assert spans["step"].parent_span_id == spans["GET"].span_id
    assert spans["GET"].end_ns >= spans["step"].end_ns
