"""Under real servers with real workers nothing is lost, and the examples do what they say."""

from __future__ import annotations

import ast
import shlex
import sys
from pathlib import Path

import pytest

from tests.backends.asking import eventually
from tests.backends.launching import free_port, running
from tests.middleware.serving import fetch
from tests.zero_code.starting import plainly

WEB = Path(__file__).parent.parent.parent / "examples" / "web"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")

FLASK = """
import os, openai, flask
from llm_otel_broadcast import instrument
from llm_otel_broadcast.middleware.wsgi import TraceMiddleware

instrument()
client = openai.OpenAI()
app = flask.Flask("app")

@app.get("/items/<number>")
def item(number):
    said = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": number}])
    return str(os.getpid())

app.wsgi_app = TraceMiddleware(app.wsgi_app, metadata=lambda _: {"pid": os.getpid()})
"""
DJANGO = """
import os, sys, openai
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from llm_otel_broadcast import instrument
from llm_otel_broadcast.middleware.wsgi import TraceMiddleware

instrument()
client = openai.OpenAI()

def item(request, number):
    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": number}])
    return HttpResponse(str(os.getpid()))

urlpatterns = [path("items/<number>", item)]
settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="x", ROOT_URLCONF=__name__, MIDDLEWARE=[])
app = TraceMiddleware(get_wsgi_application(), metadata=lambda _: {"pid": os.getpid()})
"""
REQUESTS = 8


@pytest.fixture
def environment(stand_in, receiver) -> dict[str, str]:
    return plainly(
        OPENAI_API_KEY="sk-test", OPENAI_BASE_URL=stand_in.base_url, LLM_OTEL_BROADCAST_ENDPOINT=receiver.endpoint
    )


@pytest.mark.parametrize("workers", [("--workers", "2", "--preload"), ("--threads", "4")], ids=["prefork", "threads"])
@pytest.mark.parametrize("source", [FLASK, DJANGO], ids=["flask", "django"])
def test_every_request_of_every_worker_of_gunicorn_arrives(source, workers, environment, receiver, tmp_path):
    (tmp_path / "app.py").write_text(source)
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "app:app", "--bind", f"127.0.0.1:{port}", *workers]
    answered = []

    def answering() -> bool:
        answered.append(fetch(port, "/items/7").body)
        return len(answered) >= REQUESTS and len(set(answered)) == (2 if "--preload" in workers else 1)

    with running(command, f"http://127.0.0.1:{port}/ready", tmp_path, environment, status=404):
        eventually(answering, 45, "every worker to answer")
    spans = receiver.store.spans()
    roots = [span for span in spans if span.name == "GET /items/<number>"]
    calls = {span.parent_span_id for span in spans if span.name == "chat gpt-4o"}
    assert len(roots) == len(answered) == len(spans) / 2
    assert {span.span_id for span in roots} == calls
    assert {str(span.attributes["trace.metadata.pid"]).encode() for span in spans} == set(answered)


@pytest.mark.parametrize(
    ("example", "route"), [("fastapi_app.py", "/answers/{user_id}"), ("flask_app.py", "/answers/<user_id>")]
)
def test_an_example_is_traced_when_it_is_started_as_it_says(example, route, environment, receiver, tmp_path):
    documented = ast.get_docstring(ast.parse((WEB / example).read_text(encoding="utf-8"))) or ""
    (line,) = [line.strip() for line in documented.splitlines() if line.startswith(("    uvicorn", "    gunicorn"))]
    port = free_port()
    program, *words = shlex.split(line.replace("examples/web", str(WEB)))
    bind = ("--port", port) if program == "uvicorn" else ("--bind", f"127.0.0.1:{port}")
    command = [sys.executable, "-m", program, *words, *map(str, bind)]
    with running(command, f"http://127.0.0.1:{port}/ready", tmp_path, environment, status=404):
        assert fetch(port, "/answers/42?question=Hello", {"x-session-id": "session_abc"}).status == 200
    root, call = sorted(receiver.store.spans(), key=lambda span: span.start_ns)
    assert (root.name, call.parent_span_id) == (f"GET {route}", root.span_id)
    for span in (root, call):
        assert (span.attributes["user.id"], span.attributes["session.id"]) == ("42", "session_abc")
