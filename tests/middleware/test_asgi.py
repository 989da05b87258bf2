"""Starlette and FastAPI under uvicorn, over HTTP."""

from __future__ import annotations

import http.client
import logging
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from starlette.middleware.gzip import GZipMiddleware

import llm_otel_broadcast
from llm_otel_broadcast.middleware.asgi import TraceMiddleware
from llm_otel_broadcast.tracing.placement import roots
from tests.middleware.asgi_apps import LARGE, Gate, fastapi_app, starlette_app
from tests.middleware.model_calls import Model
from tests.support.web_servers import asgi_served, get, get_on

CALL = "chat gpt-4o-mini"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
HEADERS = {"x-session-id": "s-1", "traceparent": CALLER, "baggage": "tenant=acme"}


class Opaque:
    """Middleware that passes a copy of the scope on, and does not say what it is put round."""

    def __init__(self, app):
        async def run(scope, receive, send):
            await app(dict(scope), receive, send)

        self._run = run

    async def __call__(self, scope, receive, send):
        await self._run(scope, receive, send)


def within(app):
    app.add_middleware(TraceMiddleware)
    return app


@pytest.fixture(scope="module")
def gate():
    return Gate()


@pytest.fixture(scope="module")
def starlette_url(base_url, gate):
    with asgi_served(TraceMiddleware(starlette_app(Model(base_url), gate))) as url:
        yield url


@pytest.fixture(scope="module", params=["round", "within"])
def fastapi_url(base_url, request):
    app = fastapi_app(Model(base_url))
    with asgi_served(TraceMiddleware(app) if request.param == "round" else within(app)) as url:
        yield url


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/items/4711", "GET /items/{item:int}"),
        ("/sync/4711", "GET /sync/{item}"),
        ("/same/4711", "GET /same/{one}"),
        ("/same/1/4711", "GET /same/{one}/{two}"),
        ("/tenants/4711/users/4711", "GET /tenants/{tenant}/users/{user}"),
        ("/tenants/4711/", "GET /tenants/{tenant}/"),
        ("/nowhere/4711", "GET"),
    ],
)
def test_the_root_of_a_starlette_request_is_called_by_method_and_route(starlette_url, instrumented, traced, path, name):
    instrumented()
    get(f"{starlette_url}{path}")
    root, (call,) = traced(2)
    assert (root.name, root.parent_span_id, root.kind) == (name, "", 1)
    assert (call.name, call.parent_span_id) == (CALL, root.span_id)
    assert root.start_ns <= call.start_ns <= call.end_ns <= root.end_ns
    for span in (root, call):
        assert span.attributes["trace.name"] == name
        assert "4711" not in f"{span.name}{span.attributes}"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/items/4711", "GET /items/{item}"),
        ("/sync/4711", "GET /sync/{item}"),
        ("/api/v1/things/4711", "GET /api/v1/things/{thing}"),
        ("/mounted/deep/4711", "GET /mounted/deep/{number}"),
        ("/starlette/tenants/4711/users/4711", "GET /starlette/tenants/{tenant}/users/{user}"),
    ],
)
def test_the_root_of_a_fastapi_request_is_called_by_method_and_route(fastapi_url, instrumented, traced, path, name):
    """Routers, mounted applications and their parameters included; the middleware is round the application or within."""
    instrumented()
    assert get(f"{fastapi_url}{path}").status == 200
    root, (call,) = traced(2)
    assert (root.name, call.parent_span_id) == (name, root.span_id)
    assert "4711" not in f"{root.attributes}{call.attributes}"


def test_a_route_is_found_behind_other_middleware(base_url, instrumented, traced):
    instrumented()
    app = fastapi_app(Model(base_url))
    app.add_middleware(Opaque)
    with asgi_served(TraceMiddleware(app)) as url:
        get(f"{url}/api/v1/things/4711")
    assert traced(2)[0].name == "GET /api/v1/things/{thing}"


