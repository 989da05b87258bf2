"""What a whole answer says arrives on the span, and the caller gets what the client returns."""

from __future__ import annotations

import inspect
import json

import openai
import pytest

from llm_otel_broadcast.stand_in.answers import Answer, completion, message, usage_of
from tests.support.client_calls import MESSAGES, chat

CREATE_TAKES = inspect.signature(openai.resources.chat.completions.Completions.create).parameters
"""openai 1.40 knows neither `max_completion_tokens` nor `reasoning_effort`."""


def test_a_call_makes_exactly_one_span(kind, stand_in, instrumented, arrived):
    instrumented()
    chat(kind, stand_in.base_url)
    (span,) = arrived(1)
    assert span.name == "chat gpt-4o-mini"
    assert span.duration_s > 0
    assert span.status_code == 0


def test_the_answer_equals_that_of_an_unpatched_client(kind, stand_in, instrumented):
    answer = completion(message("The same."), usage=usage_of(1, 2))
    stand_in.script(answer, answer)
    plain = chat(kind, stand_in.base_url)
    instrumented()
    traced = chat(kind, stand_in.base_url)
    assert type(traced) is type(plain)
    assert traced == plain


def test_the_request_equals_that_of_an_unpatched_client(kind, stand_in, instrumented):
    chat(kind, stand_in.base_url, temperature=0.5)
    instrumented()
    chat(kind, stand_in.base_url, temperature=0.5)
    plain, traced = stand_in.requests
    assert traced.body == plain.body
    assert traced.path == plain.path


def test_request_parameters_are_recorded_with_the_types_of_the_conventions(stand_in, instrumented, arrived):
    instrumented()
    newer = {"max_completion_tokens": 50, "reasoning_effort": "low"}
    asked = {name: value for name, value in newer.items() if name in CREATE_TAKES} or {"max_tokens": 50}
    chat(
        "sync",
        stand_in.base_url,
        temperature=1,
        top_p=0.5,
        frequency_penalty=0,
        presence_penalty=0.25,
        seed=7,
        n=2,
        stop=["END"],
        service_tier="flex",
        response_format={"type": "json_object"},
        **asked,
    )
    expected = {
        "gen_ai.request.temperature": 1.0,
        "gen_ai.request.top_p": 0.5,
        "gen_ai.request.frequency_penalty": 0.0,
        "gen_ai.request.presence_penalty": 0.25,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.seed": 7,
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.stop_sequences": ["END"],
        "gen_ai.output.type": "json",
        "openai.request.service_tier": "flex",
        "openai.api.type": "chat_completions",
    }
    if "reasoning_effort" in asked:
        expected["gen_ai.request.reasoning.level"] = "low"
    attributes = arrived(1)[0].attributes
    assert expected.items() <= attributes.items()
    assert isinstance(attributes["gen_ai.request.temperature"], float)


def test_what_was_not_asked_for_is_absent(stand_in, instrumented, arrived):
    instrumented()
    chat("sync", stand_in.base_url, temperature=None, seed=openai.NOT_GIVEN)
    attributes = arrived(1)[0].attributes
    absent = ("temperature", "seed", "choice.count", "stream", "max_tokens", "stop_sequences")
    assert not [key for key in absent if f"gen_ai.request.{key}" in attributes]


def test_the_server_is_named(stand_in, instrumented, arrived):
    instrumented()
    chat("sync", stand_in.base_url)
    attributes = arrived(1)[0].attributes
    assert attributes["server.address"] == "127.0.0.1"
    assert f"http://127.0.0.1:{attributes['server.port']}/v1" == stand_in.base_url


def test_all_choices_and_their_reasons_are_recorded(stand_in, instrumented, arrived):
    stand_in.script(completion(message("One."), message("Two."), message(tool_calls=[("c", "f", "{}")])))
    instrumented()
    chat("sync", stand_in.base_url, n=3)
    attributes = arrived(1)[0].attributes
    assert attributes["gen_ai.response.finish_reasons"] == ["stop", "stop", "tool_calls"]
    said = json.loads(attributes["gen_ai.output.messages"])
    assert [answer["parts"][0].get("content") for answer in said] == ["One.", "Two.", None]


def test_tool_calls_have_parsed_arguments(stand_in, instrumented, arrived):
    calls = [("call_1", "get_weather", '{"city": "Paris"}'), ("call_2", "broken", '{"city": ')]
    stand_in.script(completion(message(tool_calls=calls)))
    instrumented()
    chat("sync", stand_in.base_url)
    (said,) = json.loads(arrived(1)[0].attributes["gen_ai.output.messages"])
    assert said["parts"] == [
        {"type": "tool_call", "id": "call_1", "name": "get_weather", "arguments": {"city": "Paris"}},
        {"type": "tool_call", "id": "call_2", "name": "broken", "arguments": '{"city": '},
    ]


