"""Facts that come late in a stream or in a header, and names that are for OpenAI's spans only."""

from __future__ import annotations

import json

import openai
import pytest

from llm_otel_broadcast.stand_in.answers import Answer, completion, error, event, message
from tests.support.client_calls import KINDS, MESSAGES, chat, needs_responses, respond
from tests.support.stand_in import responses

USAGE = {"prompt_tokens": 46, "total_tokens": 60, "completion_tokens": 14}
END = {"index": 0, "delta": {}, "finish_reason": "stop"}
LATE = {"system_fingerprint": "fp_1", "service_tier": "flex", "provider": "Together"}


def chunks(*late: dict) -> Answer:
    """Return a stream of four chunks, each with members of its own."""
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m1"}
    choices = [[{"index": 0, "delta": {"content": piece}, "finish_reason": None}] for piece in "ab"]
    bodies = [{"choices": choices[0]}, {"choices": choices[1]}, {"choices": [END]}, {"choices": [], "usage": USAGE}]
    return Answer(events=tuple(event({**head, **body, **late[at]}) for at, body in enumerate(bodies)))


@pytest.mark.parametrize("at", range(4))
def test_facts_are_recorded_from_whichever_chunk_states_them(at, url_at, stand_in, instrumented, arrived):
    """vLLM states its fingerprint in the last chunk only."""
    stand_in.script(chunks(*(LATE if at == position else {} for position in range(4))))
    instrumented()
    chat("sync", url_at("openrouter.ai"), stream=True)
    attributes = arrived(1)[0].attributes
    assert attributes["gen_ai.response.system_fingerprint"] == "fp_1"
    assert attributes["gen_ai.response.service_tier"] == "flex"
    assert attributes["openrouter.provider_name"] == "Together"


def test_a_tier_that_turns_out_to_be_another_is_the_last_one(stand_in, instrumented, arrived):
    stand_in.script(chunks({"service_tier": "auto"}, {}, {"service_tier": "default"}, {}))
    instrumented()
    chat("sync", stand_in.base_url, stream=True)
    assert arrived(1)[0].attributes["openai.response.service_tier"] == "default"


@needs_responses
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_response_that_is_fetched_has_its_instructions(kind, streamed, stand_in, instrumented, arrived):
    make = responses.streamed if streamed else responses.whole
    stand_in.script(make(responses.text("Hi"), id="resp_1", instructions="Be brief."))
    instrumented()
    respond(kind, stand_in.base_url, "resp_1", method="retrieve", stream=streamed)
    stated = json.loads(arrived(1)[0].attributes["gen_ai.system_instructions"])
    assert stated == [{"type": "text", "content": "Be brief."}]


@needs_responses
@pytest.mark.parametrize("way", ["raw", "http", "streamed", "lazy"])
def test_the_model_that_azures_router_chose_is_the_one_that_answered(way, stand_in, instrumented, arrived):
    """Of the responses API the body repeats the name of the deployment (openai-python#3271)."""
    make = responses.streamed if way == "streamed" else responses.whole
    answer = make(responses.text("Hi"), model="model-router")
    stand_in.script(Answer(answer.status, answer.body, answer.events, {"x-ms-served-model": "gpt-5-mini-2025-08-07"}))
    instrumented()
    azure = {"api_key": "x", "api_version": "2025-04-01-preview", "azure_endpoint": stand_in.url}
    with openai.AzureOpenAI(**azure, max_retries=0) as client:
        asked = {"model": "model-router", "input": "x"}
        if way == "streamed":
            list(client.responses.create(**asked, stream=True))
        elif way == "lazy":
            with client.responses.with_streaming_response.create(**asked) as response:
                response.parse()
        elif way == "http":
            client.responses.with_raw_response.create(**asked).http_response.read()
        else:
            client.responses.with_raw_response.create(**asked).parse()
    attributes = arrived(1)[0].attributes
    assert attributes["gen_ai.response.model"] == "gpt-5-mini-2025-08-07"
    assert attributes["gen_ai.request.model"] == "model-router"


def test_of_a_provider_with_a_name_of_its_own_that_header_is_not_believed(as_openai, stand_in, instrumented, arrived):
    answer = completion(message("Hi"), model="gpt-4o")
    stand_in.script(Answer(body=answer.body, headers={"x-ms-served-model": "another"}))
    instrumented()
    with openai.OpenAI(api_key="x", base_url=as_openai, max_retries=0) as client:
        client.chat.completions.with_raw_response.create(model="gpt-4o", messages=MESSAGES)
    assert arrived(1)[0].attributes["gen_ai.response.model"] == "gpt-4o"


HOSTS = {
    "api.openai.com": "openai",
    "name.openai.azure.com": "openai",
    "llm.example.com": "openai",
    "api.groq.com": "gen_ai",
    "openrouter.ai": "gen_ai",
    "api.mistral.ai": "gen_ai",
}


@pytest.mark.parametrize(("host", "vendor"), HOSTS.items())
def test_attributes_of_openai_are_on_spans_of_openai_and_azure_only(
    host, vendor, url_at, stand_in, instrumented, arrived
):
    """The conventions have them for these. A host that nobody knows may be a proxy of theirs; others have the facts under our names."""
    stand_in.script(completion(message("Hi"), service_tier="flex", system_fingerprint="fp_1"))
    instrumented()
    chat("sync", url_at(host), service_tier="flex")
    attributes = arrived(1)[0].attributes
    assert {
        f"{vendor}.api.type": "chat_completions",
        f"{vendor}.request.service_tier": "flex",
        f"{vendor}.response.service_tier": "flex",
        f"{vendor}.response.system_fingerprint": "fp_1",
    }.items() <= attributes.items()
    assert any(key.startswith("openai.") for key in attributes) == (vendor == "openai")


@pytest.mark.parametrize(("host", "vendor"), HOSTS.items())
def test_the_code_of_an_error_is_openais_on_spans_of_openai_and_azure_only(
    host, vendor, url_at, stand_in, instrumented, arrived
):
    stand_in.script(error(429, "Slow down", code="rate_limit", headers={"x-request-id": "req_1"}))
    instrumented()
    with pytest.raises(openai.RateLimitError):
        chat("sync", url_at(host))
    attributes = arrived(1)[0].attributes
    assert attributes[f"{vendor}.response.error.code"] == "rate_limit"
    assert attributes[f"{vendor}.response.request_id"] == "req_1"
    assert any(key.startswith("openai.") for key in attributes) == (vendor == "openai")
