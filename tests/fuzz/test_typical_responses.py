"""The typical response has a path of its own: whatever takes it reads to the same record as on the general one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_otel_broadcast.clients.answer_limits import limit_answer
from llm_otel_broadcast.clients.openai.responses.background import Background
from llm_otel_broadcast.clients.openai.responses.reader import FetchReader, ResponsesReader
from tests.fuzz.test_typical_answers import (
    COUNT_VALUES,
    LONG_NAME,
    NAME_VALUES,
    TEXT_VALUES,
    changed,
    facts_of,
    put,
    record_for,
)
from tests.support.fuzzing import EXAMPLES, fuzzed

# openai has the responses API since 1.66
types: Any = pytest.importorskip("openai.types.responses")
Response: Any = types.Response

PART: dict[str, Any] = {"type": "output_text", "text": "It.", "annotations": []}
MESSAGE: dict[str, Any] = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [PART],
}
REASONING: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": []}
FUNCTION_CALL: dict[str, Any] = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "weather",
    "arguments": '{"city": "Oslo"}',
}
RESPONSE_USAGE: dict[str, Any] = {
    "input_tokens": 400,
    "output_tokens": 12,
    "total_tokens": 412,
    "input_tokens_details": {"cached_tokens": 128},
    "output_tokens_details": {"reasoning_tokens": 4},
}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_790_000_000,
    "error": None,
    "model": "gpt-5",
    "output": [REASONING, MESSAGE],
    "parallel_tool_calls": True,
    "service_tier": "default",
    "status": "completed",
    "tool_choice": "auto",
    "tools": [],
    "usage": RESPONSE_USAGE,
}
ITEMS: list[Any] = [
    MESSAGE,
    FUNCTION_CALL,
    {**FUNCTION_CALL, "namespace": "crm", "type": "custom_tool_call", "input": "select 1"},
    {**FUNCTION_CALL, "call_id": LONG_NAME},
    {**FUNCTION_CALL, "name": LONG_NAME},
    {**MESSAGE, "content": [{**PART, "text": "x" * 1_000}]},
    {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "Oslo"}},
    {"type": "compaction", "id": "cmp_1", "encrypted_content": "x"},
    {**REASONING, "summary": [{"type": "summary_text", "text": "because"}]},
    {**REASONING, "content": [{"type": "reasoning_text", "text": "hence"}]},
    {**MESSAGE, "role": "user"},
    {**MESSAGE, "content": [{"type": "refusal", "refusal": "no"}]},
    {**MESSAGE, "content": [PART, PART]},
    {"type": ["message"]},
    {"type": "surprise", "id": "s_1", "data": "x"},
    {},
    None,
]
RESPONSE_VALUES: dict[tuple[str | int, ...], list[Any]] = {
    **{(name,): NAME_VALUES for name in ("id", "model", "service_tier", "provider")},
    ("status",): ["incomplete", "failed", "in_progress", "queued", "cancelled", None, 3],
    ("object",): ["error", None],
    ("error",): [None, {}, {"code": "server_error", "message": "broken"}],
    ("incomplete_details",): [None, {"reason": "max_output_tokens"}],
    ("status_details",): [None, {"error": {"code": "x", "message": "y"}}],
    ("conversation",): [None, {"id": "conv_1"}, "conv_2"],
    ("conversation_id",): [None, "conv_3"],
    ("instructions",): [None, "Be short."],
    ("openrouter_metadata",): [None, {"strategy": "direct"}],
    ("base_resp",): [None, {"status_code": 1004, "status_msg": "no"}],
    ("output",): [None, {}, MESSAGE, *([item] for item in ITEMS), *([item, MESSAGE] for item in ITEMS)],
    ("output", 1, "role"): NAME_VALUES,
    ("output", 1, "content"): [None, [], {}, "It depends.", [3]],
    ("output", 1, "content", 0, "text"): TEXT_VALUES,
    ("output", 1, "content", 0, "refusal"): TEXT_VALUES,
    ("output", 1, "content", 0, "transcript"): TEXT_VALUES,
    ("usage",): [None, {}, {"cost": 0.5, **RESPONSE_USAGE}],
    **{("usage", name): COUNT_VALUES for name in ("input_tokens", "output_tokens", "total_tokens", "prompt_tokens")},
    ("usage", "input_tokens_details", "cached_tokens"): COUNT_VALUES,
    ("usage", "input_tokens_details", "surprise"): COUNT_VALUES,
    ("usage", "output_tokens_details", "reasoning_tokens"): COUNT_VALUES,
    ("usage", "output_tokens_details"): [None, 5],
}
RESPONSE_PLACES = {place: st.sampled_from(values) for place, values in RESPONSE_VALUES.items()}
REQUESTED: list[dict[str, Any]] = [
    {},
    {"background": True},
    {"previous_response_id": LONG_NAME},
    {"conversation": "conv_1", "input": [{"type": "compaction"}]},
]


READERS = [ResponsesReader, FetchReader]


def assert_equal(
    make: Any, answer: dict[str, Any], requested: dict[str, Any], *, content: bool, unwanted: frozenset[str]
) -> None:
    response = Response.construct(**answer)
    record, expected = (record_for(content=content, unwanted=unwanted) for _ in range(2))
    for each in (record, expected):
        each.operation = make.operation
    reader, general = (make(Background()) for _ in range(2))
    reader.read_request(record, dict(requested), content=content)
    general.read_request(expected, dict(requested), content=content)
    reader.read_response(record, response)
    general.read_any_response(expected, response)
    general.follow_background(expected)
    if not record.is_limited:
        limit_answer(record)
    limit_answer(expected)
    assert facts_of(record) == facts_of(expected)


@pytest.mark.parametrize("make", READERS)
@settings(fuzzed, max_examples=EXAMPLES or 100)
@given(
    answer=changed(RESPONSE, RESPONSE_PLACES),
    requested=st.sampled_from(REQUESTED),
    content=st.booleans(),
    unwanted=st.sampled_from([frozenset[str](), frozenset({"outputs"})]),
)
def test_a_typical_response_reads_to_the_same_record_as_any_response(make, answer, requested, content, unwanted):
    assert_equal(make, answer, requested, content=content, unwanted=unwanted)


@pytest.mark.parametrize("make", READERS)
@pytest.mark.parametrize("content", [True, False])
def test_a_response_that_differs_in_anything_reads_as_ever(make, content):
    for place, values in RESPONSE_VALUES.items():
        for value in values:
            for requested in REQUESTED:
                answer = put(RESPONSE, place, value)
                assert_equal(make, answer, requested, content=content, unwanted=frozenset())


def test_a_member_that_a_newer_client_declares_is_read_as_ever():
    class Newer(Response):  # type: ignore[misc]
        provider: str | None = None

    record = record_for(content=True, unwanted=frozenset())
    ResponsesReader(Background()).read_response(record, Newer.construct(**RESPONSE, provider="Azure"))
    assert record.serving_provider == "Azure"


@pytest.mark.skipif(
    "input_tokens_details" not in types.ResponseUsage.model_fields,
    reason="the installed client knows no parts of usage",
)
@pytest.mark.parametrize("content", [True, False])
@pytest.mark.parametrize("output", [[MESSAGE], [REASONING, MESSAGE], [REASONING, FUNCTION_CALL], []])
def test_the_response_that_most_calls_get_is_a_typical_one(output, content, monkeypatch):
    monkeypatch.delattr(ResponsesReader, "read_any_response")
    record = record_for(content=content, unwanted=frozenset())
    ResponsesReader(Background()).read_response(record, Response.construct(**{**RESPONSE, "output": output}))
    assert record.is_limited is (FUNCTION_CALL not in output)
    assert record.usage is not None
    assert record.usage.reasoning_tokens == 4
