"""What the background does for a usual generation is little, and stays so: calls and bytes are counted, as a clock would not repeat."""

from __future__ import annotations

import sys
import tracemalloc

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.clients.openai.messages import content_of
from llm_otel_broadcast.record.generation import Choice, Generation
from llm_otel_broadcast.record.server import Server
from llm_otel_broadcast.record.trace_fields import NO_FIELDS
from llm_otel_broadcast.record.usage import Usage
from llm_otel_broadcast.runtime.assembly import parts_for
from tests.benchmarks.host import client
from tests.support.garbage import collect

# Functions of Python's and of C's that rendering and encoding may call, a sixth more than they do. Before prices were
# arithmetic and JSON was written as text they were over a thousand.
_MAX_CALLS = 380
_MAX_BYTES_OVER_CONTENT = 3_000


def usual_generation(number=0):
    made = Generation("chat", "chat_completions")
    made.server = Server("openai", "api.openai.com", 443, vendor="openai")
    made.trace_id, made.span_id = number + 1, number + 1
    made.fields = NO_FIELDS._replace(user="user", session_id="session", metadata={"environment": "test"})
    made.request_model, made.response_model = "gpt-4o", "gpt-4o-2024-08-06"
    made.parameters = {"temperature": 0.5, "max_tokens": 100}
    made.messages = [{"role": "user", "content": f"{number} " * 200}, {"role": "assistant", "content": "b " * 200}]
    made.choices = [Choice(finish_reason="stop", content="c " * 100)]
    made.usage = Usage(400, 12, 412, 128)
    made.wants_content, made.read_content = True, content_of
    made.response_id = f"chatcmpl-{number}"
    made.end()
    return made


def test_a_usual_generation_takes_few_calls():
    parts = parts_for(Destination(endpoint="http://127.0.0.1:1/v1/traces"))
    try:
        parts.transport.encode(parts.render(usual_generation()))
        generations = [usual_generation(number) for number in range(20)]
        calls = []
        sys.setprofile(lambda frame, event, argument: event in ("call", "c_call") and calls.append(event))
        try:
            parts.transport.encode([span for generation in generations for span in parts.render(generation)])
        finally:
            sys.setprofile(None)
        assert len(calls) / len(generations) < _MAX_CALLS
    finally:
        parts.transport.close()


def test_a_waiting_generation_takes_3_kb_beside_its_content():
    made = client()
    llm_otel_broadcast.instrument(
        destinations=[Destination(endpoint="http://127.0.0.1:1/v1/traces", batch_delay=60)], app_spans=False
    )

    def call(number):
        content = f"{number:04d}" + "x" * 1_996
        made.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": content}])

    for number in range(20):
        call(number)
    tracemalloc.start()
    try:
        collect()
        before, _ = tracemalloc.get_traced_memory()
        for number in range(100):
            call(number)
        collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / 100 < 2_000 + _MAX_BYTES_OVER_CONTENT
