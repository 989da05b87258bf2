"""What an answer of the responses API says arrives on the span, and how it ended is told as chat completions tell it."""

from __future__ import annotations

import inspect
import json

import openai
import pytest
from pydantic import BaseModel, ValidationError

from llm_otel_broadcast.stand_in.answers import Answer
from tests.support.client_calls import needs_responses, respond
from tests.support.messages import message_of
from tests.support.stand_in import responses

pytestmark = needs_responses


class City(BaseModel):
    name: str


def test_a_response_is_one_span_with_tokens_and_text(kind, as_openai, instrumented, arrived):
    instrumented()
    answer = respond(kind, as_openai, instructions="Be brief.")
    (span,) = arrived(1)
    assert span.name == "chat gpt-4o-mini"
    assert span.status_code == 0
    expected = {
        "gen_ai.operation.name": "chat",
        "openai.api.type": "responses",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.id": answer.id,
        "gen_ai.response.model": "gpt-4o-mini",
        "gen_ai.response.status": "completed",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": answer.usage.input_tokens,
        "gen_ai.usage.output_tokens": answer.usage.output_tokens,
        "gen_ai.usage.cost.source": "estimated",
    }
    assert expected.items() <= span.attributes.items()
    assert json.loads(span.attributes["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Hello!"}]}
    ]
    assert json.loads(span.attributes["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be brief."}]
    assert message_of(span)["parts"] == [{"type": "text", "content": answer.output_text}]


def test_request_parameters_are_recorded_with_the_names_of_the_conventions(kind, stand_in, instrumented, arrived):
    instrumented()
    respond(
        kind,
        stand_in.base_url,
        temperature=1,
        top_p=0.5,
        max_output_tokens=50,
        reasoning={"effort": "low", "summary": "auto"},
        service_tier="flex",
        text={"format": {"type": "json_schema", "name": "city", "schema": {"type": "object"}}},
        tools=[
            {"type": "function", "name": "look_up", "parameters": {"type": "object"}, "strict": False},
            {"type": "web_search_preview"},
        ],
        tool_choice={"type": "function", "name": "look_up"},
        previous_response_id="resp_before",
    )
    expected = {
        "gen_ai.request.temperature": 1.0,
        "gen_ai.request.top_p": 0.5,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.reasoning.level": "low",
        "gen_ai.output.type": "json",
        "gen_ai.request.output_schema.name": "city",
        "gen_ai.request.tools.count": 2,
        "gen_ai.request.tools.names": ["look_up", "web_search_preview"],
        "gen_ai.request.tool_choice": "look_up",
        "gen_ai.request.previous_response.id": "resp_before",
        "openai.request.service_tier": "flex",
    }
    attributes = arrived(1)[0].attributes
    assert expected.items() <= attributes.items()
    assert [tool["type"] for tool in json.loads(attributes["gen_ai.tool.definitions"])] == [
        "function",
        "web_search_preview",
    ]


def test_what_was_not_asked_for_is_absent(stand_in, instrumented, arrived):
    instrumented()
    respond("sync", stand_in.base_url, temperature=None, reasoning=openai.NOT_GIVEN, text=openai.NOT_GIVEN)
    absent = ("temperature", "reasoning.level", "stream", "max_tokens", "previous_response.id", "output_schema.name")
    attributes = arrived(1)[0].attributes
    assert not [key for key in absent if f"gen_ai.request.{key}" in attributes]
    assert not {"gen_ai.output.type", "gen_ai.conversation.id", "openai.request.background"} & attributes.keys()


@pytest.mark.parametrize("conversation", ["conv_1", {"id": "conv_1"}])
def test_the_conversation_is_the_one_that_the_call_names(client, instrumented, arrived, conversation):
    if "conversation" not in inspect.signature(client.responses.create).parameters:
        pytest.skip("the installed client knows no conversations")
    instrumented()
    client.responses.create(model="gpt-4o", input="Hello!", conversation=conversation)
    assert arrived(1)[0].attributes["gen_ai.conversation.id"] == "conv_1"


def test_the_conversation_is_the_one_that_the_answer_names(stand_in, instrumented, arrived):
    stand_in.script(responses.whole(responses.text("Hi."), conversation={"id": "conv_1"}))
    instrumented()
    respond("sync", stand_in.base_url)
    assert arrived(1)[0].attributes["gen_ai.conversation.id"] == "conv_1"


