"""Resource detectors of a whole fleet (`OTEL_EXPERIMENTAL_RESOURCE_DETECTORS`): one that hangs or fails holds nothing up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from opentelemetry.sdk import resources

DETECTORS = """
import os, time
from opentelemetry.sdk.resources import Resource, ResourceDetector

class Sound(ResourceDetector):
    def detect(self):
        return Resource({"sound": "yes", "service.name": "of the detector"})

class Hanging(ResourceDetector):
    def detect(self):
        time.sleep(1_000)

class Raising(ResourceDetector):
    def __init__(self):
        super().__init__(raise_on_error=True)
    def detect(self):
        raise ConnectionError("no metadata server, and a secret")

class Exiting(ResourceDetector):
    def detect(self):
        raise SystemExit(3)

class Odd(ResourceDetector):
    def detect(self):
        return "text"
"""
HEAD = """
import os, sys, time, openai, llm_otel_broadcast
from llm_otel_broadcast import Destination
base_url, endpoint = sys.argv[1:]
llm_otel_broadcast.instrument(destinations=[Destination(endpoint=endpoint, batch_delay=0.0)])
with openai.OpenAI(api_key="x", base_url=base_url) as client:
    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi"}])
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Install a package with the detectors into a folder."""
    info = tmp_path / "fleet-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fleet\nVersion: 1.0\n")
    names = ("sound", "hanging", "raising", "exiting", "odd")
    points = "".join(f"{name} = fleet:{name.title()}\n" for name in names)
    (info / "entry_points.txt").write_text(f"[opentelemetry_resource_detector]\n{points}")
    (tmp_path / "fleet.py").write_text(DETECTORS)

    return tmp_path


def environment(folder: Path, detectors: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return {
        **os.environ,
        "PYTHONPATH": path,
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": detectors,
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
    }


def started(program: str, *arguments: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=environ,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def fleet(installed):
    """Run a program with these detectors; return what it printed."""

    def run(program: str, detectors: str, *, named: bool) -> str:
        name = {"OTEL_SERVICE_NAME": "of the environment"} if named else {}
        return started(program, environ={**environment(installed, detectors), **name}).stdout

    return run


@pytest.fixture
def run(installed, stand_in, receiver):
    """Run a traced program with these detectors; return what it printed, what it logged, and how long it took."""

    def run(detectors: str, program: str = "assert llm_otel_broadcast.flush(20)") -> tuple[str, str, float]:
        environ = {**environment(installed, detectors), "OTEL_SERVICE_NAME": "of the environment"}
        begun = time.monotonic()
        done = started(HEAD + program, stand_in.base_url, receiver.endpoint, environ=environ)
        return done.stdout, done.stderr, time.monotonic() - begun

    return run


def resource(receiver) -> dict[str, object]:
    (span,) = receiver.store.spans()
    return dict(span.resource)


@pytest.mark.parametrize("name", ["hanging", "raising", "exiting", "odd", "missing"])
def test_a_detector_that_fails_is_left_out_and_said_and_the_rest_holds(run, receiver, name):
    """One that raised had every generation of the process lost."""
    _, log, _ = run(f"{name},sound")
    attributes = resource(receiver)
    assert attributes["sound"] == "yes"
    assert attributes["service.name"] == "of the environment"
    assert attributes["deployment.environment.name"] == "test"
    assert attributes["telemetry.sdk.name"] == "opentelemetry"
    assert log.count(f"'{name}'") == 1
    assert "secret" not in log


def test_a_program_ends_in_time_with_a_detector_that_hangs(run, receiver):
    """It waited for the detector: 27 s, or for ever."""
    printed, _, _ = run(
        "hanging",
        """
begun = time.monotonic()
llm_otel_broadcast.shutdown()
print(time.monotonic() - begun)
""",
    )
    assert float(printed) < 5
    assert resource(receiver)["service.name"] == "of the environment"


def test_the_end_of_the_process_does_not_wait_for_a_detector(run, receiver):
    _, _, seconds = run("hanging", "")
    assert seconds < 25
    assert resource(receiver)["service.name"] == "of the environment"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_does_not_wait_for_a_detector(run, receiver):
    """It waited 5 s, as the detectors ran under the lock that keeps forks and imports apart."""
    printed, _, _ = run(
        "hanging",
        """
import threading
deadline = time.monotonic() + 10
while not any("detector" in thread.name for thread in threading.enumerate()) and time.monotonic() < deadline:
    time.sleep(0.01)
