"""Answers and chunks of any shape, for each reader: nothing fails, and what is kept can be written as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_otel_broadcast.clients.answer_limits import limit_answer
from llm_otel_broadcast.clients.openai.messages import content_of
from llm_otel_broadcast.clients.openai.targets import ROUTES
from llm_otel_broadcast.fields.json_text import plain_json
from llm_otel_broadcast.record.generation import Generation
from tests.support.fuzzing import EXAMPLES, fuzzed, json_values

READERS = {type(reader).__name__: reader for reader in (route.make_reader() for route in ROUTES)}
NAMES = st.sampled_from(sorted(READERS))
of_each_reader = settings(fuzzed, max_examples=EXAMPLES or 60)
CHUNK_KEYS = (
    *("id", "object", "model", "choices", "usage", "service_tier", "provider", "error", "index", "message", "delta"),
    *("finish_reason", "role", "content", "refusal", "tool_calls", "function", "name", "arguments", "audio", "images"),
    *("reasoning", "reasoning_details", "text", "type", "response", "item", "output", "output_index", "item_id"),
    *("status", "summary", "action", "incomplete_details", "data", "embedding", "results", "segments", "duration"),
)
TYPES = st.sampled_from(
    [
        *(
            "response.output_text.delta",
            "response.completed",
            "response.output_item.done",
            "response.output_item.added",
        ),
        *(
            "response.function_call_arguments.delta",
            "response.created",
            "error",
            "message",
            "reasoning",
            "function_call",
        ),
        *("web_search_call", "image_generation.completed", "transcript.text.delta", "transcript.text.done", "text"),
        *(
            "response.reasoning_summary_part.added",
            "response.output_audio.delta",
            "image_url",
            "compaction",
            "new_item",
        ),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | TYPES
VALUES = json_values(CHUNK_KEYS, SCALARS)
OBJECTS = st.dictionaries(st.sampled_from(CHUNK_KEYS) | st.text(max_size=5), VALUES, max_size=6)
ANSWERS = st.builds(lambda kind, members: {**members, "type": kind}, TYPES, OBJECTS) | OBJECTS


def record_for(reader: Any) -> Generation:
    record = Generation(reader.operation, reader.api)
    record.wants_content = True
    return record


def assert_sendable(record: Generation) -> None:
    limit_answer(record)
    content = content_of(record)
    for part in (content.outputs, content.inputs, content.tools):
        json.loads(plain_json(list(part))[0])
    for choice in record.choices:
        assert choice.finish_reason is None or isinstance(choice.finish_reason, str)
        assert isinstance(choice.role, str)
    assert record.size >= 0


@of_each_reader
@given(name=NAMES, answer=ANSWERS)
def test_any_answer_is_read_without_an_error(name, answer):
    record = record_for(READERS[name])
    READERS[name].read_response(record, answer)
    assert_sendable(record)


@of_each_reader
@given(name=NAMES, chunks=st.lists(ANSWERS, max_size=6))
def test_any_chunks_are_read_without_an_error(name, chunks):
    record = record_for(READERS[name])
    fold = READERS[name].fold(record)
    for chunk in chunks:
        assert fold.add(chunk) in (True, False)
    fold.finish()
    assert_sendable(record)


@of_each_reader
@given(name=NAMES, body=st.binary(max_size=60) | ANSWERS.map(lambda answer: json.dumps(answer).encode()))
def test_any_body_is_read_or_no_json(name, body):
    record = record_for(READERS[name])
    try:
        READERS[name].read_body(record, body)
    except ValueError:
        with pytest.raises(ValueError, match=r".*"):
            json.loads(body)
        return
    assert_sendable(record)
