"""Flask in a threaded server, over HTTP, and what WSGI asks of a middleware."""

from __future__ import annotations

import http.client
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from urllib.parse import urlsplit
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace

import llm_otel_broadcast
from llm_otel_broadcast.middleware.wsgi import TraceMiddleware
from llm_otel_broadcast.tracing.scope import current_scope
from tests.middleware.model_calls import Model
from tests.middleware.wsgi_apps import flask_app
from tests.support.web_servers import get, wsgi_served

CALL = "chat gpt-4o-mini"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
HEADERS = {"x-session-id": "s-1", "traceparent": CALLER, "baggage": "tenant=acme"}


@pytest.fixture(scope="module")
def model(base_url):
    made = Model(base_url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def flask_url(model):
    with wsgi_served(TraceMiddleware(flask_app(model))) as url:
        yield url


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/items/4711", "GET /items/<int:item>"),
        ("/async/4711", "GET /async/<item>"),
        ("/things/4711", "GET /things/<thing>"),
        ("/all/4711/4711", "GET /all/<kind>/<thing>"),
        ("/nowhere/4711", "GET"),
    ],
)
def test_the_root_of_a_flask_request_is_called_by_method_and_rule(flask_url, instrumented, traced, path, name):
    instrumented()
    get(f"{flask_url}{path}")
    root, (call,) = traced(2)
    assert (root.name, root.parent_span_id, root.kind) == (name, "", 1)
    assert (call.name, call.parent_span_id) == (CALL, root.span_id)
    assert root.start_ns <= call.start_ns <= call.end_ns <= root.end_ns
    assert "4711" not in f"{root.attributes}{call.attributes}"


def test_a_request_says_its_session_and_its_caller(flask_url, instrumented, traced):
    instrumented(baggage_metadata=["tenant"])
    get(f"{flask_url}/items/1", HEADERS)
    root, (call,) = traced(2)
    assert (root.trace_id, root.parent_span_id) == tuple(CALLER.split("-")[1:3])
    for span in (root, call):
        assert span.attributes["session.id"] == "s-1"
        assert span.attributes["trace.metadata.tenant"] == "acme"


def test_functions_of_the_program_are_asked_about_the_environ(model, instrumented, traced):
    instrumented()
    app = TraceMiddleware(
        flask_app(model),
        trace_name=lambda environ: f"Handler {environ['werkzeug.request'].endpoint}",
        user=lambda environ: environ["HTTP_X_USER"],
        metadata=lambda environ: {"host": environ["REMOTE_ADDR"], "session_id": "from metadata"},
    )
    with wsgi_served(app) as url:
        get(f"{url}/items/1", {"x-user": "u-1"})
    root, calls = traced(2)
    for span in (root, *calls):
        assert span.attributes["trace.name"] == "Handler item"
        assert span.attributes["user.id"] == "u-1"
        assert span.attributes["session.id"] == "from metadata"
        assert span.attributes["trace.metadata.host"] == "127.0.0.1"


@pytest.mark.parametrize("path", ["/streamed", "/streamed-with-context"])
def test_calls_that_a_body_makes_while_it_is_produced_are_in_the_request(flask_url, instrumented, traced, path):
    instrumented(baggage_metadata=["tenant"])
    get(f"{flask_url}{path}", HEADERS)
    root, calls = traced(3)
    assert root.name == f"GET {path}"
    for call in calls:
        assert call.parent_span_id == root.span_id
        assert call.attributes["session.id"] == "s-1"
        assert call.attributes["trace.metadata.tenant"] == "acme"
        assert call.end_ns <= root.end_ns


def test_a_call_made_when_the_body_is_closed_is_in_the_request(flask_url, instrumented, traced):
    instrumented()
    get(f"{flask_url}/closing")
    root, (call,) = traced(2)
    assert (root.name, call.parent_span_id) == ("GET /closing", root.span_id)