def test_a_mounted_route_is_found_below_other_middleware(base_url, instrumented, traced):
    instrumented()
    with asgi_served(TraceMiddleware(GZipMiddleware(fastapi_app(Model(base_url))))) as url:
        get(f"{url}/mounted/deep/4711")
    assert traced(2)[0].name == "GET /mounted/deep/{number}"


def test_functions_that_have_answered_are_not_asked_again_in_a_request(base_url, instrumented, arrived):
    """A user who is not known yet is asked for again."""
    instrumented()
    asked = []

    def user(scope):
        asked.append("user")
        return "u-1" if asked.count("user") > 1 else None

    def metadata(scope):
        asked.append("metadata")
        return {"calls": len(asked)}

    app = TraceMiddleware(starlette_app(Model(base_url)), user=user, metadata=metadata)
    with asgi_served(app) as url:
        get(f"{url}/three-times")
    spans = {span.name: span for span in arrived(4)}
    assert asked == ["metadata", "user", "user"]
    assert [spans[f"call {turn}"].attributes.get("user.id") for turn in range(3)] == [None, "u-1", "u-1"]
    assert spans["GET /three-times"].attributes["user.id"] == "u-1"
    assert {span.attributes["trace.metadata.calls"] for span in spans.values()} == {1}


def test_a_method_that_somebody_made_up_is_in_no_name(starlette_url, instrumented, traced):
    instrumented()
    get(f"{starlette_url}/nowhere", method="BREW")
    assert traced(2)[0].name == "HTTP"


def test_a_request_says_its_session_and_its_caller(starlette_url, instrumented, traced):
    instrumented(baggage_metadata=["tenant"])
    get(f"{starlette_url}/items/1", HEADERS)
    root, (call,) = traced(2)
    assert (root.trace_id, root.parent_span_id) == tuple(CALLER.split("-")[1:3])
    assert call.parent_span_id == root.span_id
    for span in (root, call):
        assert span.attributes["session.id"] == "s-1"
        assert span.attributes["trace.metadata.tenant"] == "acme"


def test_two_requests_of_one_caller_are_two_spans_whatever_they_are_called(base_url, instrumented, arrived):
    instrumented()
    for _ in range(2):  # as two workers would be
        with asgi_served(TraceMiddleware(starlette_app(Model(base_url)), trace_name="Handler")) as url:
            get(f"{url}/items/1", HEADERS)
        roots.clear()
    spans = arrived(4)
    assert [span.name for span in spans].count("Handler") == 2
    assert len({span.span_id for span in spans}) == 4


def test_functions_of_the_program_are_asked_when_there_is_something_to_say(base_url, instrumented, traced):
    """FastAPI's dependencies find the user long after the middleware has begun."""
    instrumented()
    asked = []

    def metadata(scope):
        asked.append(scope["path"])
        return {"client": scope["client"][0], "tags": ["a"]}

    app = TraceMiddleware(
        fastapi_app(Model(base_url)),
        trace_name=lambda scope: f"Handler {scope['endpoint'].__name__}",
        user=lambda scope: scope["state"]["user"],
        metadata=metadata,
    )
    with asgi_served(app) as url:
        get(f"{url}/known")
        get(f"{url}/starlette/quiet/1")
    root, (call,) = traced(2)
    assert asked == ["/known"]
    for span in (root, call):
        assert span.attributes["trace.name"] == "Handler with_user"
        assert span.attributes["user.id"] == "u-7"
        assert span.attributes["trace.metadata.client"] == "127.0.0.1"
        assert span.attributes["trace.metadata.tags"] == '["a"]'
    assert root.name == "Handler with_user"


