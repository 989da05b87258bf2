"""Ends of a process that pass exit handlers by: what was recorded arrives, and the exit code stays what it is without us."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from textwrap import dedent

import pytest

import llm_otel_broadcast
from llm_otel_broadcast.receiver import OtlpReceiver
from tests.support import broken_backends
from tests.support.broken_backends import backend
from tests.support.stand_in.server import StandIn

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

EXIT_TIMEOUT_S = 1.5
MARGIN_S = 4.0
"""The machine may be busy."""
TERMINATED = -signal.SIGTERM

# name: (program, exit code, models that arrive)
ENDINGS = {
    "terminated": ("instrument(); call('a'); terminate()", TERMINATED, "a"),
    "terminated while another thread works": (
        """
        instrument()
        call('a')
        threading.Thread(target=time.sleep, args=(20,)).start()
        terminate()
        """,
        TERMINATED,
        "a",
    ),
    "terminated while it waits for a lock": (
        """
        instrument()
        call('a')
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        threading.Event().wait()
        """,
        TERMINATED,
        "a",
    ),
    "terminated in an event loop": (
        """
        instrument()
        call('a')
        async def main():
            asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
            await asyncio.sleep(20)
        asyncio.run(main())
        """,
        TERMINATED,
        "a",
    ),
    # as uvicorn does: its own handlers while it serves, then those before them again, and the signal for these
    "terminated by itself, and was instrumented before": (
        """
        instrument()
        before = signal.signal(signal.SIGTERM, lambda *_: None)
        call('a')
        signal.signal(signal.SIGTERM, before)
        signal.raise_signal(signal.SIGTERM)
        """,
        TERMINATED,
        "a",
    ),
    "terminated by itself, and was instrumented while it served": (
        """
        before = signal.signal(signal.SIGTERM, lambda *_: None)
        instrument()
        call('a')
        signal.signal(signal.SIGTERM, before)
        signal.raise_signal(signal.SIGTERM)
        """,
        TERMINATED,
        "a",
    ),
    "has a handler that calls the one before it": (
        """
        instrument()
        call('a')
        before = signal.getsignal(signal.SIGTERM)
        def leave(number, frame):
            callable(before) and before(number, frame)
            sys.exit(7)
        signal.signal(signal.SIGTERM, leave)
        terminate()
        """,
        7,
        "a",
    ),
    "ignores the signal": (
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        instrument()
        call('a')
        os.kill(os.getpid(), signal.SIGTERM)
        sys.exit(8)
        """,
        8,
        "a",
    ),
    "leaves by os._exit": ("instrument(); call('a'); os._exit(4)", 4, "a"),
    "becomes another program": (
        "instrument(); call('a'); os.execv(sys.executable, [sys.executable, '-c', 'raise SystemExit(6)'])",
        6,
        "a",
    ),
    "forks for each job, which leaves by os._exit": (
        """
        instrument()
        for job in 'ab':
            if not os.fork():
                call(job)
                os._exit(0)
            os.wait()
        """,
        0,
        "ab",
    ),
    # a pool in a `with` block, as Python's documentation has it, ends its workers by SIGTERM
    "has a pool of workers": (
        """
        instrument()
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(call, "abcd")
        """,
        0,
        "abcd",
    ),
    "has called in an event loop that is closed": (
        """
        instrument()
        async def main():
            async with openai.AsyncOpenAI(api_key="x", base_url=asked["base_url"], max_retries=0) as client:
                messages = [{"role": "user", "content": "Hi"}]
                await client.chat.completions.create(model=f"{name}: a", messages=messages)
        asyncio.run(main())
        """,
        0,
        "a",
    ),
    "has a daemon thread that goes on": (
        """
        instrument()
        has_called = threading.Event()
        def work():
            call('a')
            has_called.set()
            time.sleep(60)
        threading.Thread(target=work, daemon=True).start()
        has_called.wait()
        """,
        0,
        "a",
    ),
    "calls in an exit handler that was registered before": ("instrument(); call('a'); late.append('z')", 0, "az"),
    "calls in an exit handler for the first time": ("instrument(); late.append('z')", 0, "z"),
}
DEAD = {
    "terminated, and the destination is dead": ("instrument(); call('a'); terminate()", TERMINATED),
    "leaves by os._exit, and the destination is dead": ("instrument(); call('a'); os._exit(4)", 4),
}