begun = time.monotonic()
child = os.fork()
if not child:
    os._exit(0)
print(time.monotonic() - begun)
os.waitpid(child, 0)
assert llm_otel_broadcast.flush(20)
""",
    )
    assert float(printed) < 1


def test_all_destinations_ask_the_detectors_once(run, receiver):
    """Each lane asked by itself, and said the same of each."""
    _, log, _ = run(
        "raising",
        """
llm_otel_broadcast.instrument(destinations=[Destination(name=n, endpoint=endpoint, batch_delay=0.0) for n in "abc"])
with openai.OpenAI(api_key="x", base_url=base_url) as client:
    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi"}])
assert llm_otel_broadcast.flush(20)
""",
    )
    assert log.count("'raising'") == 1
    assert len(receiver.store.spans()) == 4


WHERE_ALL_BEHAVE = """
import json, sys
from opentelemetry.sdk.resources import Resource
from llm_otel_broadcast.wire.detectors import default_resource
ours, theirs = default_resource(), Resource.create()
assert ours.schema_url == theirs.schema_url, (ours.schema_url, theirs.schema_url)
print(json.dumps([dict(ours.attributes), dict(theirs.attributes)], default=list))
"""


@pytest.mark.parametrize("detectors", ["", "sound", "sound,otel", " sound , process,os", "sound,sound,,"])
@pytest.mark.parametrize("named", [True, False])
def test_where_all_detectors_behave_the_resource_is_opentelemetrys_own(fleet, detectors, named):
    """`Resource.create()`, of whichever release is installed; which name wins is a matter of chance in releases that ask a set."""
    ours, theirs = json.loads(fleet(WHERE_ALL_BEHAVE, detectors, named=named))
    detected = "of the detector" if "sound" in detectors else theirs["service.name"].partition(":")[0]
    name = ours.pop("service.name")
    assert name.partition(":")[0] == ("of the environment" if named else detected)
    assert theirs.pop("service.name") in (name, "of the detector", "unknown_service")
    assert ours == theirs


def test_a_star_means_every_detector_that_is_installed(run, receiver):
    """Those among them that fail are left out, like any."""
    _, log, _ = run("*")
    attributes = resource(receiver)
    assert attributes["sound"] == "yes"
    assert attributes["service.name"] == "of the environment"
    assert "process.pid" in attributes
    assert {name for name in ("hanging", "raising", "exiting", "odd", "sound") if f"'{name}'" in log} == {
        "hanging",
        "raising",
        "exiting",
        "odd",
    }


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_has_one_instance_at_all_destinations_and_a_forked_child_another(run, receiver):
    """`service.instance.id`, which newer releases of the SDK have; older ones tell processes apart by their id."""
    run(
        "process",
        """
names = "ab"
llm_otel_broadcast.instrument(destinations=[Destination(name=n, endpoint=endpoint, batch_delay=0.0) for n in names])
def call(model):
    with openai.OpenAI(api_key="x", base_url=base_url) as client:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}])
    assert llm_otel_broadcast.flush(20)
call("parent")
child = os.fork()
if not child:
    call("child")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
call("parent")
""",
    )
    instances: dict[str, set[object]] = {}
    for span in receiver.store.spans():
        key = "service.instance.id" if "service.instance.id" in span.resource else "process.pid"
        instances.setdefault(span.name, set()).add(span.resource[key])
    # The first call of all is that of `run` itself, by the same process.
    assert instances["chat parent"] == instances["chat gpt-4o"]
    assert [len(found) for found in instances.values()] == [1, 1, 1]
    assert instances["chat child"] != instances["chat parent"]


@pytest.mark.parametrize("detectors", ["", "sound"])
def test_what_another_lane_imports_takes_no_time_of_a_detectors(fleet, detectors):
    """On a busy machine that took longer than detectors have, and the instance's id was left out."""
    printed = fleet(
        """
import threading, time
from llm_otel_broadcast.host.import_lock import importing
from llm_otel_broadcast.wire.detectors import TIMEOUT_S, default_resource

is_importing = threading.Event()

def other_lane():
    with importing:
        is_importing.set()
        time.sleep(TIMEOUT_S + 0.5)

threading.Thread(target=other_lane).start()
is_importing.wait()
print(sorted(default_resource().attributes))
""",
        detectors,
        named=True,
    )
    names = ["sound"] if detectors else ["service.name"]
    if hasattr(resources, "ServiceInstanceIdResourceDetector"):
        names.append("service.instance.id")
    assert [name for name in names if f"'{name}'" not in printed] == []
