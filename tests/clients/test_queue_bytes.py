"""`max_queue_bytes` sees whatever a call makes us hold."""

from __future__ import annotations

import openai
import pytest
from openai.types.chat import ChatCompletionMessage

import llm_otel_broadcast
from llm_otel_broadcast.stand_in.answers import completion, error, message, stream
from tests.support.client_calls import chat, needs_responses, respond

LONG = "x" * 1_000_000
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": LONG}}
TOOL = {"type": "function", "function": {"name": "f", "description": LONG, "parameters": {}}}
SCHEMA = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"description": LONG}}}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "description": LONG}}}
OUTPUT = {"type": "function_call_output", "call_id": "1", "output": LONG}
ASKED = {
    "tool calls in the history": {"messages": [{"role": "assistant", "tool_calls": [CALL]}]},
    "legacy calls": {"messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": LONG}}]},
    "the client's own objects": {"messages": [ChatCompletionMessage(role="assistant", content=LONG)]},
    "a refusal in the history": {"messages": [{"role": "assistant", "content": None, "refusal": LONG}]},
    "a tool's description": {"tools": [TOOL]},
    "a tool's schema": {"tools": [SCHEMA]},
    "metadata": {"extra_body": {"trace": {"doc": LONG}}},
    "metadata that is a list": {"extra_body": {"trace": {"doc": [[LONG]]}}},
    "where to stop": {"stop": [LONG]},
}
ANSWERED = {
    "arguments of a call": completion(message(tool_calls=[("1", "f", LONG)])),
    "streamed arguments": stream(message(tool_calls=[("1", "f", LONG)])),
    "a refusal": completion(message(refusal=LONG)),
    "reasoning": completion(message(reasoning=LONG)),
}


@pytest.fixture
def queued(instrumented):
    """Instrument with a lane that waits; return how to ask how many bytes it holds."""
    llm_otel_broadcast.instrument(
        destinations=[llm_otel_broadcast.Destination(endpoint="http://127.0.0.1:9/v1/traces", batch_delay=60.0)]
    )

    def read():
        (books,) = llm_otel_broadcast.status().destinations
        assert books.queued_records == 1
        return books.queued_bytes

    return read


@pytest.mark.parametrize("asked", ASKED)
def test_what_is_asked_is_seen(asked, stand_in, queued):
    chat("sync", stand_in.base_url, **ASKED[asked])
    assert 1_000_000 < queued() < 1_100_000


def test_the_form_of_the_answer_is_not_held_but_for_its_name(stand_in, queued):
    chat("sync", stand_in.base_url, response_format=FORMAT)
    assert queued() < 10_000


@needs_responses
def test_what_a_tool_answered_is_seen(stand_in, queued):
    respond("sync", stand_in.base_url, input=[OUTPUT])
    assert 1_000_000 < queued() < 1_100_000


@pytest.mark.parametrize("answered", ANSWERED)
def test_what_is_answered_is_seen(answered, stand_in, queued):
    stand_in.script(ANSWERED[answered])
    chat("sync", stand_in.base_url, stream=answered.startswith("streamed"))
    assert 1_000_000 < queued() < 1_100_000


def test_the_text_of_an_error_is_seen(stand_in, queued):
    stand_in.script(error(400, "e" * 100_000))
    with pytest.raises(openai.BadRequestError):
        chat("sync", stand_in.base_url)
    assert queued() > 16_384


def test_a_plain_call_is_small(stand_in, queued):
    chat("sync", stand_in.base_url)
    assert queued() < 3_000
