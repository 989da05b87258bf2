"""Typical requests and answers have a path of their own: whatever takes it reads to the same record as on the general one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import NOT_GIVEN
from openai.types import CompletionUsage, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion

from llm_otel_broadcast.clients.answer_limits import limit_answer
from llm_otel_broadcast.clients.openai.chat import ChatReader
from llm_otel_broadcast.clients.openai.embeddings import EmbeddingReader
from llm_otel_broadcast.clients.reader import MAX_NAME_CHARACTERS
from llm_otel_broadcast.record.generation import Generation
from tests.support.fuzzing import EXAMPLES, fuzzed

LONG_NAME = "n" * (MAX_NAME_CHARACTERS + 1)
MAX_CHARACTERS = 40
NAME_VALUES: list[Any] = ["gpt-4o", "stop", "", LONG_NAME, None, 7, True, {"name": "gpt"}]
NAMES = st.sampled_from(NAME_VALUES)
TEXT_VALUES: list[Any] = ["It depends.", "", "x" * (MAX_CHARACTERS + 1), None, 5, ["a", {"type": "text", "text": "b"}]]
TEXTS = st.sampled_from(TEXT_VALUES)
COUNT_VALUES: list[Any] = [0, 1, 12, 400, 412, 2**53, -1, 2.5, "12", None, True]
COUNTS = st.sampled_from(COUNT_VALUES)
CALLS = st.sampled_from(
    [
        None,
        [],
        {},
        [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}],
        [{"id": LONG_NAME, "type": "custom", "custom": {"name": "sql", "input": "select 1"}}],
    ]
)
USAGE: dict[str, Any] = {
    "prompt_tokens": 400,
    "completion_tokens": 12,
    "total_tokens": 412,
    "prompt_tokens_details": {"cached_tokens": 128, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 4, "accepted_prediction_tokens": 0},
}
ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_790_000_000,
    "model": "gpt-4o",
    "service_tier": "default",
    "system_fingerprint": "fp_1",
    "usage": USAGE,
    "choices": [
        {"index": 0, "finish_reason": "stop", "logprobs": None, "message": {"role": "assistant", "content": "It."}}
    ],
}
PLACES: dict[tuple[str | int, ...], st.SearchStrategy[Any]] = {
    **{(name,): NAMES for name in ("id", "model", "service_tier", "system_fingerprint", "provider")},
    ("error",): st.sampled_from([None, {}, {"code": 429, "message": "slow down"}]),
    ("openrouter_metadata",): st.sampled_from([None, {"strategy": "direct"}]),
    ("x_groq",): st.sampled_from([None, {"usage": USAGE}]),
    ("choices",): st.sampled_from([None, [], {}, ANSWER["choices"] * 2]),
    ("usage",): st.sampled_from([None, {}, {"cost": 0.5, **USAGE}]),
    ("choices", 0, "index"): st.sampled_from([0, 3, None, True, "0"]),
    ("choices", 0, "finish_reason"): st.sampled_from(["length", "error", "", None, 3]),
    ("choices", 0, "native_finish_reason"): NAMES,
    ("choices", 0, "usage"): st.just(USAGE),
    ("choices", 0, "message"): st.sampled_from([None, "It depends.", {}]),
    ("choices", 0, "message", "role"): NAMES,
    ("choices", 0, "message", "content"): TEXTS,
    ("choices", 0, "message", "refusal"): TEXTS,
    ("choices", 0, "message", "reasoning"): TEXTS,
    ("choices", 0, "message", "tool_calls"): CALLS,
    ("choices", 0, "message", "function_call"): st.sampled_from([None, {}, {"name": "weather", "arguments": "{}"}]),
    ("choices", 0, "message", "audio"): st.sampled_from([None, {"id": "a", "data": "AAAA", "transcript": "hi"}]),
    **{("usage", name): COUNTS for name in ("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens")},
    **{
        ("usage", "prompt_tokens_details", name): COUNTS
        for name in ("cached_tokens", "cache_write_tokens", "cache_creation_tokens", "audio_tokens", "surprise")
    },
    **{
        ("usage", "completion_tokens_details", name): COUNTS
        for name in ("reasoning_tokens", "text_tokens", "rejected_prediction_tokens", "surprise")
    },
    ("usage", "prompt_tokens_details"): st.sampled_from([None, 5, {"cached_tokens_details": {"text_tokens": 7}}]),
}


@st.composite
def changed(draw: st.DrawFn, base: dict[str, Any], places: dict[tuple[str | int, ...], st.SearchStrategy[Any]]) -> Any:
    """Return the base with a few of its places changed."""
    for place in draw(st.lists(st.sampled_from(sorted(places, key=str)), max_size=4, unique=True)):
        base = put(base, place, draw(places[place]))
    return base


def put(value: Any, place: tuple[str | int, ...], member: Any) -> Any:
    """Return a copy of the value with a member in the place, or the value itself where there is no such place any more."""
    first, *rest = place
    if isinstance(first, int):
        if not isinstance(value, list) or len(value) <= first:
            return value
        return [*value[:first], put(value[first], tuple(rest), member), *value[first + 1 :]]
    if not isinstance(value, dict):
        return value
    return {**value, first: put(value.get(first), tuple(rest), member) if rest else member}


def facts_of(record: Generation) -> dict[str, Any]:
    """Return all that a record holds, but for its clock and for whether it is known to be within the limits."""
    names = {name for kind in type(record).__mro__ for name in getattr(kind, "__slots__", ())}
    # Known by others, or of the clock.
    names -= {"outer_parent_span_id", "start_ns", "started", "is_limited", "unread_usage", "_usage"}
    return {name: getattr(record, name) for name in sorted(names)}


def record_for(*, content: bool, unwanted: frozenset[str]) -> Generation:
    record = Generation("chat", "chat_completions")
    record.wants_content = content
    record.unwanted = unwanted
    record.max_characters = MAX_CHARACTERS
    return record


@settings(fuzzed, max_examples=EXAMPLES or 300)
@given(
    answer=changed(ANSWER, PLACES),
    content=st.booleans(),
    unwanted=st.sampled_from([frozenset[str](), frozenset({"outputs"})]),
)
def test_a_typical_answer_reads_to_the_same_record_as_any_answer(answer, content, unwanted):
    response = ChatCompletion.construct(**answer)
    record, expected = (record_for(content=content, unwanted=unwanted) for _ in range(2))
    ChatReader().read_response(record, response)
    ChatReader().read_any_response(expected, response)
    # What is known to be within the limits is not looked at again.
    if not record.is_limited:
        limit_answer(record)
    limit_answer(expected)
    assert facts_of(record) == facts_of(expected)


@pytest.mark.parametrize("content", [True, False])
@pytest.mark.skipif(
    "prompt_tokens_details" not in CompletionUsage.model_fields, reason="the installed client knows no parts of usage"
)
def test_the_answer_that_most_calls_get_is_a_typical_one(content, monkeypatch):
    monkeypatch.delattr(ChatReader, "read_any_response")
    record = record_for(content=content, unwanted=frozenset())
    ChatReader().read_response(record, ChatCompletion.construct(**ANSWER))
    assert record.is_limited
    assert record.usage is not None
    assert record.usage.cache_read_tokens == 128


ARGUMENTS: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from(["gpt-4o", "", None, NOT_GIVEN]),
    "messages": st.sampled_from([[{"role": "user", "content": "Hello"}], None, NOT_GIVEN]),
    "temperature": st.sampled_from([0.5, 0, None, NOT_GIVEN]),
    "max_tokens": st.sampled_from([100, None, NOT_GIVEN]),
    "stop": st.sampled_from([["a", "b"], "a", None, NOT_GIVEN]),
    "reasoning_effort": st.sampled_from(["low", None, NOT_GIVEN]),
    "user": st.just("user_1"),
    "stream": st.booleans(),
    "response_format": st.sampled_from([{"type": "json_object"}, None, NOT_GIVEN]),
    "tool_choice": st.sampled_from(["auto", {"type": "function", "function": {"name": "weather"}}]),
    "reasoning": st.sampled_from([{"effort": "high"}, None]),
    "function_call": st.sampled_from(["none", None]),
}


@settings(fuzzed, max_examples=EXAMPLES or 200)
@given(arguments=st.fixed_dictionaries({}, optional=ARGUMENTS), content=st.booleans())
def test_a_typical_request_reads_to_the_same_record_as_any_request(arguments, content):
    record, expected = (record_for(content=False, unwanted=frozenset()) for _ in range(2))
    ChatReader().read_request(record, dict(arguments), content=content)
    # Arguments that are read apart take the general path; given as None they say nothing.
    ChatReader().read_request(expected, {**arguments, "tools": None, "audio": None}, content=content)
    expected.details = None if not any((expected.details or {}).values()) else expected.details
    assert facts_of(record) == facts_of(expected)


VECTORS: dict[str, Any] = {
    "object": "list",
    "model": "text-embedding-3-small",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.5, 0.25]}],
    "usage": {"prompt_tokens": 8, "total_tokens": 8},
}
VECTOR_VALUES: dict[tuple[str | int, ...], list[Any]] = {
    **{(name,): NAME_VALUES for name in ("id", "model", "service_tier", "system_fingerprint", "provider")},
    ("data",): [None, [], {}, [None]],
    ("data", 0, "embedding"): [None, [], [1, 2], [[0.5, 1.5]], "AACAPwAAgD8=", [None], ["0.5"], 5],
    ("error",): [None, {"message": "broken"}],
    ("usage",): [None, {}, {"cost": 0.5, "prompt_tokens": 8}],
    **{
        ("usage", name): COUNT_VALUES for name in ("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens")
    },
    ("usage", "prompt_tokens_details"): [None, {"cached_tokens": 2}],
}
VECTOR_PLACES = {place: st.sampled_from(values) for place, values in VECTOR_VALUES.items()}


REQUESTED_VECTORS: list[dict[str, Any]] = [
    {},
    {"input": "a", "dimensions": 3},
    {"input": ["a"], "encoding_format": LONG_NAME},
]


def assert_equal_vectors(answer: dict[str, Any], requested: dict[str, Any]) -> None:
    response = CreateEmbeddingResponse.construct(**answer)
    record, expected = (record_for(content=True, unwanted=frozenset()) for _ in range(2))
    for each in (record, expected):
        each.operation = "embeddings"
        EmbeddingReader().read_request(each, dict(requested), content=True)
    EmbeddingReader().read_response(record, response)
    EmbeddingReader().read_any_response(expected, response)
    if not record.is_limited:
        limit_answer(record)
    limit_answer(expected)
    assert facts_of(record) == facts_of(expected)


@settings(fuzzed, max_examples=EXAMPLES or 100)
@given(answer=changed(VECTORS, VECTOR_PLACES), requested=st.sampled_from(REQUESTED_VECTORS))
def test_typical_vectors_read_to_the_same_record_as_any_vectors(answer, requested):
    assert_equal_vectors(answer, requested)


def test_vectors_that_differ_in_anything_read_as_ever():
    for place, values in VECTOR_VALUES.items():
        for value in values:
            for requested in REQUESTED_VECTORS:
                assert_equal_vectors(put(VECTORS, place, value), requested)


def test_the_vectors_that_most_calls_get_are_typical_ones(monkeypatch):
    monkeypatch.delattr(EmbeddingReader, "read_any_response")
    record = record_for(content=True, unwanted=frozenset())
    EmbeddingReader().read_response(record, CreateEmbeddingResponse.construct(**VECTORS))
    assert record.is_limited
    assert record.details == {"dimensions": 3}
    assert record.usage is not None
    assert record.usage.output_tokens is None
