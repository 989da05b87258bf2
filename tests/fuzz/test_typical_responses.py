"""The typical response has a path of its own: whatever takes it reads to the same record as on the general one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_otel_broadcast.clients.answer_limits import limit_answer
from llm_otel_broadcast.clients.openai.responses.background import Background
from llm_otel_broadcast.clients.openai.responses.reader import FetchReader, ResponsesReader
from tests.fuzz.test_typical_answers import COUNTS, LONG_NAME, NAMES, TEXTS, changed, facts_of, record_for
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
ITEMS = st.sampled_from(
    [
        MESSAGE,
        FUNCTION_CALL,
        {**FUNCTION_CALL, "namespace": "crm", "type": "custom_tool_call", "input": "select 1"},
        {**FUNCTION_CALL, "call_id": LONG_NAME},
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
)
RESPONSE_PLACES: dict[tuple[str | int, ...], st.SearchStrategy[Any]] = {
    **{(name,): NAMES for name in ("id", "model", "service_tier", "provider")},
    ("status",): st.sampled_from(["incomplete", "failed", "in_progress", "queued", "cancelled", None, 3]),
    ("object",): st.sampled_from(["error", None]),
    ("error",): st.sampled_from([None, {}, {"code": "server_error", "message": "broken"}]),
    ("incomplete_details",): st.sampled_from([None, {"reason": "max_output_tokens"}]),
    ("status_details",): st.sampled_from([None, {"error": {"code": "x", "message": "y"}}]),
    ("conversation",): st.sampled_from([None, {"id": "conv_1"}, "conv_2"]),
    ("conversation_id",): st.sampled_from([None, "conv_3"]),
    ("instructions",): st.sampled_from([None, "Be short."]),
    ("openrouter_metadata",): st.sampled_from([None, {"strategy": "direct"}]),
    ("base_resp",): st.sampled_from([None, {"status_code": 1004, "status_msg": "no"}]),
    ("output",): st.lists(ITEMS, max_size=3) | st.sampled_from([None, {}, MESSAGE]),
    ("output", 1, "role"): NAMES,
    ("output", 1, "content"): st.sampled_from([None, [], {}, "It depends.", [3]]),
    ("output", 1, "content", 0, "text"): TEXTS,
    ("output", 1, "content", 0, "refusal"): TEXTS,
    ("output", 1, "content", 0, "transcript"): TEXTS,
    ("usage",): st.sampled_from([None, {}, {"cost": 0.5, **RESPONSE_USAGE}]),
    **{("usage", name): COUNTS for name in ("input_tokens", "output_tokens", "total_tokens", "prompt_tokens")},
    ("usage", "input_tokens_details", "cached_tokens"): COUNTS,
    ("usage", "input_tokens_details", "surprise"): COUNTS,
    ("usage", "output_tokens_details", "reasoning_tokens"): COUNTS,
    ("usage", "output_tokens_details"): st.sampled_from([None, 5]),
}
REQUESTED: list[dict[str, Any]] = [
    {},
    {"background": True},
    {"previous_response_id": LONG_NAME},
    {"conversation": "conv_1", "input": [{"type": "compaction"}]},
]


@pytest.mark.parametrize("make", [ResponsesReader, FetchReader])
@settings(fuzzed, max_examples=EXAMPLES or 200)
@given(
    answer=changed(RESPONSE, RESPONSE_PLACES),
    requested=st.sampled_from(REQUESTED),
    content=st.booleans(),
    unwanted=st.sampled_from([frozenset[str](), frozenset({"outputs"})]),
)
def test_a_typical_response_reads_to_the_same_record_as_any_response(make, answer, requested, content, unwanted):
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
