"""A burst of calls while every destination is dead: memory stays bounded, and what is dropped is counted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import broken_backends
from tests.support.broken_backends import backend, refusing
from tests.support.stand_in.server import StandIn

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")

MAX_QUEUE_BYTES = 4 * 1024 * 1024
CONSTANT_BYTES = 32 * 1024 * 1024
"""What threads, imports, and a batch of 3 MB cost on its way: rendered, as JSON, and as the body of a request."""
RECORDS = 50_000
LARGE_CALLS = 48
PROMPT_CHARS = 1_000_000
ROOT = Path(__file__).parents[2]

# `resource.getrusage` has the peak of this process's parent, too, where that was larger.
PROGRAM = """
import json, sys
import openai
import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.runtime.runs import registry
from tests.support.lanes import record

asked = json.loads(sys.argv[1])
http = openai.DefaultHttpxClient(verify=False)
client = openai.OpenAI(api_key="k", base_url=asked["base_url"], http_client=http)
prompt = "x" * asked["prompt_chars"]

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

def call(number):
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": f"{number} {prompt}"}])

def put(number):
    # As a call does at its end; 50,000 real ones take a minute.
    for run in registry.current():
        run.broadcaster.put_generation(record(f"{number} " + "m" * 1000))

action = {"call": call, "put": put}[asked["action"]]
# Without destinations first: what the program itself needs is no part of the question.
for number in range(5):
    action(number)
llm_otel_broadcast.instrument(
    destinations=[Destination(name=str(n), endpoint=to) for n, to in enumerate(asked["endpoints"])],
    max_queue_bytes=asked["max_queue_bytes"],
    exit_timeout=0.1,
)
before = peak()
for number in range(asked["count"]):
    action(number)
llm_otel_broadcast.flush(timeout=0.5)
books = llm_otel_broadcast.status().destinations
fields = ("produced", "dropped", "queued_records", "queued_bytes")
print(json.dumps({"grown": peak() - before, "books": [{name: getattr(one, name) for name in fields} for one in books]}))
"""


def burst(action, count):
    """Run a burst against a destination that refuses and one that hangs; return the growth of the peak, and the books."""
    with StandIn() as stand_in, backend(broken_backends.hangs) as hanging:
        asked = {
            "action": action,
            "count": count,
            "prompt_chars": PROMPT_CHARS,
            "base_url": stand_in.base_url,
            "endpoints": [refusing(), hanging.endpoint],
            "max_queue_bytes": MAX_QUEUE_BYTES,
        }
        command = [sys.executable, "-c", PROGRAM, json.dumps(asked)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=55, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    return seen["grown"], seen["books"]


@pytest.mark.parametrize(("action", "count"), [("put", RECORDS), ("call", LARGE_CALLS)], ids=["many", "large"])
def test_memory_stays_under_the_queues_bound_and_a_constant_and_drops_are_counted(action, count):
    """Without a bound it would grow by more than 45 MB."""
    grown, books = burst(action, count)
    assert grown < MAX_QUEUE_BYTES + CONSTANT_BYTES
    assert sum(destination["queued_bytes"] for destination in books) <= MAX_QUEUE_BYTES
    for destination in books:
        assert destination["produced"] == count
        assert destination["dropped"] == {"queue_full": count - destination["queued_records"]}
        assert 0 < destination["queued_records"] < count
