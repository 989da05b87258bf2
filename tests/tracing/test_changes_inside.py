"""What changes while a block is open: settings, patches, the process itself."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from openai.resources.chat.completions import Completions

import llm_otel_broadcast
from llm_otel_broadcast import current_generation, trace_context, traced_generation
from llm_otel_broadcast.tracing.scope import current_scope
from tests.support.client_calls import chat
from tests.tracing.trees import by_name, totals

HEAD = """
import json, os, subprocess, sys, openai, llm_otel_broadcast
from llm_otel_broadcast import Destination, current_trace_fields, trace_context, traced_generation
endpoint, base_url, *more = sys.argv[1:]
llm_otel_broadcast.instrument(destinations=[Destination(endpoint=endpoint, batch_delay=0.0)])

def call(name):
    with openai.OpenAI(api_key="x", base_url=base_url) as client:
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hi"}])
"""
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def run(stand_in, receiver, program):
    """Run a program, and return the spans that it and those it started have sent."""
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            HEAD + program,
            receiver.endpoint,
            stand_in.base_url,
        ],
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return receiver.store.spans()


def test_uninstrument_inside_a_block_still_sends_the_block(stand_in, instrumented, arrived):
    original = Completions.__dict__["create"]
    instrumented()
    with trace_context(trace_name="Request"):
        chat("sync", stand_in.base_url)
        llm_otel_broadcast.uninstrument()
        assert Completions.__dict__["create"] is original
        chat("sync", stand_in.base_url, model="unseen")
    assert totals(by_name(arrived(2))["Request"])["calls"] == 1
    assert current_scope() is None


def test_uninstrument_inside_a_decorated_function_still_sends_it(instrumented, arrived):
    instrumented()

    @traced_generation(generation_name="local")
    def answer() -> None:
        current_generation().record(model="llama")
        llm_otel_broadcast.uninstrument()

    answer()
    assert by_name(arrived(1)).keys() == {"local"}
    answer()
    arrived(1)


def test_what_is_reported_after_uninstrument_keeps_nothing_back(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(trace_name="Request") as handle:
        chat("sync", stand_in.base_url)
        llm_otel_broadcast.uninstrument()
        handle.record(model="unseen")
    arrived(2)


@pytest.mark.parametrize("calls", [(), ("before",), ("after",), ("before", "after")], ids="-".join)
def test_settings_replaced_inside_a_block_send_it_once(stand_in, instrumented, receiver, arrived, calls):
    instrumented(name="old")
    with trace_context(trace_name="Request") as handle:
        if "before" in calls:
            chat("sync", stand_in.base_url, model="before")
        instrumented(name="new")
        if "after" in calls:
            chat("sync", stand_in.base_url, model="after")
    spans = by_name(arrived(1 + len(calls)))
    root = spans.pop("Request")
    assert root.span_id == handle.span_id
    assert {span.parent_span_id for span in spans.values()} <= {root.span_id}
    assert totals(root).get("calls", 0) == len(calls)


def test_instrument_inside_a_block_has_calls_below_it_all_the_same(stand_in, instrumented, arrived):
    with trace_context(trace_name="Request") as handle:
        instrumented()
        chat("sync", stand_in.base_url)
    spans = by_name(arrived(2))
    assert spans["chat gpt-4o-mini"].parent_span_id == spans["Request"].span_id == handle.span_id


@needs_fork
def test_a_child_forked_inside_a_block_hangs_below_it_and_the_parent_alone_sends_it(stand_in, receiver):
    spans = run(
        stand_in,
        receiver,
        """
with trace_context(trace_name="Request", span_name="Step"):
    call("first")
    child = os.fork()
    call("child's" if not child else "parent's")
    if child:
        assert os.waitpid(child, 0)[1] == 0
if not child:
    assert llm_otel_broadcast.flush()
    os._exit(0)
""",
    )
    found = by_name(spans)
    assert {found[f"chat {name}"].parent_span_id for name in ("first", "child's", "parent's")} == {
        found["Step"].span_id
    }
    assert found["Step"].parent_span_id == found["Request"].span_id
    assert len(spans) == 5


@needs_fork
def test_a_child_forked_inside_a_decorated_function_does_not_send_that_again(stand_in, receiver):
    spans = run(
        stand_in,
        receiver,
        """
@traced_generation(span_name="work")
def work():
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
    else:
        with trace_context(span_name="child's step"):
            call("child's")
    return child

if not work():
    assert llm_otel_broadcast.flush()
    os._exit(0)
""",
    )
    found = by_name(spans)
    assert found["child's step"].parent_span_id == found["work"].span_id
    assert found["chat child's"].parent_span_id == found["child's step"].span_id


@needs_fork
def test_a_block_closed_before_the_fork_is_not_sent_again_by_a_task_that_goes_on_in_the_child(stand_in, receiver):
    spans = run(
        stand_in,
        receiver,
        """
from llm_otel_broadcast import propagate
with trace_context(trace_name="Request"):
    late = propagate(call)
    call("first")
assert llm_otel_broadcast.flush()
child = os.fork()
if not child:
    late("late")
    assert llm_otel_broadcast.flush()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
""",
    )
    found = by_name(spans)
    assert found["chat late"].parent_span_id == found["Request"].span_id


def test_the_fields_go_to_another_process_as_json_and_its_calls_land_below(stand_in, receiver):
    child = HEAD + "with trace_context(**json.loads(more[0])):\n    call('far')\n    call('farther')\n"
    spans = run(
        stand_in,
        receiver,
        f"""
child = {child!r}
with trace_context(
    trace_id="order-7", trace_name="Order", span_name="Step", session_id="s", user="u", tags=["a"], privacy=True
):
    call("near")
    carried = json.dumps(current_trace_fields())
    subprocess.run([sys.executable, "-c", child, endpoint, base_url, carried], check=True)
""",
    )
    found = by_name(spans)
    step = found["Step"]
    for name in ("near", "far", "farther"):
        call = found[f"chat {name}"]
        assert (call.trace_id, call.parent_span_id) == (step.trace_id, step.span_id)
        assert (call.attributes["session.id"], call.attributes["user.id"]) == ("s", "u")
        assert call.attributes["trace.metadata.tags"] == '["a"]'
        assert not [key for key in call.attributes if key.endswith(".messages")]
    assert found["chat far"].attributes["trace.id"] == "order-7"
    assert len(spans) == 5
