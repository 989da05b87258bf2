"""Flask and Django as programs: gunicorn with processes and with threads, and uvicorn, until they are told to stop."""

from __future__ import annotations

import json
import sys
from itertools import count

import pytest

from llm_otel_broadcast.receiver import OtlpReceiver
from tests.support.web_servers import get, program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn needs POSIX")
CALL = "chat gpt-4o-mini"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
GUNICORN = ("gunicorn", "--bind", "127.0.0.1:PORT", "--log-level", "warning", "--graceful-timeout", "10")
UVICORN = ("uvicorn", "--port", "PORT", "--log-level", "warning")
_sessions = count()


def environment(receiver, base_url, **destination):
    return {
        "OPENAI_BASE_URL": base_url,
        "LLM_OTEL_BROADCAST_DESTINATIONS": json.dumps([{"endpoint": receiver.endpoint, **destination}]),
        "LLM_OTEL_BROADCAST_BAGGAGE_METADATA": "tenant",
    }


@pytest.fixture(scope="module")
def receiver():
    with OtlpReceiver() as running:
        yield running


def served(words):
    @pytest.fixture(scope="module")
    def url(receiver, base_url, tmp_path_factory):
        output = tmp_path_factory.mktemp("server") / "output.log"
        with program(words, environment(receiver, base_url, batch_delay=0.0), output) as running:
            yield running.url

    return url


django_wsgi = served([*GUNICORN, "--threads", "4", "tests.middleware.django_program:wsgi_app"])
django_asgi = served([*UVICORN, "--root-path", "/below", "tests.middleware.django_program:asgi_app"])


@pytest.fixture
def visited(receiver):
    """Make a request; return the root and the calls of its trace once they are there."""

    def visit(url, calls, **headers):
        session = f"session {next(_sessions)}"
        answer = get(url, {"x-session-id": session, **headers})

        def of_it(spans):
            return [span for span in spans if span.attributes.get("session.id") == session]

        spans = of_it(receiver.store.wait_for(lambda held: len(of_it(held)) > calls, 10))
        assert answer.status == 200
        assert len({span.trace_id for span in spans}) == 1
        (root,) = [span for span in spans if span.name != CALL]
        return root, [span for span in spans if span is not root]

    return visit


PAGES = [
    ("/items/4711/", "GET /items/<int:item>/", 1),
    ("/items/async/4711/", "GET /items/async/<slug:item>/", 1),
    ("/old/4711", "GET /^old/(?P<item>[0-9]+)$", 1),
    ("/streamed", "GET /streamed", 2),
    ("/async-streamed", "GET /async-streamed", 2),
]


@pytest.mark.parametrize(
    ("server", "path", "name", "calls"),
    [
        *(("django_wsgi", *page) for page in PAGES[:-1]),  # an asynchronous body is for ASGI
        *(("django_asgi", *page) for page in PAGES),
    ],
)
def test_a_django_request_is_a_root_called_by_method_and_route(request, visited, server, path, name, calls):
    """Sync and async views, plain and streamed, under both protocols."""
    url = request.getfixturevalue(server)
    root, made = visited(f"{url}{path}", calls, traceparent=CALLER, baggage="tenant=acme")
    assert (root.name, root.parent_span_id) == (name, CALLER.split("-")[2])
    for call in made:
        assert call.parent_span_id == root.span_id
        assert call.end_ns <= root.end_ns
    for span in (root, *made):
        assert span.trace_id == CALLER.split("-")[1]
        assert span.attributes["trace.metadata.tenant"] == "acme"
        assert "4711" not in str(span.attributes)


@pytest.mark.parametrize(
    "kind",
    [("--workers", "2"), ("--threads", "4"), ("--workers", "2", "--preload")],
    ids=["prefork", "threads", "preload"],
)
def test_no_span_is_lost_when_gunicorn_is_told_to_stop(kind, base_url, tmp_path):
    """Batches would wait for a minute: what is queued goes out when the workers end."""
    with OtlpReceiver() as receiver:
        words = [*GUNICORN, *kind, "tests.middleware.flask_program:app"]
        with program(words, environment(receiver, base_url, batch_delay=60.0), tmp_path / "output.log") as running:
            for number in range(10):
                assert get(f"{running.url}/items/{number}", {"x-session-id": f"s-{number}"}).status == 200
            assert len(get(f"{running.url}/streamed-with-context").body.splitlines()) == 2
            assert running.end() == 0, running.said()
        spans = receiver.store.spans()
    assert len(spans) == 23
    roots = {span.span_id: span for span in spans if span.name != CALL}
    assert sorted(span.name for span in roots.values()) == ["GET /items/<int:item>"] * 10 + [
        "GET /streamed-with-context"
    ]
    for span in spans:
        if span.name == CALL:
            root = roots[span.parent_span_id]
            assert (span.trace_id, span.attributes.get("session.id")) == (
                root.trace_id,
                root.attributes.get("session.id"),
            )
