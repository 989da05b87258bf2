"""A request is a context: its generations hang below one root, named after method and route (pains.md, P3)."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import baggage

from tests.middleware import apps
from tests.middleware.serving import connected, fetch

CALL = "chat gpt-4o-mini"
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"}


def root_of(spans):
    """Return the one root, having seen that everything else hangs below it."""
    (root,) = [span for span in spans if span.name != CALL]
    for span in spans:
        if span is not root:
            assert (span.trace_id, span.parent_span_id) == (root.trace_id, root.span_id)
            assert root.start_ns <= span.start_ns <= span.end_ns <= root.end_ns
    return root


def test_a_generation_hangs_below_its_request(framework, served, instrumented, arrived):
    instrumented()
    with served(framework) as port:
        assert fetch(port, "/items/17").body.startswith(b"17 Hello!")
    root = root_of(arrived(2))
    assert (root.name, root.parent_span_id) == (f"GET {apps.ITEM[framework]}", "")
    assert root.attributes["trace.name"] == root.name


def test_a_route_below_another_is_named_in_full(framework, served, instrumented, arrived):
    instrumented()
    with served(framework) as port:
        fetch(port, "/below/items/17")
    assert root_of(arrived(2)).name == f"GET /below{apps.ITEM[framework]}"


def test_a_path_without_a_route_is_not_named(framework, served, instrumented, arrived):
    instrumented()
    with served(framework) as port:
        assert fetch(port, "/secret/17").status == 404
    assert root_of(arrived(2)).name == "GET"


def test_calls_made_while_the_body_is_produced_are_inside(framework, served, instrumented, arrived):
    instrumented()
    with served(framework) as port:
        assert fetch(port, "/stream/17").body.count(b"Hello!") == 2
    root = root_of(arrived(3))
    assert root.name == f"GET {apps.ITEM[framework].replace('items', 'stream')}"


def test_a_request_without_generations_sends_nothing(framework, served, instrumented, arrived):
    instrumented()
    with served(framework) as port:
        assert fetch(port, "/quiet").body == b"quiet"
    arrived(0)


def test_an_error_that_leaves_the_application_is_on_the_root(served, instrumented, arrived):
    instrumented()
    with served("starlette") as port:
        assert fetch(port, "/broken/17").status == 500
    root = root_of(arrived(2))
    assert (root.status_code, root.attributes["error.type"]) == (2, "ValueError")


def test_an_error_that_the_framework_answers_is_its_business(served, instrumented, arrived):
    instrumented()
    with served("flask") as port:
        assert fetch(port, "/broken/17").status == 500
    assert root_of(arrived(2)).status_code == 0


@pytest.mark.parametrize("path", ["/items/17", "/stream/17", "/quiet", "/secret", "/broken/17"])
def test_the_answer_is_the_same_with_us_and_without_us(framework, path, served, instrumented):
    with served(framework, traced=False) as port:
        plain = fetch(port, path)
    with served(framework) as port:
        assert fetch(port, path) == plain
        instrumented()
        assert fetch(port, path) == plain


def test_session_user_and_metadata_are_on_every_span(framework, served, instrumented, arrived):
    seen = []

    def user(request):
        seen.append(request)
        return "user_1"

    instrumented()
    with served(framework, user=user, metadata=lambda _: {"plan": "pro", "generation_name": CALL}) as port:
        fetch(port, "/stream/17", {"X-Session-Id": "session_1"})
    spans = arrived(3)
    root_of(spans)
    for span in spans:
        said = [span.attributes[key] for key in ("session.id", "user.id", "trace.metadata.plan")]
        assert said == ["session_1", "user_1", "pro"]
    assert len(seen) == 1
    assert "REQUEST_METHOD" in seen[0] if framework in apps.WSGI else seen[0]["type"] == "http"


def test_a_user_that_is_found_late_is_on_the_calls_that_follow(served, instrumented, arrived):
    users = iter([None, "user_1"])
    instrumented()
    with served("flask", user=lambda _: next(users)) as port:
        fetch(port, "/stream/17")
    first, second = (span for span in sorted(arrived(3), key=lambda span: span.start_ns) if span.name == CALL)
    assert ("user.id" in first.attributes, second.attributes["user.id"]) == (False, "user_1")


@pytest.mark.parametrize("name", ["Chat Handler", lambda request: "Chat Handler"], ids=["text", "function"])
def test_a_trace_name_of_ones_own_takes_the_place_of_the_route(framework, name, served, instrumented, arrived):
    instrumented()
    with served(framework, trace_name=name) as port:
        fetch(port, "/items/17")
    assert root_of(arrived(2)).name == "Chat Handler"


def test_functions_that_fail_leave_the_request_alone_and_are_said_once(
    framework, served, instrumented, arrived, caplog
):
    words = "words of a prompt"  # a traceback shows the line that raises

    def fail(_request):
        raise ValueError(words)

    instrumented()
    with caplog.at_level(logging.WARNING, "llm_otel_broadcast"):
        with served(framework, user=fail, metadata=fail, trace_name=fail) as port:
            for _ in range(2):
                assert fetch(port, "/items/17").status == 200
        assert {span.name for span in arrived(4)} == {CALL, f"GET {apps.ITEM[framework]}"}
    said = [record.getMessage() for record in caplog.records if record.name == "llm_otel_broadcast"]
    assert sorted(line.split("=")[0] for line in said) == ["metadata", "trace_name", "user"]
    assert words not in caplog.text


@pytest.mark.parametrize("told", [["a", "list"], {"trace_id": "mine"}], ids=["list", "trace_id"])
def test_metadata_that_cannot_be_is_left_out(told, served, instrumented, arrived, caplog):
    instrumented()
    with served("flask", metadata=lambda _: told) as port:
        assert fetch(port, "/items/17").status == 200
    root_of(arrived(2))
    assert "metadata= of TraceMiddleware failed (TypeError)" in caplog.text


def test_the_callers_span_is_what_the_root_hangs_below(framework, served, instrumented, arrived):
    instrumented()
    with served(framework) as port:
        fetch(port, "/items/17", TRACEPARENT)
    root = root_of(arrived(2))
    assert (root.trace_id, root.parent_span_id) == (TRACE_ID, SPAN_ID)


@pytest.mark.parametrize("wrong", ["", "00-0-0-01", "ü", f"00-{'0' * 32}-{SPAN_ID}-01"])
def test_a_traceparent_that_is_none_is_passed_over(framework, wrong, served, instrumented, arrived):
    instrumented()
    with served(framework) as port:
        fetch(port, "/items/17", {"traceparent": wrong})
    assert root_of(arrived(2)).parent_span_id == ""


def test_baggage_of_the_caller_becomes_metadata_where_it_is_asked_for(framework, served, instrumented, arrived):
    instrumented(baggage_metadata=["tenant"])
    with served(framework) as port:
        fetch(port, "/items/17", {"baggage": "tenant=acme,other=secret"})
    for span in arrived(2):
        assert span.attributes["trace.metadata.tenant"] == "acme"
        assert "secret" not in str(span.attributes)


def test_nothing_of_a_request_is_left_for_the_next_one_on_its_connection(framework, served, instrumented, arrived):
    instrumented(baggage_metadata=["tenant"])
    with served(framework, user=lambda _: None) as port, connected(port) as connection:
        fetch(port, "/stream/1", {**TRACEPARENT, "baggage": "tenant=acme", "x-session-id": "one"}, over=connection)
        if framework in apps.WSGI:  # this server knows no second one
            connection.close()
        fetch(port, "/items/2", over=connection)
    spans = sorted(arrived(5), key=lambda span: span.start_ns)
    root = root_of([span for span in spans if span.trace_id != TRACE_ID])
    assert (root.parent_span_id, "session.id" in root.attributes) == ("", False)
    assert "trace.metadata.tenant" not in root.attributes


def test_many_requests_at_once_do_not_mix(framework, served, instrumented, arrived):
    instrumented()
    with served(framework) as port, ThreadPoolExecutor(10) as pool:
        headers = [{"x-session-id": f"s{number}"} for number in range(50)]
        assert {answer.status for answer in pool.map(lambda one: fetch(port, "/items/1", one), headers)} == {200}
    spans = arrived(100)
    assert len({span.trace_id for span in spans}) == 50
    for trace_id in {span.trace_id for span in spans}:
        pair = [span for span in spans if span.trace_id == trace_id]
        root_of(pair)
        assert len({span.attributes["session.id"] for span in pair}) == 1
    assert len({span.attributes["session.id"] for span in spans}) == 50


def test_nothing_is_left_in_the_context(served, instrumented, kit, arrived):
    """A WSGI application is called in the thread of whoever calls it."""
    from opentelemetry import context

    from llm_otel_broadcast.fields.scope import current_scope
    from llm_otel_broadcast.middleware.wsgi import TraceMiddleware

    instrumented()
    before = context.get_current()
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/stream/1", "SERVER_NAME": "x", "SERVER_PORT": "1"}
    environ |= {"wsgi.url_scheme": "http", "HTTP_BAGGAGE": "a=b"}
    body = TraceMiddleware(apps.flask(kit))(environ, lambda *_: None)
    for _ in body:
        assert (context.get_current(), current_scope(), baggage.get_all()) == (before, None, {})
    body.close()
    assert (context.get_current(), current_scope()) == (before, None)
    arrived(3)
