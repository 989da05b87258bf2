"""The LLM is not ours either: a mock of OpenAI's API by others, with its own streams, tool calls, errors and broken connections."""

from __future__ import annotations

import json

import openai
import pytest

from tests.backends.broadcasts import TOOL
from tests.backends.http_requests import ask, post
from tests.support.client_calls import KINDS, MESSAGES, chat

pytestmark = pytest.mark.backend

MODEL = "gpt-4o-mini"


@pytest.fixture(params=KINDS)
def call(request, llmock, instrumented):
    """Return what makes a chat call to the mock, sync and async."""
    instrumented(request_stream_usage=False)
    return lambda **asked: chat(request.param, f"{llmock}/v1", model=MODEL, **asked)


@pytest.fixture
def scenario(llmock):
    """Return what tells the mock how the next call goes."""

    def queue(**behaviour):
        body = json.dumps({"behaviors": [behaviour]}).encode()
        assert post(f"{llmock}/_llmock/scenario", body, {"Content-Type": "application/json"}) == 201

    yield queue
    assert post(f"{llmock}/_llmock/reset", b"", {}) == 200


def tokens(span):
    names = ("input_tokens", "output_tokens", "total_tokens")
    return tuple(span.attributes.get(f"gen_ai.usage.{name}") for name in names)


def spent(usage):
    return usage.prompt_tokens, usage.completion_tokens, usage.total_tokens


def answered(span):
    (said,) = json.loads(span.attributes["gen_ai.output.messages"])
    return said["parts"]


def test_a_plain_call_has_model_tokens_and_answer_and_no_price_of_a_model_that_runs_here(call, arrived):
    answer = call()
    (span,) = arrived(1)
    assert span.name == f"chat {MODEL}"
    assert span.status_code == 0
    assert span.attributes["gen_ai.request.model"] == span.attributes["gen_ai.response.model"] == MODEL
    assert span.attributes["gen_ai.response.id"] == answer.id
    assert span.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert tokens(span) == spent(answer.usage)
    assert answered(span) == [{"type": "text", "content": answer.choices[0].message.content}]
    assert not [name for name in span.attributes if name.startswith("gen_ai.usage.") and "cost" in name]


def test_a_stream_with_usage_has_the_same(call, arrived):
    chunks = call(stream=True, stream_options={"include_usage": True})
    (span,) = arrived(1)
    assert span.status_code == 0
    assert span.attributes["gen_ai.response.model"] == MODEL
    assert span.attributes["gen_ai.response.id"] == chunks[0].id
    assert span.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert tokens(span) == spent(chunks[-1].usage)
    assert answered(span) == [{"type": "text", "content": text(chunks)}]
    assert 0 < span.attributes["gen_ai.response.time_to_first_chunk"] < span.duration_s


def test_a_stream_without_usage_has_no_tokens_made_up(call, arrived):
    call(stream=True)
    (span,) = arrived(1)
    assert tokens(span) == (None, None, None)
    assert "gen_ai.usage.total_cost" not in span.attributes


def test_usage_can_be_asked_for_in_the_callers_place(llmock, instrumented, arrived):
    instrumented(request_stream_usage=True)
    plain = chat("sync", f"{llmock}/v1", model=MODEL, stream=True)
    asked = chat("sync", f"{llmock}/v1", model=MODEL, stream=True, stream_options={"include_usage": True})
    unasked, wanted = arrived(2)
    assert all(chunk.choices for chunk in plain)  # the extra chunk is not for the caller, who did not ask for it
    assert tokens(unasked) == tokens(wanted) == spent(asked[-1].usage)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_call_is_recorded_whole(call, arrived, stream):
    more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    result = call(tools=[TOOL], **more)
    (span,) = arrived(1)
    (part,) = answered(span)
    assert (part["type"], part["name"]) == ("tool_call", "get_weather")
    assert part["arguments"] == {"city": "mock-city"}
    assert span.attributes["gen_ai.response.finish_reasons"] == ["tool_calls"]
    assert tokens(span) == spent(result[-1].usage if stream else result.usage)
    assert "get_weather" in span.attributes["gen_ai.tool.definitions"]


@pytest.mark.parametrize(
    ("status", "error"), [(429, openai.RateLimitError), (500, openai.InternalServerError), (503, openai.APIStatusError)]
)
def test_an_injected_error_is_named_with_its_status(call, scenario, arrived, status, error):
    scenario(type="fail", status=status)
    with pytest.raises(error) as raised:
        call()
    (span,) = arrived(1)
    assert span.status_code == 2
    assert span.attributes["error.type"] == type(raised.value).__name__
    assert span.attributes["http.response.status_code"] == status
    assert span.attributes["gen_ai.request.model"] == MODEL
    assert tokens(span) == (None, None, None)


def test_the_clients_own_retry_is_one_span_and_it_succeeds(llmock, scenario, instrumented, arrived):
    instrumented()
    scenario(type="fail", status=429, retry_after=0.01)
    with openai.OpenAI(api_key="sk-test", base_url=f"{llmock}/v1", max_retries=1) as client:
        answer = client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert [seen["status"] for seen in ask(f"{llmock}/_llmock/requests")["requests"][-2:]] == [429, 200]
    (span,) = arrived(1)
    assert span.status_code == 0
    assert tokens(span) == spent(answer.usage)


def test_a_connection_lost_in_the_stream_is_an_error_with_what_had_come(call, scenario, arrived):
    scenario(type="stream_fault", kind="disconnect", after_chunks=3)
    with pytest.raises(Exception) as raised:
        call(stream=True)
    (span,) = arrived(1)
    assert span.status_code == 2
    assert span.attributes["error.type"] == type(raised.value).__name__
    (part,) = answered(span)
    assert part["content"]


def test_a_stream_that_ends_early_claims_no_finish(call, scenario, arrived):
    """The client takes it for a whole answer (nothing raises): at least the trace does not say so."""
    scenario(type="stream_fault", kind="truncate", after_chunks=3)
    chunks = call(stream=True)
    (span,) = arrived(1)
    assert "gen_ai.response.finish_reasons" not in span.attributes
    assert answered(span) == [{"type": "text", "content": text(chunks)}]


def test_the_trace_fields_do_not_reach_an_api_that_does_not_know_them(call, llmock, scenario, arrived):
    call(extra_body={"trace": {"trace_id": "t", "generation_name": "Named"}, "session_id": "s"})
    (span,) = arrived(1)
    assert span.name == "Named"
    assert span.attributes["session.id"] == "s"
    body = ask(f"{llmock}/_llmock/requests")["requests"][-1]["body"]
    assert set(body) == {"model", "messages"}


def text(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