def test_a_client_that_leaves_in_the_middle_ends_the_request(flask_url, instrumented, receiver):
    instrumented()
    parts = urlsplit(flask_url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request("GET", "/endless")
    with connection.getresponse() as response:
        assert response.read(10)
    connection.close()
    spans = receiver.store.wait_for(lambda held: any(span.name == "GET /endless" for span in held), 10)
    (root,) = [span for span in spans if span.name == "GET /endless"]
    assert {span.parent_span_id for span in spans if span is not root} == {root.span_id}


def test_fifty_requests_at_once_do_not_mix(flask_url, instrumented, arrived):
    instrumented()

    def visit(number):
        return get(f"{flask_url}/twice/{number}", {"x-session-id": f"s-{number}"}).status

    with ThreadPoolExecutor(50) as pool:
        assert set(pool.map(visit, range(50))) == {200}
    traces = {}
    for span in arrived(150):
        traces.setdefault(span.trace_id, []).append(span)
    assert len(traces) == 50
    for held in traces.values():
        (session,) = {span.attributes["session.id"] for span in held}
        number = session.removeprefix("s-")
        assert {span.name for span in held} == {"GET /twice/<number>", f"call {number}.0", f"call {number}.1"}


def test_requests_without_generations_send_nothing(flask_url, instrumented, arrived):
    instrumented()
    get(f"{flask_url}/quiet", HEADERS)
    arrived(0)
    assert llm_otel_broadcast.status().destinations[0].produced == 0


@pytest.mark.parametrize("path", ["/items/1", "/quiet", "/streamed", "/file", "/nowhere", "/failing"])
def test_an_answer_is_the_same_with_and_without_us(flask_url, model, instrumented, path):
    instrumented()
    with wsgi_served(flask_app(model)) as plain:
        assert get(f"{flask_url}{path}", HEADERS) == get(f"{plain}{path}", HEADERS)


def test_it_does_nothing_before_instrument_and_after_uninstrument(flask_url, instrumented, arrived):
    assert get(f"{flask_url}/items/1").status == 200
    instrumented()
    get(f"{flask_url}/streamed")
    assert len(arrived(3)) == 3
    llm_otel_broadcast.uninstrument()
    assert get(f"{flask_url}/items/1").status == 200
    assert len(arrived()) == 3


class Body:
    """A body that notes what is done to it."""

    def __init__(self, pieces, error=None):
        self.pieces, self.error, self.closed = list(pieces), error, 0

    def __iter__(self):
        yield from self.pieces
        if self.error is not None:
            raise self.error

    def close(self):
        self.closed += 1


class SizedBody(Body):
    def __len__(self):
        return len(self.pieces)


def call(app, **environ):
    """Call an application as a server does; return its body and what it has said of the answer."""
    given = {**environ}
    setup_testing_defaults(given)
    started, written = [], []

    def start_response(status, headers, exc_info=None):
        started.append((status, headers, exc_info))
        return written.append

    return app(given, start_response), started, written


def answering(body):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return body

    return app


def nothing_is_left():
    return current_scope() is None and otel_context.get_current() == {}


def test_a_body_is_closed_once_however_often_the_server_does(instrumented):
    instrumented()
    body = Body([b"a", b"b"])
    made, _, _ = call(TraceMiddleware(answering(body)))
    assert list(made) == [b"a", b"b"]
    made.close()
    made.close()
    assert body.closed == 1
    assert nothing_is_left()


def test_a_span_that_the_application_leaves_current_is_so_for_its_body_and_gone_afterwards(instrumented):
    """So do instrumentations that end theirs with the body."""
    instrumented()
    left = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))
    tokens, seen = [], []

    class Leaving(Body):
        def close(self):
            otel_context.detach(tokens.pop())

        def __iter__(self):
            seen.append(otel_context.get_value("own"))
            yield b"a"
            seen.append(otel_context.get_value("own"))

    def app(environ, start_response):
        tokens.append(otel_context.attach(otel_context.set_value("own", left)))
        start_response("200 OK", [])
        return Leaving([])

    made, _, _ = call(TraceMiddleware(app), HTTP_TRACEPARENT=CALLER, HTTP_BAGGAGE="tenant=acme")
    assert list(made) == [b"a"]
    made.close()
    assert seen == [left, left]
    assert nothing_is_left()


