"""The end of a process: bounded, with its own exit code, and nothing left behind that could still go out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from llm_otel_broadcast.receiver import OtlpReceiver
from tests.support import broken_backends
from tests.support.broken_backends import backend, refusing
from tests.support.stand_in.server import StandIn

pytestmark = [pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"), pytest.mark.timeout(120)]

# Who waits for that long, waits for nothing: a busy machine needs seconds to deliver a first call.
LIVE_TIMEOUT_S = 20.0
DEAD_TIMEOUT_S = 2.0
MARGIN_S = 4.0
LIVE = {
    "falls off its end": "",
    "exits with 3": "sys.exit(3)",
    "raises": "raise ValueError('of the program')",
    "is interrupted": "os.kill(os.getpid(), signal.SIGINT); time.sleep(5)",
    "exits in a handler": "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); os.kill(os.getpid(), signal.SIGTERM)",
    "has changed its settings": "handle and llm_otel_broadcast.instrument(destinations=[], exit_timeout=5.0)",
}
DEAD = {"exits with 3 and dead destinations": "sys.exit(3)"}
GONE = {"is terminated": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)", "leaves at once": "os._exit(4)"}

# The imports are made once, and each ending has two forks of its own: one is not instrumented and shows what is usual.
PROGRAM = """
import json, os, signal, sys, time
import openai
import llm_otel_broadcast
from llm_otel_broadcast import Destination

asked = json.loads(sys.argv[1])
openai.OpenAI(api_key="x").chat.completions
told = {}
for name, (ending, endpoints, exit_timeout) in asked["endings"].items():
    codes = []
    for instrumented in (False, True):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            break
        os.close(writing)
        begun = float(os.read(reading, 100))
        _, status = os.waitpid(child, 0)
        codes.append(os.waitstatus_to_exitcode(status))
    if not child:
        break
    told[name] = (*codes, time.monotonic() - begun)
else:
    print(json.dumps(told))
    sys.exit()

os.dup2(os.open(os.path.join(asked["directory"], name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
handle = instrumented and llm_otel_broadcast.instrument(
    destinations=[Destination(name=str(number), endpoint=endpoint) for number, endpoint in enumerate(endpoints)],
    exit_timeout=exit_timeout,
)
if instrumented:
    client = openai.OpenAI(api_key="x", base_url=asked["base_url"])
    client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hi"}])
os.write(writing, str(time.monotonic()).encode())
exec(ending)
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """End all ways; return exit code, seconds and standard error of each, and the names of what arrived."""
    directory = tmp_path_factory.mktemp("stderr")
    with (
        StandIn() as stand_in,
        OtlpReceiver() as receiver,
        backend(broken_backends.hangs) as hanging,
        backend(broken_backends.drips_headers) as dripping,
    ):
        live = [receiver.endpoint]
        dead = [refusing(), hanging.endpoint, dripping.endpoint, receiver.endpoint]
        endings = {name: (code, live, LIVE_TIMEOUT_S) for name, code in (LIVE | GONE).items()}
        endings |= {name: (code, dead, DEAD_TIMEOUT_S) for name, code in DEAD.items()}
        asked = {
            "endings": endings,
            "directory": str(directory),
            "base_url": stand_in.base_url,
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(asked)], capture_output=True, text=True, timeout=110, check=False
        )
        assert done.returncode == 0, done.stderr
        told = {name: (*codes, (directory / name).read_text()) for name, codes in json.loads(done.stdout).items()}
        return told, [span.name.removeprefix("chat ") for span in receiver.store.spans()]


@pytest.mark.parametrize("name", LIVE)
def test_a_program_with_one_call_delivers_it_however_it_ends(ended, name):
    told, arrived = ended
    usual, code, seconds, errors = told[name]
    assert code == usual
    assert arrived.count(name) == 1
    assert seconds < LIVE_TIMEOUT_S
    # that settings without a destination send nowhere is said
    assert "llm" not in "".join(line for line in errors.splitlines() if "nowhere to send" not in line)
    assert ("Traceback" in errors) == (name in ("raises", "is interrupted"))


@pytest.mark.parametrize("name", DEAD)
def test_dead_destinations_hold_the_end_up_for_no_longer_than_exit_timeout(ended, name):
    """One refuses, one hangs, one drips, and the live one gets what it should."""
    told, arrived = ended
    usual, code, seconds, errors = told[name]
    assert code == usual
    assert DEAD_TIMEOUT_S - 0.1 < seconds < DEAD_TIMEOUT_S + MARGIN_S
    assert arrived.count(name) == 1
    assert errors.count("dropped (stopped") + errors.count("no answer for 1 generation(s)") == 3
    assert "Fatal" not in errors


@pytest.mark.parametrize("name", GONE)
def test_a_program_that_goes_without_ceremony_goes_at_once(ended, name):
    told, _ = ended
    usual, code, seconds, errors = told[name]
    assert (code, errors) == (usual, "")
    assert seconds < LIVE_TIMEOUT_S


def test_the_usual_exit_codes_are_the_ones_we_think_of(ended):
    told, _ = ended
    usual = {name: codes[0] for name, codes in told.items()}
    assert usual["exits with 3"] == 3
    assert usual["exits in a handler"] == 5
    assert usual["is terminated"] == -signal.SIGTERM
