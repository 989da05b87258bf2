"""What state of the whole process does around a fork."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import llm_otel_broadcast
from llm_otel_broadcast.host import forks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no forks")


def in_child(report):
    """Fork; return what the child reports."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, report().encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


@pytest.fixture
def steps(monkeypatch):
    """The steps that ran, in their order; registered for this test alone."""
    for name in ("_before_fork", "_in_parent", "_in_child"):
        monkeypatch.setattr(forks, name, list(getattr(forks, name)))
    return []


def test_steps_run_in_the_order_of_registration_and_those_before_a_fork_the_other_way_round(steps):
    for name in ("lock", "user"):
        forks.around_fork(
            before_fork=lambda name=name: steps.append(f"before {name}"),
            in_parent=lambda name=name: steps.append(f"{name} in parent"),
            in_child=lambda name=name: steps.append(f"{name} in child"),
        )
    forks.begin_anew_in_child(lambda: steps.append("book in child"))
    child = in_child(lambda: ", ".join(steps))
    assert child == "before user, before lock, lock in child, user in child, book in child"
    assert steps == ["before user", "before lock", "lock in parent", "user in parent"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_step_that_fails_does_not_keep_the_others_from_running(steps):
    forks.begin_anew_in_child(lambda: steps.append("first"))
    forks.begin_anew_in_child(lambda: 1 / 0)
    forks.begin_anew_in_child(lambda: steps.append("last"))
    assert in_child(lambda: ", ".join(steps)) == "first, last"


def test_one_file_alone_registers_with_python():
    package = Path(llm_otel_broadcast.__file__).parent
    registering = [path.name for path in package.rglob("*.py") if "os.register_at_fork(" in path.read_text("utf-8")]
    assert registering == ["forks.py"]


def test_what_is_registered_goes_when_the_interpreter_drops_our_modules():
    """It keeps its fork hooks longest of all, and with them, by the globals of their modules, all of the client library."""
    program = (
        "import os, sys\n"
        "from llm_otel_broadcast.host.forks import begin_anew_in_child\n"
        "class Step:\n"
        "    def __call__(self): pass\n"
        # What `sys` holds is cleared after the modules, and before the hooks.
        "    def __del__(self, write=os.write, system=vars(sys)):\n"
        "        write(1, b'early' if system.get('modules') is not None else b'late')\n"
        "begin_anew_in_child(Step())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "early"
