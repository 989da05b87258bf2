"""The functions in docs/serverless.md, run as their platforms run them: frozen as soon as they have returned."""

from __future__ import annotations

import re
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from llm_otel_broadcast.stand_in.answers import error
from tests.faults.frozen_program import FrozenProgram
from tests.faults.server import Fault, FaultServer
from tests.support import broken_backends
from tests.support.stand_in.server import StandIn

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")

DOCS = (Path(__file__).parents[2] / "docs" / "serverless.md").read_text(encoding="utf-8")
LAMBDA, CLOUD = re.findall(r"^```python\n# \w+\.py\n(.*?)^```$", DOCS, re.DOTALL | re.MULTILINE)
FROZEN_S = 0.1

# What the platforms have around a function: a loop that calls it, and the objects that it is called with.
RUNTIME = """
import json, sys, time
import flask
import function

app = flask.Flask(__name__)
app.add_url_rule("/answer", "answer", lambda: function.answer(flask.request), methods=["POST"])
app.add_url_rule("/stream", "stream", lambda: function.stream(flask.request), methods=["POST"])

class Context:
    def __init__(self, seconds):
        self.deadline = time.monotonic() + seconds

    def get_remaining_time_in_millis(self):
        return int((self.deadline - time.monotonic()) * 1000)

def invoke(seconds, **event):
    return function.lambda_handler(event, Context(seconds))

def post(path, **content):
    return app.test_client().post(path, json=content).get_data(as_text=True)

def fail(**event):
    try:
        return invoke(**event)
    except Exception as error:
        return type(error).__name__

for line in sys.stdin:
    name, arguments = json.loads(line)
    print(json.dumps(globals()[name](**arguments)), flush=True)
"""


@pytest.fixture(scope="module")
def stand_in():
    with StandIn() as running:
        yield running


@pytest.fixture(scope="module")
def backend():
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="module")
def start(tmp_path_factory, stand_in, backend):
    """Run the code of functions as it stands in the docs, once for all tests."""
    with ExitStack() as programs:

        def start(code):
            directory = tmp_path_factory.mktemp("function")
            (directory / "function.py").write_text(code, encoding="utf-8")
            (directory / "runtime.py").write_text(RUNTIME, encoding="utf-8")
            environment = {
                "OPENAI_API_KEY": "sk-test",
                "OPENAI_BASE_URL": stand_in.base_url,
                "LLM_OTEL_BROADCAST_ENDPOINT": backend.endpoint,
                "NO_PROXY": "127.0.0.1",
            }
            return programs.enter_context(FrozenProgram("runtime.py", environment=environment, directory=directory))

        yield start


@pytest.fixture(scope="module")
def lambda_function(start):
    return start(LAMBDA)


@pytest.fixture(scope="module")
def cloud_function(start):
    return start(CLOUD)


@pytest.fixture
def destination(backend):
    backend.store.clear()
    return backend


def test_every_invocation_has_sent_all_it_recorded_when_it_is_frozen(lambda_function, destination):
    for number in (1, 2, 3):
        answer = lambda_function.run("invoke", seconds=30.0, text="Hello", user="u-1")
        with lambda_function.frozen():
            assert answer["statusCode"] == 200
            assert len(destination.store.spans()) == number
            time.sleep(FROZEN_S)
    assert set(destination.taken().values()) == {1}
    assert {span.attributes["user.id"] for span in destination.store.spans()} == {"u-1"}


def test_an_invocation_that_fails_has_sent_its_record_and_fails_as_ever(lambda_function, stand_in, destination):
    stand_in.script(error(400, "no"))
    assert lambda_function.run("fail", seconds=30.0, text="Hello") == "BadRequestError"
    with lambda_function.frozen():
        (span,) = destination.store.spans()
        assert span.attributes["error.type"]


def test_a_dead_backend_costs_an_invocation_no_more_than_its_bound_and_the_next_one_sends_both(
    lambda_function, destination
):
    destination.become(Fault("hangs", broken_backends.hangs))
    began = time.monotonic()
    assert lambda_function.run("invoke", seconds=0.7, text="Hello")["statusCode"] == 200
    assert time.monotonic() - began < 5.0
    with lambda_function.frozen():
        assert destination.store.spans() == []
        # Its request is lost with the connection.
        destination.become(Fault("is down", broken_backends.hangs, listens=False))
        destination.heal()
    lambda_function.run("invoke", seconds=30.0, text="Hello")
    with lambda_function.frozen():
        assert len(destination.store.spans()) == 2
    assert set(destination.taken().values()) == {1}


@pytest.mark.parametrize("path", ["/answer", "/stream"])
def test_a_request_has_sent_all_it_recorded_when_its_answer_is_out(cloud_function, destination, path):
    for number in (1, 2):
        assert cloud_function.run("post", path=path, text="Hello")
        with cloud_function.frozen():
            assert len(destination.store.spans()) == number
            time.sleep(FROZEN_S)
    assert set(destination.taken().values()) == {1}