def test_a_session_that_the_caller_names_is_the_conversation(stand_in, instrumented, arrived):
    stand_in.script(responses.whole(responses.text("Hi."), conversation={"id": "conv_1"}))
    instrumented()
    respond("sync", stand_in.base_url, extra_body={"session_id": "mine"})
    assert arrived(1)[0].attributes["gen_ai.conversation.id"] == "mine"


def test_every_kind_of_item_is_recorded(kind, stand_in, instrumented, arrived):
    stand_in.script(
        responses.whole(
            responses.reasoning("First this.", "Then that.", encrypted="gAAAA-secret"),
            responses.text("Here you are.", refusal="But not that."),
            responses.function_call("call_1", "get_weather", '{"city": "Paris"}'),
            responses.item("custom_tool_call", call_id="call_2", name="run", input="ls -l"),
        )
    )
    instrumented()
    respond(kind, stand_in.base_url)
    (span,) = arrived(1)
    assert message_of(span) == {
        "role": "assistant",
        "parts": [
            {"type": "reasoning", "content": "First this.\n\nThen that."},
            {"type": "text", "content": "Here you are."},
            {"type": "refusal", "content": "But not that."},
            {"type": "tool_call", "id": "call_1", "name": "get_weather", "arguments": {"city": "Paris"}},
            {"type": "tool_call", "id": "call_2", "name": "run", "arguments": "ls -l"},
        ],
        "finish_reason": "tool_calls",
    }
    assert span.attributes["gen_ai.response.finish_reasons"] == ["tool_calls"]
    assert span.attributes["gen_ai.response.tool_calls.count"] == 2
    assert "gAAAA" not in repr(span.attributes)


def test_calls_of_built_in_tools_are_counted_and_told(kind, stand_in, instrumented, arrived):
    search = {"type": "search", "query": "weather in Paris"}
    stand_in.script(
        responses.whole(
            responses.item("web_search_call", action=search),
            responses.item("web_search_call", action=search),
            responses.item("code_interpreter_call", code="1 + 1", container_id="c", outputs=None),
            responses.item("mcp_call", name="read", server_label="wiki", arguments="{}", output="A page."),
            responses.text("Rain."),
        )
    )
    instrumented()
    respond(kind, stand_in.base_url)
    (span,) = arrived(1)
    counts = {key.rpartition(".")[2]: value for key, value in span.attributes.items() if "server_tool_calls" in key}
    assert counts == {"web_search": 2, "code_interpreter": 1, "mcp": 1}
    assert span.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    calls = [part for part in message_of(span)["parts"] if part["type"] == "server_tool_call"]
    assert [call["name"] for call in calls] == ["web_search", "web_search", "code_interpreter", "mcp"]
    assert calls[0]["server_tool_call"] == {"type": "web_search", "status": "completed", "action": search}
    assert calls[3]["server_tool_call"]["output"] == "A page."


def test_a_tool_that_the_caller_has_to_run_ends_the_answer_as_a_function_does(stand_in, instrumented, arrived):
    stand_in.script(
        responses.whole(
            responses.item("computer_call", call_id="c", action={"type": "screenshot"}, pending_safety_checks=[])
        )
    )
    instrumented()
    respond("sync", stand_in.base_url)
    assert arrived(1)[0].attributes["gen_ai.response.finish_reasons"] == ["tool_calls"]


def test_a_drawn_image_is_described_not_carried(kind, stand_in, receiver, instrumented, arrived):
    stand_in.script(
        responses.whole(
            responses.item(
                "image_generation_call", result="QUJD" * 1_000, output_format="webp", revised_prompt="A cat."
            )
        )
    )
    instrumented()
    respond(kind, stand_in.base_url)
    call, image = message_of(arrived(1)[0])["parts"]
    assert call["server_tool_call"]["revised_prompt"] == "A cat."
    assert image == {"type": "blob", "modality": "image", "mime_type": "image/webp", "stripped": True, "bytes": 3_000}
    assert not [request for request in receiver.requests if b"QUJDQUJD" in request.body]


