"""Programs that gevent or eventlet patches, at whatever moment: every call arrives, nothing waits for good."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from textwrap import dedent

import pytest

from tests.support import broken_backends
from tests.support.broken_backends import backend
from tests.support.web_servers import get, program

# On a busy machine each of these programs may take a minute.
pytestmark = [pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"), pytest.mark.timeout(180)]

GUNICORN = ("gunicorn", "--bind", "127.0.0.1:PORT", "--log-level", "warning", "--graceful-timeout", "10")
DEADLINE_S = 120.0
EXIT_TIMEOUT_S = 2.0
MARGIN_S = 20.0
"""The machine may be busy; who waits for the destination waits for a minute."""
PATCHES = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    # without what it does to locks that are there already, which hangs or fails once openai has been imported, also without us
    "eventlet": ("import eventlet; eventlet.patcher._green_existing_locks = lambda *_: None; eventlet.monkey_patch()"),
}
MOMENTS = ("before the import", "after the import", "after instrument()", "after the first call", "after a fork")
PROGRAM = """
import os, sys, threading, time, warnings
warnings.simplefilter("ignore")
# eventlet's sockets lack what trio looks for as it is imported, which httpx does where it is installed
sys.modules["trio"] = None
base_url, endpoint, moment, library, patch = sys.argv[1:]
def at(now):
    if now == moment:
        exec(patch)
at("before the import")
import openai
import llm_otel_broadcast
at("after the import")
llm_otel_broadcast.instrument(endpoint=endpoint, timeout=60.0, exit_timeout=2.0)
# a client for each call: the locks of one that was made before are not those of greenlets
def call(name):
    with openai.OpenAI(api_key="x", base_url=base_url, max_retries=0) as client:
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hi"}])
at("after instrument()")
if moment == "after the first call":
    call("0")
    at(moment)
if moment == "after a fork":
    child = os.fork()
    if child:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    at(moment)