def test_reasoning_and_refusal_are_parts_of_their_own(stand_in, instrumented, arrived):
    stand_in.script(completion(message("Yes.", reasoning="Let me think."), message(refusal="I would rather not.")))
    instrumented()
    chat("sync", stand_in.base_url)
    first, second = json.loads(arrived(1)[0].attributes["gen_ai.output.messages"])
    assert first["parts"] == [
        {"type": "reasoning", "content": "Let me think."},
        {"type": "text", "content": "Yes."},
    ]
    assert second["parts"] == [{"type": "refusal", "content": "I would rather not."}]


def test_cached_reasoning_and_audio_tokens_are_subsets_of_the_totals(stand_in, instrumented, arrived):
    usage = usage_of(100, 50, cached_tokens=64, cache_write_tokens=8, audio_tokens=4, reasoning_tokens=30)
    stand_in.script(completion(message("Hm."), usage=usage))
    instrumented()
    chat("sync", stand_in.base_url)
    expected = {
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.total_tokens": 150,
        "gen_ai.usage.cache_read.input_tokens": 64,
        "gen_ai.usage.cache_write.input_tokens": 8,
        "gen_ai.usage.audio.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 30,
    }
    assert expected.items() <= arrived(1)[0].attributes.items()


def test_without_usage_there_are_no_tokens_and_no_cost(stand_in, instrumented, arrived):
    stand_in.script(completion(message("Free.")))
    instrumented()
    chat("sync", stand_in.base_url)
    assert not [key for key in arrived(1)[0].attributes if key.startswith("gen_ai.usage")]


def test_log_probabilities_pass_through_untouched(stand_in, instrumented, arrived):
    answer = completion(message("Sure."))
    document = json.loads(answer.body)
    document["choices"][0]["logprobs"] = {
        "content": [{"token": "Sure", "logprob": -0.1, "bytes": None, "top_logprobs": []}]
    }
    stand_in.script(Answer(body=json.dumps(document).encode()))
    instrumented()
    made = chat("sync", stand_in.base_url, logprobs=True)
    assert made.choices[0].logprobs.content[0].token == "Sure"
    arrived(1)


@pytest.mark.parametrize(
    "body", [b"{}", b'{"choices": null}', b'{"id": 5, "model": [], "choices": [{}], "usage": "none"}']
)
def test_an_answer_that_is_not_to_the_letter_is_recorded_all_the_same(stand_in, instrumented, arrived, body):
    """Gateways send what they like."""
    stand_in.script(Answer(body=body))
    instrumented()
    chat("sync", stand_in.base_url)
    arrived(1)


def test_an_error_inside_a_200_is_an_error(stand_in, instrumented, arrived):
    body = {"error": {"code": 503, "message": "No provider left"}, "choices": None}
    stand_in.script(Answer(body=json.dumps(body).encode()))
    instrumented()
    chat("sync", stand_in.base_url)
    (span,) = arrived(1)
    assert span.status_code == 2
    assert span.attributes["error.type"] == "503"


def test_messages_changed_after_the_call_are_recorded_as_they_were(stand_in, client, receiver, instrumented, arrived):
    import llm_otel_broadcast

    llm_otel_broadcast.instrument(endpoint=receiver.endpoint)
    messages = [{"role": "user", "content": [{"type": "text", "text": "before"}]}]
    client.chat.completions.create(model="gpt-4o", messages=messages)
    messages[0]["content"][0]["text"] = "after"
    messages.append({"role": "user", "content": "more"})
    (said,) = json.loads(arrived(1)[0].attributes["gen_ai.input.messages"])
    assert said["parts"] == [{"type": "text", "content": "before"}]


def test_messages_from_a_generator_reach_the_server_and_the_span(client, stand_in, instrumented, arrived):
    instrumented()
    client.chat.completions.create(model="gpt-4o", messages=(dict(said) for said in MESSAGES))
    assert stand_in.requests[-1].json["messages"] == MESSAGES
    assert "Hello!" in arrived(1)[0].attributes["gen_ai.input.messages"]


def test_the_answers_own_message_can_be_sent_back(client, stand_in, instrumented, arrived):
    """An assistant message given as the client's own object reads like a dict."""
    stand_in.script(completion(message(tool_calls=[("call_1", "f", '{"a": 1}')])))
    instrumented()
    first = client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    client.chat.completions.create(model="gpt-4o", messages=[*MESSAGES, first.choices[0].message])
    said = json.loads(arrived(2)[-1].attributes["gen_ai.input.messages"])
    assert said[1] == {
        "role": "assistant",
        "parts": [{"type": "tool_call", "id": "call_1", "name": "f", "arguments": {"a": 1}}],
    }
