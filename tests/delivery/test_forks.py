"""Forks: the queue stays with the parent, the child has threads and connections of its own, nothing is sent twice."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys

import pytest

from llm_otel_broadcast.receiver import Reply

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

HEAD = """
import os, sys, time, openai, llm_otel_broadcast
from llm_otel_broadcast import Destination
endpoint, base_url = sys.argv[1:]

def call(name):
    with openai.OpenAI(api_key="x", base_url=base_url) as client:
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hi"}])

def books():
    (found,) = llm_otel_broadcast.status().destinations
    return found.produced, found.delivered, found.queued_records, found.dropped
"""


def run(tmp_path, stand_in, receiver, program):
    """Run a program from a file, as spawned children want it, and return its output."""
    path = tmp_path / "program.py"
    path.write_text(HEAD + program)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(path), receiver.endpoint, stand_in.base_url],
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split("\n")


def arrived(receiver):
    return sorted(span.name.removeprefix("chat ") for span in receiver.store.spans())


def test_what_was_queued_is_sent_by_the_parent_alone(tmp_path, stand_in, receiver):
    """The grandchild ends by itself, without a flush."""
    told = run(
        tmp_path,
        stand_in,
        receiver,
        """
llm_otel_broadcast.instrument(destinations=[Destination(endpoint=endpoint, batch_delay=60.0)])
call("before")
child = os.fork()
if not child:
    print("child", books(), flush=True)
    call("child")
    assert llm_otel_broadcast.flush()
    print("child", books(), flush=True)
    grandchild = os.fork()
    if not grandchild:
        call("grandchild")
        sys.exit()
    os.waitpid(grandchild, 0)
    os._exit(0)
os.waitpid(child, 0)
call("parent")
assert llm_otel_broadcast.flush()
print("parent", books())
""",
    )
    assert arrived(receiver) == ["before", "child", "grandchild", "parent"]
    assert told[:3] == ["child (0, 0, 0, {})", "child (1, 1, 0, {})", "parent (2, 2, 0, {})"]


def test_a_fork_while_a_request_is_under_way_sends_it_once(tmp_path, stand_in, receiver):
    """The child does not read from the parent's connection, nor does the parent miss its answer."""
    receiver.script(Reply(200, store=True), Reply(200, store=True, delay=0.6))
    told = run(
        tmp_path,
        stand_in,
        receiver,
        """
llm_otel_broadcast.instrument(destinations=[Destination(endpoint=endpoint, batch_delay=0.0)])
call("first")
assert llm_otel_broadcast.flush()
call("under way")
time.sleep(0.2)
child = os.fork()
call("parent" if child else "child")
assert llm_otel_broadcast.flush()
print(*books(), flush=True)
if child:
    os.waitpid(child, 0)
else:
    os._exit(0)
""",
    )
    assert arrived(receiver) == ["child", "first", "parent", "under way"]
    assert sorted(told) == ["", "1 1 0 {}", "3 3 0 {}"]
    assert len(receiver.requests) == 4


METHODS = [method for method in ("fork", "spawn", "forkserver") if method in multiprocessing.get_all_start_methods()]


def test_children_of_multiprocessing_deliver_at_their_end(tmp_path, stand_in, receiver):
    """They leave by `os._exit`, and `atexit` is not for them; forked ones inherit the settings, others make their own."""
    run(
        tmp_path,
        stand_in,
        receiver,
        f"""
import multiprocessing

def work(method):
    if method != "fork":
        llm_otel_broadcast.instrument(destinations=[Destination(endpoint=endpoint)])
    call(method)

if __name__ == "__main__":
    llm_otel_broadcast.instrument(destinations=[Destination(endpoint=endpoint)])
    call("parent")
    children = [
        multiprocessing.get_context(method).Process(target=work, args=(method,)) for method in {METHODS!r}
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * len(children)
""",
    )
    assert arrived(receiver) == sorted(["parent", *METHODS])


def test_a_fork_waits_for_our_threads_imports(tmp_path):
    """A child that inherits a module half imported waits for ever when it imports it itself."""
    (tmp_path / "slow_module.py").write_text("import time\ntime.sleep(0.4)\nready = True\n")
    program = """
import os, time
from llm_otel_broadcast.delivery.lane import Lane
from llm_otel_broadcast.record.generation import Generation

def parts():
    open("importing", "w").close()
    import slow_module
    raise SystemExit

lane = Lane("slow", 0.0, 1_000_000, parts)
lane.start()
lane.enqueue(Generation("chat"))
while not os.path.exists("importing"):
    time.sleep(0.01)
child = os.fork()
import slow_module
if child:
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
else:
    os._exit(5 if slow_module.ready else 1)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        cwd=tmp_path,
    )
    assert done.stdout == "5\n"


def test_a_fork_that_waits_for_our_imports_has_nothing_to_say(tmp_path, stand_in, receiver):
    run(
        tmp_path,
        stand_in,
        receiver,
        """
import threading
from llm_otel_broadcast.host.import_lock import importing

held = threading.Event()

def imports():
    with importing:
        held.set()
        time.sleep(0.2)  # the fork begins meanwhile
        from concurrent.futures import ThreadPoolExecutor

thread = threading.Thread(target=imports)
thread.start()
held.wait()
child = os.fork()
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
thread.join()
""",
    )