def test_cached_and_reasoning_tokens_are_subsets_of_the_totals(stand_in, instrumented, arrived):
    usage = responses.spent(100, 50, cached_tokens=64, cache_write_tokens=8, reasoning_tokens=30)
    stand_in.script(responses.whole(responses.text("Hm."), usage=usage))
    instrumented()
    respond("sync", stand_in.base_url)
    expected = {
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.total_tokens": 150,
        "gen_ai.usage.cache_read.input_tokens": 64,
        "gen_ai.usage.cache_write.input_tokens": 8,
        "gen_ai.usage.reasoning.output_tokens": 30,
    }
    assert expected.items() <= arrived(1)[0].attributes.items()


@pytest.mark.parametrize("streamed", [False, True])
def test_openrouters_provider_and_cost_are_recorded(kind, stand_in, instrumented, arrived, streamed):
    instrumented()
    respond(kind, stand_in.base_url, model="openai/gpt-4o", stream=streamed)
    attributes = arrived(1)[0].attributes
    assert attributes["openrouter.provider_name"] == "OpenAI"
    assert attributes["gen_ai.usage.cost.source"] == "response"
    parts = attributes["gen_ai.usage.input_cost"] + attributes["gen_ai.usage.output_cost"]
    assert attributes["gen_ai.usage.total_cost"] == pytest.approx(parts)


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"reason": "max_output_tokens"}, "length"),
        ({"reason": "content_filter"}, "content_filter"),
        ({"reason": "steered"}, "steered"),
        (None, "incomplete"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_incomplete_response_says_why(stand_in, instrumented, arrived, details, reason, streamed):
    answer = responses.streamed if streamed else responses.whole
    stand_in.script(answer(responses.text("Once upon"), status="incomplete", incomplete_details=details))
    instrumented()
    respond("sync", stand_in.base_url, stream=streamed)
    (span,) = arrived(1)
    assert span.attributes["gen_ai.response.finish_reasons"] == [reason]
    assert span.attributes["gen_ai.response.status"] == "incomplete"
    assert span.status_code == 0


@pytest.mark.parametrize("streamed", [False, True])
def test_a_failed_response_is_an_error_with_the_providers_code(kind, stand_in, instrumented, arrived, streamed):
    """`response.failed` ends as OK."""
    answer = responses.streamed if streamed else responses.whole
    problem = {"code": "server_error", "message": "The model broke."}
    stand_in.script(answer(responses.text("Once"), status="failed", error=problem))
    instrumented()
    respond(kind, stand_in.base_url, stream=streamed)
    (span,) = arrived(1)
    assert span.status_code == 2
    assert span.status_message == "The model broke."
    assert span.attributes["error.type"] == "server_error"
    assert span.attributes["openai.response.error.code"] == "server_error"
    assert span.attributes["gen_ai.response.finish_reasons"] == ["error"]


def test_a_failed_response_that_does_not_say_why_is_an_error_all_the_same(stand_in, instrumented, arrived):
    stand_in.script(responses.whole(status="failed"))
    instrumented()
    respond("sync", stand_in.base_url)
    (span,) = arrived(1)
    assert span.status_code == 2
    assert span.attributes["error.type"] == "failed"


def test_a_cancelled_response_is_no_error(stand_in, instrumented, arrived):
    stand_in.script(responses.whole(status="cancelled"))
    instrumented()
    respond("sync", stand_in.base_url)
    (span,) = arrived(1)
    assert span.attributes["gen_ai.response.finish_reasons"] == ["cancelled"]
    assert span.status_code == 0


def test_parse_makes_one_span_with_the_schemas_name(kind, stand_in, instrumented, arrived):
    stand_in.script(responses.whole(responses.text('{"name": "Paris"}'), usage=responses.spent(5, 6)))
    instrumented()
    answer = respond(kind, stand_in.base_url, method="parse", text_format=City)
    assert answer.output_parsed == City(name="Paris")
    attributes = arrived(1)[0].attributes
    assert attributes["gen_ai.request.output_schema.name"] == "City"
    assert attributes["gen_ai.output.type"] == "json"
    assert attributes["gen_ai.usage.total_tokens"] == 11


def test_an_answer_that_cannot_be_parsed_is_kept(kind, stand_in, instrumented, arrived):
    stand_in.script(responses.whole(responses.text('{"name": '), usage=responses.spent(5, 6)))
    instrumented()
    with pytest.raises(ValidationError):
        respond(kind, stand_in.base_url, method="parse", text_format=City)
    (span,) = arrived(1)
    assert span.attributes["error.type"] == "ValidationError"
    assert span.attributes["gen_ai.usage.total_tokens"] == 11
    assert message_of(span)["parts"] == [{"type": "text", "content": '{"name": '}]


def test_a_raw_response_is_recorded_from_its_bytes(stand_in, client, instrumented, arrived):
    instrumented()
    raw = client.responses.with_raw_response.create(model="gpt-4o", input="Hello!")
    assert raw.parse().output_text.startswith("Hello!")
    attributes = arrived(1)[0].attributes
    assert attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert "How can I help" in attributes["gen_ai.output.messages"]


def test_a_streaming_response_is_recorded(stand_in, client, instrumented, arrived):
    instrumented()
    with client.responses.with_streaming_response.create(model="gpt-4o", input="Hello!") as response:
        assert response.parse().output_text.startswith("Hello!")
    assert arrived(1)[0].attributes["gen_ai.usage.total_tokens"] > 0


def test_the_beta_of_the_responses_api_is_recorded_where_the_client_has_it(client, instrumented, arrived):
    if not hasattr(client.beta, "responses"):
        pytest.skip("the installed client has no such beta")
    instrumented()
    client.beta.responses.create(model="gpt-4o", input="Hello!")
    assert arrived(1)[0].attributes["openai.api.type"] == "responses"


def test_compacting_a_conversation_is_paid_like_an_answer(client, stand_in, instrumented, arrived):
    if not hasattr(client.responses, "compact"):
        pytest.skip("the installed client cannot compact")
    kept = responses.item("message", role="user", content=[{"type": "input_text", "text": "Hello!"}])
    compacted = responses.response(kept, object="response.compaction", usage=responses.spent(90, 10))
    del compacted["status"]
    stand_in.script(Answer(body=json.dumps(compacted).encode()))
    instrumented()
    client.responses.compact(model="gpt-4o", input="Hello!")
    (span,) = arrived(1)
    assert span.name == "compact_response gpt-4o"
    assert span.attributes["gen_ai.usage.input_tokens"] == 90
    assert "gen_ai.output.messages" not in span.attributes


def test_items_are_sent_back_as_objects_of_the_client(client, stand_in, instrumented, arrived):
    stand_in.script(responses.whole(responses.reasoning("Hm."), responses.function_call("call_1", "f", '{"a": 1}')))
    instrumented()
    first = client.responses.create(model="gpt-4o", input="Hello!")
    answer = {"type": "function_call_output", "call_id": "call_1", "output": "42"}
    client.responses.create(model="gpt-4o", input=[{"role": "user", "content": "Hello!"}, *first.output, answer])
    assert json.loads(arrived(2)[-1].attributes["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Hello!"}]},
        {"role": "assistant", "parts": [{"type": "reasoning", "content": "Hm."}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "call_1", "name": "f", "arguments": {"a": 1}}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": "42"}]},
    ]


def test_input_changed_after_the_call_is_recorded_as_it_was(client, receiver, instrumented, arrived):
    instrumented()
    given = [{"role": "user", "content": [{"type": "input_text", "text": "before"}]}]
    client.responses.create(model="gpt-4o", input=given)
    given[0]["content"][0]["text"] = "after"
    given.append({"role": "user", "content": "more"})
    (message,) = json.loads(arrived(1)[0].attributes["gen_ai.input.messages"])
    assert message["parts"] == [{"type": "text", "content": "before"}]


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"output": null}',
        b'{"id": 5, "model": [], "status": {}, "output": [{}, 5, {"type": 3}], "usage": "none"}',
        b'{"output": [{"type": "message", "content": [null, {"text": 5}]}, {"type": "x_call", "deep": [[[[[1]]]]]}]}',
        b'{"status": "failed", "error": "text"}',
    ],
)
def test_an_answer_that_is_not_to_the_letter_is_recorded_all_the_same(stand_in, instrumented, arrived, body):
    stand_in.script(Answer(body=body))
    instrumented()
    respond("sync", stand_in.base_url)
    arrived(1)