"""
CALLS = """
threads = [threading.Thread(target=call, args=(str(number),)) for number in range(1, 5)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("flushed", llm_otel_broadcast.flush(10.0), flush=True)
call("5")
status = llm_otel_broadcast.status()
print(status.internal_errors, status.destinations[0].dropped, flush=True)
"""


def needs(library):
    # not imported: eventlet changes `os.fork` of the process that imports it, which is all other tests' here
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"needs {library}")


@cache
def is_patched_late(library):
    """Return whether a program without us survives a patch that comes after the client: gevent and openai 1.40 do not agree."""
    control = f"import sys; sys.modules['trio'] = None; import openai; {PATCHES[library]}"
    return not subprocess.run([sys.executable, "-c", control], capture_output=True, timeout=60, check=False).returncode


def run(library, moment, program, base_url, endpoint, deadline_s=DEADLINE_S):
    """Run a program that the library patches at this moment; return when it has ended (monotonic), and standard output."""
    needs(library)
    words = [sys.executable, "-c", PROGRAM + dedent(program), base_url, endpoint, moment, library, PATCHES[library]]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=deadline_s, check=True)
    except subprocess.SubprocessError as error:
        # Only now, as the question costs another program.
        if moment != "before the import" and not is_patched_late(library):
            pytest.skip(f"{library} cannot patch a program that has imported this openai, with us or without us")
        raise AssertionError(error.stderr) from error
    assert "Traceback" not in done.stderr
    return time.monotonic(), done.stdout


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("library", PATCHES)
def test_every_call_arrives_whenever_the_program_is_patched(stand_in, receiver, library, moment):
    _, output = run(library, moment, CALLS, stand_in.base_url, receiver.endpoint)
    assert output.splitlines() == ["flushed True", "{} {}"]
    calls = range(0 if moment == "after the first call" else 1, 6)
    assert sorted(span.name for span in receiver.store.spans()) == [f"chat {number}" for number in calls]


STEPS = """
import gc
gaps_s, over = [], []
def tick():
    last = time.thread_time()
    while not over:
        time.sleep(0.0005)
        now = time.thread_time()
        gaps_s.append(now - last)
        last = now
@llm_otel_broadcast.traced_generation
def answer():
    llm_otel_broadcast.current_generation().record(model="gpt-4o", input_tokens=9, output_tokens=12)
answer()
# what the first delivery imports cannot be divided, and a collection takes as long as all that the program holds
assert llm_otel_broadcast.flush(10.0)
gc.disable()
for _ in range(500):
    answer()
threading.Thread(target=tick, daemon=True).start()
time.sleep(0.01)
gaps_s.clear()
assert llm_otel_broadcast.flush(10.0)
over.append(True)
print(max(gaps_s))
"""
MAX_STEP_S = 0.01
"""Rendering and encoding the records takes three times as long in all."""


@pytest.mark.parametrize("library", PATCHES)
def test_greenlets_of_the_program_go_on_while_a_batch_is_rendered(stand_in, receiver, library):
    _, output = run(library, "before the import", STEPS, stand_in.base_url, receiver.endpoint)
    assert float(output) < MAX_STEP_S


TICKS = """
ticks = []
def tick():
    while True:
        ticks.append(0)
        time.sleep(0.02)
threading.Thread(target=tick, daemon=True).start()
call("1")
# what the first delivery imports has the interpreter to itself, on a busy machine for as long as the flush
for _ in range(5):
    ticks.clear()
    begun = time.monotonic()
    flushed = llm_otel_broadcast.flush(1.0)
    if len(ticks) > 10:
        break
print(flushed, len(ticks), time.monotonic() - begun, time.monotonic(), flush=True)
"""


@pytest.mark.parametrize("moment", ["after instrument()", "after a fork"])
@pytest.mark.parametrize("library", PATCHES)
def test_greenlets_of_the_program_go_on_while_flush_waits_for_a_dead_destination(stand_in, library, moment):
    with backend(broken_backends.hangs) as dead:
        ended, output = run(library, moment, TICKS, stand_in.base_url, dead.endpoint)
    flushed, ticks, waited_s, leaving = output.split()
    assert flushed == "False"
    assert int(ticks) > 10
    assert float(waited_s) < 1.0 + MARGIN_S
    assert ended - float(leaving) < EXIT_TIMEOUT_S + MARGIN_S


APPLICATION = """
import sys
sys.modules["trio"] = None
import openai
import llm_otel_broadcast

llm_otel_broadcast.instrument(endpoint={endpoint!r})

# a client for each request: one that was made before the worker was patched hangs in the locks of its pool, also without us
def application(environ, start_response):
    with openai.OpenAI(api_key="x", base_url={base_url!r}, max_retries=0) as client:
        client.chat.completions.create(model="gpt-4o", messages=[{{"role": "user", "content": "Hi"}}])
    start_response("200 OK", [])
    return [b"ok"]
"""
REQUESTS = 7


def test_gunicorn_preloads_the_program_and_patches_its_workers(stand_in, receiver, tmp_path, monkeypatch):
    needs("gevent")
    if not is_patched_late("gevent"):
        pytest.skip("gevent cannot patch a program that has imported this openai, with us or without us")
    source = APPLICATION.format(base_url=stand_in.base_url, endpoint=receiver.endpoint)
    (tmp_path / "green_application.py").write_text(source, encoding="utf-8")
    words = [*GUNICORN, "--preload", "-k", "gevent", "--pythonpath", str(tmp_path), "green_application:application"]
    with program(words, {}, tmp_path / "output.log") as running:
        with ThreadPoolExecutor(REQUESTS) as pool:
            answers = list(pool.map(lambda _: get(running.url), range(REQUESTS)))
        assert [answer.status for answer in answers] == [200] * REQUESTS
        assert running.end() == 0, running.said()
    # the first ones are asked for until the server listens
    assert len(receiver.store.spans()) == len(stand_in.requests) >= REQUESTS