def test_a_function_that_fails_leaves_the_request_alone_and_is_said_once(base_url, instrumented, arrived, caplog):
    instrumented()

    def failing(scope):
        raise RuntimeError(str(scope["headers"]))

    async def nobody():
        return "nobody"

    def later(scope):
        return nobody()

    app = TraceMiddleware(starlette_app(Model(base_url)), trace_name=failing, user=later, metadata=lambda scope: [1])
    with caplog.at_level(logging.WARNING, "llm_otel_broadcast"), asgi_served(app) as url:
        for _ in range(2):
            assert get(f"{url}/items/1", {"authorization": "sk-secret"}).status == 200
    spans = arrived(4)
    assert [span.name for span in spans].count("GET /items/{item:int}") == 2
    assert not any("user.id" in span.attributes for span in spans)
    said = [record.getMessage() for record in caplog.records]
    assert sorted(line.split(" failed")[0] for line in said) == [
        "metadata= of TraceMiddleware",
        "trace_name= of TraceMiddleware",
        "user= of TraceMiddleware",
    ]
    assert "sk-secret" not in caplog.text


@pytest.mark.parametrize("path", ["/streamed", "/sync-streamed", "/events"])
def test_calls_that_a_body_makes_while_it_is_produced_are_in_the_request(starlette_url, instrumented, traced, path):
    instrumented()
    answer = get(f"{starlette_url}{path}", {"x-session-id": "s-2"})
    root, calls = traced(2 if path == "/events" else 3)
    assert answer.body.endswith(b"\n")
    assert root.name == f"GET {path}"
    for call in calls:
        assert call.parent_span_id == root.span_id
        assert call.attributes["session.id"] == "s-2"
        assert call.end_ns <= root.end_ns


