"""Every way to start a program is traced, and so is everything that it starts itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import contextmanager
from urllib.request import urlopen

import pytest

from tests.support.deadlines import eventually
from tests.support.installed_programs import free_port, running
from tests.zero_code.programs import CALL, RUN, start

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")

APP = """
import os, openai
client = openai.OpenAI()

def call(said):
    fields = {"trace": {"pid": os.getpid(), "said": said}}
    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi"}], extra_body=fields)

def wsgi(environ, start_response):
    call("wsgi")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]

async def asgi(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    call("asgi")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""

CHILD = """
import multiprocessing, sys
from app import call

def work():
    call("child")

if __name__ == "__main__":
    call("parent")
    child = multiprocessing.get_context(sys.argv[1]).Process(target=work)
    child.start()
    child.join()
    sys.exit(child.exitcode)
"""

GRANDCHILD = """
import subprocess, sys
sys.exit(subprocess.call([sys.executable, "-c", "import subprocess, sys; sys.exit(subprocess.call(['python', 'call.py']))"]))
"""


@pytest.fixture
def project(tmp_path):
    """A directory with programs that know nothing of us."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "call.py").write_text(CALL)
    (tmp_path / "child.py").write_text(CHILD)
    (tmp_path / "grandchild.py").write_text(GRANDCHILD)
    (tmp_path / "test_call.py").write_text("def test_call():\n    import call\n")
    script = tmp_path / "script"
    script.write_text(f"#!{sys.executable}\n{CALL}")
    script.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    "program",
    [
        ("python", "call.py"),
        ("python", "-m", "call"),
        ("-m", "call"),
        pytest.param(("./script",), marks=needs_posix),
        ("python", "grandchild.py"),
        ("pytest", "-q", "-p", "no:cacheprovider", "test_call.py"),
    ],
    ids=lambda program: " ".join(program)[:30],
)
def test_a_program_is_traced_however_it_is_started(project, environment, receiver, program):
    without_plugins = {**environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = start(*RUN, *program, env=without_plugins, cwd=project)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert [span.name for span in receiver.store.spans()] == ["chat gpt-4o-mini"]


@pytest.mark.parametrize("method", ["spawn", pytest.param("fork", marks=needs_posix)])
def test_children_of_multiprocessing_are_traced(project, environment, receiver, method):
    done = start(*RUN, "python", "child.py", method, env=environment, cwd=project)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert sorted(span.attributes["trace.metadata.said"] for span in receiver.store.spans()) == ["child", "parent"]
    assert len({span.attributes["trace.metadata.pid"] for span in receiver.store.spans()}) == 2


@contextmanager
def served(project, environment, *command: str):
    """Run a server with the application; yields its address."""
    port = free_port()
    words = [word.replace("PORT", str(port)) for word in command]
    with running([*RUN, *words], f"http://127.0.0.1:{port}/", project, environment):
        yield f"http://127.0.0.1:{port}/"


def answering(url: str) -> Callable[[], bool]:
    """Return a question that makes a request; true when two processes have answered."""
    seen: set[bytes] = set()

    def ask() -> bool:
        with urlopen(url, timeout=10) as response:
            seen.add(response.read())
        return len(seen) == 2

    return ask


@needs_posix
@pytest.mark.parametrize(
    "command",
    [
        ("uvicorn", "app:asgi", "--port", "PORT", "--workers", "2", "--log-level", "warning"),
        ("gunicorn", "app:wsgi", "--bind", "127.0.0.1:PORT", "--workers", "2", "--preload"),
    ],
    ids=lambda command: command[0],
)
def test_every_worker_of_a_server_is_traced(project, environment, receiver, command):
    with served(project, environment, *command) as url:
        eventually(answering(url), 20, "both workers to answer")
        spans = receiver.store.wait_for(lambda held: len(processes(held)) == 2, 10)
    assert {span.name for span in spans} == {"chat gpt-4o"}
    assert len(processes(receiver.store.spans())) == 2


def processes(spans) -> set[object]:
    return {span.attributes["trace.metadata.pid"] for span in spans}
