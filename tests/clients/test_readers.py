"""Whatever an API answers, every reader takes it without an error, and says nothing that is no JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_otel_broadcast.record.generation import Generation
from tests.support.operations import OPERATIONS, reader_of
from tests.support.spans import generation_span

READERS = {operation: reader_of(operation) for operation in OPERATIONS}
NAMES = [
    "id",
    "model",
    "usage",
    "choices",
    "data",
    "results",
    "text",
    "message",
    "delta",
    "content",
    "audio",
    "images",
    "image_url",
    "url",
    "transcript",
    "b64_json",
    "revised_prompt",
    "embedding",
    "flagged",
    "categories",
    "duration",
    "language",
    "type",
    "index",
    "finish_reason",
    "prompt_tokens",
    "seconds",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "custom",
    "input",
    "function_call",
    "reasoning",
    "reasoning_details",
    "refusal",
    "thinking",
    "output",
    "item",
    "output_index",
    "summary",
    "call_id",
    "execution",
    "environment",
    "error",
    "code",
    "size",
    "quality",
    "output_format",
    "input_tokens_details",
    "text_tokens",
]
WORDS = [
    "image_generation.completed",
    "image_edit.partial_image",
    "transcript.text.done",
    "transcript.text.delta",
    "data:,",
    "duration",
]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=6,
)
objects = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, anything))


def begun(reader, content=True):
    record = Generation(reader.operation, reader.api)
    reader.read_request(record, {"model": "m"}, content=content)
    record.wants_content = content
    return record


def told(record):
    record.end()
    span = generation_span(record, None, content=record.wants_content)
    for key, value in span.attributes.items():
        if key.endswith(".messages"):
            json.loads(value)
        assert isinstance(value, str | bool | int | float | list | tuple), (key, value)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=40, deadline=None)
@given(answer=anything | objects, content=st.booleans())
def test_any_answer(name, answer, content):
    record = begun(READERS[name], content)
    READERS[name].read_response(record, answer)
    told(record)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=40, deadline=None)
@given(answer=objects)
def test_any_raw_body(name, answer):
    record = begun(READERS[name])
    READERS[name].read_body(record, json.dumps(answer).encode())
    told(record)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=40, deadline=None)
@given(events=st.lists(objects, max_size=5))
def test_any_events(name, events):
    record = begun(READERS[name])
    fold = READERS[name].fold(record)
    for event in events:
        fold.add(event)
    fold.finish()
    told(record)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=40, deadline=None)
@given(
    asked=st.dictionaries(
        st.sampled_from(
            [
                "model",
                "prompt",
                "input",
                "file",
                "image",
                "mask",
                "voice",
                "n",
                "size",
                "dimensions",
                "language",
                "stop",
            ]
        ),
        anything | st.binary(max_size=5) | st.just(object()),
        max_size=6,
    )
)
def test_any_request(name, asked):
    before = dict(asked)
    record = Generation(READERS[name].operation)
    READERS[name].read_request(record, asked, content=True)
    assert asked == before
    told(record)
