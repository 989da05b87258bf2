"""A process in which an object of the program's blocks one of our threads: its flush, its forked children, its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from llm_otel_broadcast.receiver import OtlpReceiver

HEAD = """
import json, os, sys, threading, time
import openai, llm_otel_broadcast
from llm_otel_broadcast import Destination, trace_context

base_url, *endpoints = sys.argv[1:]

class Stuck:
    asked = threading.Event()
    def __repr__(self):
        if os.getpid() == parent:
            self.asked.set()
            time.sleep(1_000)
        return "its text"

def call(model, **metadata):
    with openai.OpenAI(api_key="x", base_url=base_url) as client, trace_context(**metadata):
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}])

def balanced(status):
    return all(
        lane.produced == lane.delivered + sum(lane.dropped.values()) + sum(lane.left_out.values()) + lane.queued_records
        for lane in status.destinations
    )

parent, stuck = os.getpid(), Stuck()
llm_otel_broadcast.instrument(
    destinations=[
        Destination(name=str(number), endpoint=endpoint, batch_delay=0.0) for number, endpoint in enumerate(endpoints)
    ],
    exit_timeout=4.0,
)
call("blocked", key=stuck)
assert stuck.asked.wait(20)
"""


@pytest.fixture
def other():
    with OtlpReceiver() as running:
        yield running


@pytest.fixture
def run(stand_in, receiver, other):
    def run(program: str) -> object:
        arguments = stand_in.base_url, receiver.endpoint, other.endpoint
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", HEAD + program, *arguments],
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def chats(receiver):
    return sorted(span.name for span in receiver.store.spans() if span.name.startswith("chat"))


def test_a_flush_comes_back_in_time_and_says_no(run):
    seconds, is_complete, is_balanced = run("""
call("free")
begun = time.monotonic()
is_complete = llm_otel_broadcast.flush(1)
print(json.dumps([time.monotonic() - begun, is_complete, balanced(llm_otel_broadcast.status())]))
os._exit(0)
""")
    assert seconds < 4
    assert (is_complete, is_balanced) == (False, True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_no_thread_that_is_blocked(run, receiver, other):
    """Not even by the same object, nor by the lock of who was asking it."""
    code, is_complete = run("""
child = os.fork()
if not child:
    call("child", key=stuck)
    os._exit(0 if llm_otel_broadcast.flush(10) and balanced(llm_otel_broadcast.status()) else 5)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps([code, llm_otel_broadcast.flush(0.1)]))
sys.stdout.flush()
os._exit(0)
""")
    assert (code, is_complete) == (0, False)
    for to in (receiver, other):
        assert chats(to).count("chat child") == 1
        (span,) = [span for span in to.store.spans() if span.name == "chat child"]
        assert span.attributes["trace.metadata.key"] == "its text"


def test_the_end_of_the_process_delivers_everything_everywhere_once(run, receiver, other):
    """The object costs its own text alone, and the process ends within `exit_timeout`."""
    run("""
for number in range(5):
    call(f"free-{number}")
print("[]")
""")
    expected = ["chat blocked", *(f"chat free-{number}" for number in range(5))]
    for to in (receiver, other):
        assert chats(to) == expected
        (span,) = [span for span in to.store.spans() if span.name == "chat blocked"]
        assert span.attributes["trace.metadata.key"] == "<Stuck: not read, it blocks>"


def test_the_end_of_the_process_does_not_wait_for_longer_than_exit_timeout(run):
    """However many objects block, one after the other."""
    assert run("""
for number in range(20):
    call(f"blocked-{number}", key=Stuck())
begun = time.monotonic()
llm_otel_broadcast.shutdown()
print(json.dumps([time.monotonic() - begun < 8, balanced(llm_otel_broadcast.status())]))
""") == [True, True]


def test_an_object_that_is_merely_slow_is_sent_by_a_process_that_has_time_to_end(stand_in, receiver):
    """As on a machine that is busy: it had one second at the end, whatever `exit_timeout`, and was given up."""
    program = """
import sys, time, openai, llm_otel_broadcast

class Slow:
    def __repr__(self):
        time.sleep(1.6)
        return "its text"

base_url, endpoint = sys.argv[1:]
llm_otel_broadcast.instrument(endpoint=endpoint, exit_timeout=20.0)
with openai.OpenAI(api_key="x", base_url=base_url) as client, llm_otel_broadcast.trace_context(key=Slow()):
    client.chat.completions.create(model="slow", messages=[{"role": "user", "content": "Hi"}])
"""
    command = [sys.executable, "-W", "ignore", "-c", program, stand_in.base_url, receiver.endpoint]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (call,) = (span for span in receiver.store.spans() if span.name == "chat slow")
    assert call.attributes["trace.metadata.key"] == "its text"
