"""What a model server states that is no content has a bound on the span, however long it is."""

from __future__ import annotations

import json

import openai
import pytest

from llm_otel_broadcast.stand_in.answers import Answer

LONG = 2_000_000
MAX_CHARS = 20_000


def test_ids_and_names_of_an_answer_are_cut(client, stand_in, instrumented, arrived):
    """An id of 20 MB was kept, and sent to each destination."""
    text = {name: name[0] * LONG for name in ("id", "model", "service_tier", "system_fingerprint", "provider")}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi."}}
    stand_in.script(Answer(body=json.dumps({**text, "object": "chat.completion", "choices": [choice]}).encode()))
    with instrumented():
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hi."}])
        (span,) = arrived()
    assert span.attributes["gen_ai.response.id"].startswith("iiii")
    assert max(len(str(value)) for value in span.attributes.values()) <= MAX_CHARS


def test_code_and_text_of_an_error_are_cut(client, stand_in, instrumented, arrived):
    error = {name: name[0] * LONG for name in ("code", "type", "message", "param")}
    stand_in.script(Answer(400, json.dumps({"error": error}).encode()))
    with instrumented():
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hi."}])
        (span,) = arrived()
    assert span.attributes["error.type"] == "BadRequestError"
    assert max(len(str(value)) for value in span.attributes.values()) <= MAX_CHARS
    assert len(span.status_message) <= MAX_CHARS
    assert max(len(str(value)) for event in span.events for value in event.attributes.values()) <= MAX_CHARS


def test_tool_arguments_of_many_megabytes_are_cut_before_they_are_parsed(client, stand_in, instrumented, arrived):
    """50 MB of them took 17 s and 1 GB in the background."""
    arguments = "[" + "[]," * 2_000_000 + "[]]"
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    answer = {"id": "i", "object": "chat.completion", "choices": [{"index": 0, "message": message}]}
    stand_in.script(Answer(body=json.dumps(answer).encode()))
    with instrumented():
        got = client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hi."}])
        assert got.choices[0].message.tool_calls[0].function.arguments == arguments
        (span,) = arrived()
    assert len(span.attributes["gen_ai.output.messages"]) <= 1_000_000
    assert "[truncated]" in span.attributes["gen_ai.output.messages"]