def test_a_client_that_leaves_in_the_middle_ends_the_request(starlette_url, instrumented, receiver):
    instrumented()
    parts = urlsplit(starlette_url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request("GET", "/endless")
    with connection.getresponse() as response:
        assert response.read(10)
    connection.close()
    spans = receiver.store.wait_for(lambda held: any(span.name == "GET /endless" for span in held), 10)
    (root,) = [span for span in spans if span.name == "GET /endless"]
    assert {span.parent_span_id for span in spans if span is not root} == {root.span_id}


def test_an_application_that_fails_is_an_error_and_fails_as_before(base_url, instrumented, traced):
    instrumented()
    raised = []
    failing = LookupError("the launch code")

    async def app(scope, receive, send):
        model = Model(base_url)
        await model.aask()
        await model.aclose()
        raise failing

    async def server(scope, receive, send):
        try:
            await TraceMiddleware(app)(scope, receive, send)
        except LookupError as error:
            raised.append(error)
            raise

    with asgi_served(server, lifespan="off") as url:
        assert get(f"{url}/failing").status == 500
    root, _ = traced(2)
    assert raised == [failing]
    assert (root.status_code, root.attributes["error.type"]) == (2, "LookupError")


def test_fifty_requests_at_once_do_not_mix(starlette_url, instrumented, arrived):
    instrumented()

    def visit(number):
        return get(f"{starlette_url}/twice/{number}", {"x-session-id": f"s-{number}"}).status

    with ThreadPoolExecutor(50) as pool:
        assert set(pool.map(visit, range(50))) == {200}
    spans = arrived(150)
    traces = {}
    for span in spans:
        traces.setdefault(span.trace_id, []).append(span)
    assert len(traces) == 50
    for held in traces.values():
        (session,) = {span.attributes["session.id"] for span in held}
        number = session.removeprefix("s-")
        assert {span.name for span in held} == {"GET /twice/{number}", f"call {number}.0", f"call {number}.1"}
        (root,) = [span for span in held if span.name.startswith("GET")]
        assert {span.parent_span_id for span in held} == {"", root.span_id}


@pytest.fixture
def connection(starlette_url):
    parts = urlsplit(starlette_url)
    kept = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    yield kept
    kept.close()


def test_a_connection_that_is_kept_carries_nothing_into_the_next_request(connection, instrumented, arrived):
    instrumented(baggage_metadata=["tenant"])
    get_on(connection, "/items/1", HEADERS)
    get_on(connection, "/items/2")
    get_on(connection, "/streamed")
    spans = arrived(7)
    later = [span for span in spans if span.trace_id != CALLER.split("-")[1]]
    assert len(later) == 5
    assert len({span.trace_id for span in later}) == 2
    for span in later:
        assert not {"session.id", "trace.metadata.tenant"} & set(span.attributes)


def test_nor_does_one_that_is_at_work_still_after_its_answer(connection, gate, instrumented, arrived):
    """asyncio begins the next one in its context when its body was long enough to hold up reading (python/cpython#140947)."""
    instrumented(baggage_metadata=["tenant"])
    gate.opened.clear()
    try:
        connection.request("POST", "/large-and-slow", body=b"y" * LARGE, headers=HEADERS)
        with connection.getresponse() as response:
            assert len(response.read()) == LARGE
        get_on(connection, "/items/2")
    finally:
        gate.opened.set()
    root, call = sorted(arrived(2), key=lambda span: span.parent_span_id)
    assert (root.name, root.parent_span_id) == ("GET /items/{item:int}", "")
    for span in (root, call):
        assert span.trace_id != CALLER.split("-")[1]
        assert not {"session.id", "trace.metadata.tenant"} & set(span.attributes)


def test_a_task_after_the_answer_is_in_the_request(starlette_url, instrumented, traced):
    instrumented()
    get(f"{starlette_url}/background", {"x-session-id": "s-3"})
    root, (call,) = traced(2)
    assert (root.name, call.parent_span_id) == ("GET /background", root.span_id)
    assert call.end_ns <= root.end_ns


def test_a_task_that_the_request_does_not_wait_for_brings_its_root_along(starlette_url, gate, instrumented, traced):
    """Otherwise its span would hang below one that never arrives."""
    instrumented()
    gate.opened.clear()
    get(f"{starlette_url}/left-running", {"x-session-id": "s-4"})
    gate.opened.set()
    root, (call,) = traced(2)
    assert (root.name, call.parent_span_id) == ("GET /left-running", root.span_id)
    assert root.attributes["session.id"] == call.attributes["session.id"] == "s-4"


def test_requests_without_generations_send_nothing(starlette_url, instrumented, arrived):
    instrumented()
    get(f"{starlette_url}/quiet/1", HEADERS)
    arrived(0)
    assert llm_otel_broadcast.status().destinations[0].produced == 0


@pytest.mark.parametrize("path", ["/items/1", "/quiet/1", "/streamed", "/events", "/file", "/nowhere", "/failing"])
def test_an_answer_is_the_same_with_and_without_us(starlette_url, base_url, instrumented, path):
    instrumented()
    with asgi_served(starlette_app(Model(base_url))) as plain:
        assert get(f"{starlette_url}{path}", HEADERS) == get(f"{plain}{path}", HEADERS)


def test_it_does_nothing_before_instrument_and_after_uninstrument(starlette_url, instrumented, arrived):
    assert get(f"{starlette_url}/items/1").status == 200
    instrumented()
    get(f"{starlette_url}/items/1")
    assert [span.name for span in arrived(2)]
    llm_otel_broadcast.uninstrument()
    assert get(f"{starlette_url}/items/1").status == 200
    assert len(arrived()) == 2


def test_middleware_in_middleware_nests(base_url, instrumented, arrived):
    instrumented()
    app = within(starlette_app(Model(base_url)))
    with asgi_served(TraceMiddleware(app, trace_name="Outer")) as url:
        get(f"{url}/items/1", HEADERS)
    spans = {span.name: span for span in arrived(3)}
    assert spans["Outer"].trace_id == CALLER.split("-")[1]
    assert spans["GET /items/{item:int}"].parent_span_id == spans["Outer"].span_id
    assert spans[CALL].parent_span_id == spans["GET /items/{item:int}"].span_id