# The imports are made once, and each ending has a fork of its own.
PROGRAM = """
import atexit, json, os, sys

late = []
atexit.register(lambda: [call(model) for model in late])

import asyncio, multiprocessing, multiprocessing.pool, signal, threading, time
import openai
import llm_otel_broadcast

asked = json.loads(sys.argv[1])
from tests.support import warm

warm.load()
openai.OpenAI(api_key="x").chat.completions

def call(model):
    http = openai.DefaultHttpxClient(verify=False)
    client = openai.OpenAI(api_key="x", base_url=asked["base_url"], max_retries=0, http_client=http)
    client.chat.completions.create(model=f"{name}: {model}", messages=[{"role": "user", "content": "Hi"}])

def instrument():
    llm_otel_broadcast.instrument(endpoint=endpoint, exit_timeout=asked["exit_timeout"])

def terminate():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(20)

results = {}
for number, (name, (program, endpoint)) in enumerate(asked["endings"].items()):
    begun = time.monotonic()
    errors = os.path.join(asked["directory"], str(number))
    child = os.fork()
    if not child:
        break
    _, status = os.waitpid(child, 0)
    results[name] = (os.waitstatus_to_exitcode(status), time.monotonic() - begun, errors)
else:
    print(json.dumps(results))
    sys.exit()

os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
exec(program)
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """End in all ways; return exit code, seconds and standard error of each, and the names of what arrived."""
    with StandIn() as stand_in, OtlpReceiver() as receiver, backend(broken_backends.hangs) as dead:
        endings = {name: (dedent(program), receiver.endpoint) for name, (program, *_) in ENDINGS.items()}
        endings |= {name: (program, dead.endpoint) for name, (program, _) in DEAD.items()}
        asked = {
            "endings": endings,
            "directory": str(tmp_path_factory.mktemp("stderr")),
            "exit_timeout": EXIT_TIMEOUT_S,
            "base_url": stand_in.base_url,
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(asked)], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        results = {}
        for name, (code, seconds, errors) in json.loads(done.stdout).items():
            results[name] = (code, seconds, Path(errors).read_text(encoding="utf-8"))
        return results, [span.name for span in receiver.store.spans()]


@pytest.mark.parametrize("name", ENDINGS)
def test_what_was_recorded_arrives_and_the_exit_code_stays(ended, name):
    if "for the first time" in name and sys.version_info >= (3, 12):
        pytest.skip("Python 3.12 and later start no thread at the end of the process")
    _, code, models = ENDINGS[name]
    results, arrived = ended
    assert (results[name][0], results[name][2]) == (code, "")
    assert sorted(span for span in arrived if span.startswith(f"chat {name}: ")) == [
        f"chat {name}: {model}" for model in models
    ]


@pytest.mark.parametrize("name", DEAD)
def test_a_dead_destination_holds_no_such_end_up_for_longer_than_exit_timeout(ended, name):
    results, _ = ended
    code, seconds, errors = results[name]
    assert code == DEAD[name][1]
    assert seconds < EXIT_TIMEOUT_S + MARGIN_S
    assert "no answer for 1 generation(s) before sending ended" in errors


def test_what_leaves_a_process_is_put_back(receiver):
    def functions():
        return os._exit, os.execv, os.execve, signal.raise_signal, signal.getsignal(signal.SIGTERM)

    before = functions()
    llm_otel_broadcast.instrument(endpoint=receiver.endpoint)
    assert not set(functions()) & set(before)
    llm_otel_broadcast.uninstrument()
    assert functions() == before


def test_a_thread_other_than_the_main_one_instruments_without_signals(receiver):
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=lambda: llm_otel_broadcast.instrument(endpoint=receiver.endpoint))
    thread.start()
    thread.join()
    assert llm_otel_broadcast.status().instrumented
    assert signal.getsignal(signal.SIGTERM) is before


SLOW_LOG = """
import logging, sys, time
import openai
import llm_otel_broadcast

class Slow(logging.Handler):
    def emit(self, record):
        time.sleep(30)

logging.getLogger("llm_otel_broadcast").addHandler(Slow())
llm_otel_broadcast.instrument(endpoint=sys.argv[2], exit_timeout=1.0, max_queue_bytes=1_048_576)
client = openai.OpenAI(api_key="x", base_url=sys.argv[1], max_retries=0)
begun = time.monotonic()
for _ in range(12):
    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x" * 200_000}])
assert llm_otel_broadcast.status().destinations[0].dropped
print(time.monotonic() - begun, time.time(), flush=True)
"""


def test_a_log_handler_that_waits_holds_up_neither_a_call_nor_the_end(stand_in):
    """A handler that sends over the network that is down; and the end of `logging` waits for a handler that is at work."""
    dead = broken_backends.refusing()
    done = subprocess.run(
        [sys.executable, "-c", SLOW_LOG, stand_in.base_url, dead],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    seconds, ended_at = map(float, done.stdout.split())
    assert seconds < 15.0
    assert time.time() - ended_at < 1.0 + MARGIN_S