def test_a_request_that_begins_in_the_context_of_one_that_is_over_is_not_in_it(model, instrumented, arrived):
    """A worker that was started in a request, say, keeps its context for ever."""
    instrumented(baggage_metadata=["tenant"])
    kept = []

    def app(environ, start_response):
        kept.append(copy_context())
        start_response("200 OK", [])
        return [model.ask().encode()]

    call(TraceMiddleware(app), HTTP_TRACEPARENT=CALLER, HTTP_BAGGAGE="tenant=acme", HTTP_X_SESSION_ID="s-1")
    kept[0].run(call, TraceMiddleware(app))
    later = [span for span in arrived(4) if span.trace_id != CALLER.split("-")[1]]
    assert len(later) == 2
    for span in later:
        assert not {"session.id", "trace.metadata.tenant"} & set(span.attributes)


def test_a_body_that_is_made_or_a_file_stays_the_very_same_object(instrumented):
    """Servers look at its type: for the length, and for sendfile."""
    instrumented()
    with Path(__file__).open("rb") as file:
        for body in ([b"a"], (b"a",), FileWrapper(file)):
            made, _, _ = call(TraceMiddleware(answering(body)), **{"wsgi.file_wrapper": FileWrapper})
            assert made is body
    assert nothing_is_left()


def test_a_body_keeps_its_length_and_what_else_it_has(instrumented):
    instrumented()
    sized, _, _ = call(TraceMiddleware(answering(SizedBody([b"a", b"b"]))))
    plain, _, _ = call(TraceMiddleware(answering(Body([b"a"]))))
    assert (len(sized), sized.pieces) == (2, [b"a", b"b"])
    assert not hasattr(plain, "__len__")
    assert not hasattr(plain, "no_such_thing")
    sized.close()
    plain.close()


def test_write_and_exc_info_reach_the_server_as_they_are(instrumented):
    instrumented()
    told = (LookupError, LookupError("x"), None)

    def app(environ, start_response):
        write = start_response("200 OK", [])
        write(b"first")
        start_response("500 Oh", [], told)
        return []

    made, started, written = call(TraceMiddleware(app))
    assert (made, written) == ([], [b"first"])
    assert started == [("200 OK", [], None), ("500 Oh", [], told)]


def test_both_sides_keep_to_the_rules_of_wsgi(instrumented, model, traced):
    instrumented()
    app = validator(TraceMiddleware(validator(flask_app(model))))
    made, started, _ = call(app, PATH_INFO="/streamed", REQUEST_METHOD="GET", QUERY_STRING="", SCRIPT_NAME="")
    assert len(list(made)) == 2
    made.close()
    assert started[0][0] == "200 OK"
    assert traced(3)[0].name == "GET /streamed"


def test_an_application_that_fails_is_an_error_and_fails_with_the_same_exception(model, instrumented, traced):
    instrumented()
    failing = LookupError("the launch code")

    def app(environ, start_response):
        model.ask()
        raise failing

    with pytest.raises(LookupError) as caught:
        call(TraceMiddleware(app))
    assert caught.value is failing
    root, _ = traced(2)
    assert (root.name, root.status_code, root.attributes["error.type"]) == ("GET", 2, "LookupError")
    assert nothing_is_left()


def test_a_body_that_breaks_off_is_an_error_too(model, instrumented, traced):
    instrumented()
    failing = LookupError("the launch code")

    def body():
        yield model.ask().encode()
        raise failing

    made, _, _ = call(TraceMiddleware(answering(body())))
    next(made)
    with pytest.raises(LookupError) as caught:
        next(made)
    made.close()
    assert caught.value is failing
    assert traced(2)[0].status_code == 2
    assert nothing_is_left()


def test_a_body_that_the_server_forgets_ends_the_request(model, instrumented, traced):
    instrumented()
    made, _, _ = call(TraceMiddleware(answering(model.ask().encode() for _ in range(2))))
    assert next(made)
    del made
    assert traced(2)[0].name == "GET"


def test_a_server_that_has_two_answers_under_way_in_one_thread_does_not_mix_them(model, instrumented, arrived):
    instrumented()
    bodies = [
        call(TraceMiddleware(answering(model.ask().encode() for _ in range(2))), HTTP_X_SESSION_ID=f"s-{number}")[0]
        for number in range(2)
    ]
    for _ in range(2):
        for body in bodies:
            next(body)
            assert nothing_is_left()
    for body in bodies:
        body.close()
    spans = arrived(6)
    assert len({(span.trace_id, span.attributes["session.id"]) for span in spans}) == 2
