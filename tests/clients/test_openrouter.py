"""What OpenRouter says of a call beside the answer: attempts, routing, its own id, who refused; in answers, streams and errors."""

from __future__ import annotations

import json

import openai
import pytest

from llm_otel_broadcast.stand_in.answers import Answer, completion, event, message
from tests.support.client_calls import MESSAGES, needs_responses
from tests.support.stand_in import responses

MODEL = "openai/gpt-4o"
ROUTING = {
    "requested": MODEL,
    "strategy": "fallback",
    "attempts": [
        {"provider": "Azure", "model": MODEL, "status": 429},
        {"provider": "OpenAI", "model": MODEL, "status": 200},
    ],
    "pipeline": [{"type": "plugin", "name": "web", "data": {"query": "a secret"}}, {"type": "guardrail"}],
}
HEAD = {"id": "gen-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "provider": "OpenAI"}


@pytest.fixture
def openrouter(url_at):
    http = openai.DefaultHttpxClient(verify=False)
    with openai.OpenAI(api_key="x", base_url=url_at("openrouter.ai"), max_retries=0, http_client=http) as client:
        yield client


def choice(delta: dict, reason: str | None = None) -> dict:
    return {"index": 0, "delta": delta, "finish_reason": reason}


def generation_and_attempts(spans: list) -> tuple:
    (generation,) = [span for span in spans if "gen_ai.operation.name" in span.attributes]
    attempts = [span for span in spans if span.name.startswith("provider attempt")]
    assert {span.parent_span_id for span in attempts} <= {generation.span_id}
    return generation, [
        (span.attributes["openrouter.provider_name"], span.attributes["openrouter.attempt.status"]) for span in attempts
    ]


TRIED = [("Azure", 429), ("OpenAI", 200)]


@pytest.mark.parametrize("way", ["plain", "raw"])
def test_an_answer_tells_how_it_was_routed(way, openrouter, stand_in, instrumented, arrived):
    stand_in.script(completion(message("Hi"), model=MODEL, openrouter_metadata=ROUTING))
    instrumented()
    completions = openrouter.chat.completions
    (completions if way == "plain" else completions.with_raw_response).create(model=MODEL, messages=MESSAGES)
    spans = arrived(3)
    generation, tried = generation_and_attempts(spans)
    assert tried == TRIED
    assert generation.attributes["openrouter.strategy"] == "fallback"
    assert generation.attributes["openrouter.pipeline"] == ["web", "guardrail"]
    assert "a secret" not in repr(spans)


@pytest.mark.parametrize("place", ["with the usage", "in a chunk of its own", "with the reason"])
def test_the_last_chunk_of_a_stream_tells_how_it_was_routed(place, openrouter, stand_in, instrumented, arrived):
    said, end = {**HEAD, "choices": [choice({"content": "Hi"})]}, {**HEAD, "choices": [choice({}, "stop")]}
    if place == "with the usage":
        chunks = [said, end, {**end, "usage": {"prompt_tokens": 1}, "openrouter_metadata": ROUTING}]
    elif place == "with the reason":
        chunks = [said, {**end, "openrouter_metadata": ROUTING}]
    else:
        chunks = [said, end, {**HEAD, "choices": [], "openrouter_metadata": ROUTING}]
    stand_in.script(Answer(events=(*map(event, chunks), b"data: [DONE]\n\n")))
    instrumented()
    list(openrouter.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True))
    generation, tried = generation_and_attempts(arrived(3))
    assert tried == TRIED
    assert generation.attributes["openrouter.strategy"] == "fallback"


@needs_responses
@pytest.mark.parametrize("place", ["plain", "in the last response", "in the last event"])
def test_the_responses_api_tells_how_it_was_routed(place, openrouter, stand_in, instrumented, arrived):
    document = responses.response(responses.text("Hi"), model=MODEL)
    if place != "in the last event":
        document["openrouter_metadata"] = ROUTING
    events = list(responses.events(document))
    if place == "in the last event":
        events[-1]["openrouter_metadata"] = ROUTING
    streamed = Answer(events=tuple(map(event, events)))
    stand_in.script(Answer(body=json.dumps(document).encode()) if place == "plain" else streamed)
    instrumented()
    answer = openrouter.responses.create(model=MODEL, input="x", stream=place != "plain")
    if place != "plain":
        list(answer)
    generation, tried = generation_and_attempts(arrived(3))
    assert tried == TRIED
    assert generation.attributes["openrouter.pipeline"] == ["web", "guardrail"]


ENVELOPE = {
    "error": {"message": "Provider returned error", "code": 502, "metadata": {"provider_name": "Azure", "raw": "..."}},
    "user_id": "user_1",
    "openrouter_metadata": {**ROUTING, "attempts": ROUTING["attempts"][:1]},
}


@pytest.mark.parametrize("status", [200, 502])
def test_the_envelope_of_an_error_tells_who_failed(status, openrouter, stand_in, instrumented, arrived):
    stand_in.script(Answer(status, json.dumps(ENVELOPE).encode(), headers={"X-Generation-Id": "gen-7"}))
    instrumented()
    if status == 200:
        openrouter.chat.completions.create(model=MODEL, messages=MESSAGES)
    else:
        with pytest.raises(openai.InternalServerError):
            openrouter.chat.completions.create(model=MODEL, messages=MESSAGES)
    generation, tried = generation_and_attempts(arrived(2))
    assert generation.status_code == 2
    assert tried == TRIED[:1]
    assert generation.attributes["openrouter.provider_name"] == "Azure"
    assert generation.attributes["openrouter.strategy"] == "fallback"
    # a plain answer of the client's has no headers any more
    assert generation.attributes.get("gen_ai.response.id") == ("gen-7" if status == 502 else None)


def test_a_chunk_that_is_an_error_tells_who_failed(openrouter, stand_in, instrumented, arrived):
    """The client raises for it, and its error has nothing but the `error` member."""
    begun = {**HEAD, "choices": [choice({"content": "par"})]}
    broken = {**HEAD, **ENVELOPE, "choices": [choice({"content": ""}, "error")]}
    stand_in.script(Answer(events=(event(begun), event(broken))))
    instrumented()
    with pytest.raises(openai.APIError):
        list(openrouter.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True))
    generation, tried = generation_and_attempts(arrived(2))
    assert tried == TRIED[:1]
    assert generation.attributes["openrouter.provider_name"] == "OpenAI"


def test_a_provider_that_failed_before_the_first_chunk_is_named(openrouter, stand_in, instrumented, arrived):
    stand_in.script(Answer(events=(event(ENVELOPE),), headers={"X-Generation-Id": "gen-7"}))
    instrumented()
    with pytest.raises(openai.APIError):
        list(openrouter.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True))
    generation, _ = generation_and_attempts(arrived(2))
    assert generation.attributes["openrouter.provider_name"] == "Azure"
    assert generation.attributes["gen_ai.response.id"] == "gen-7"


@needs_responses
@pytest.mark.parametrize("way", ["raw", "streamed"])
def test_a_response_has_openrouters_own_id_beside_its_own(way, openrouter, stand_in, instrumented, arrived):
    """The body's id is for `previous_response_id`; OpenRouter's own traces and its `/generation` know the other."""
    make = responses.whole if way == "raw" else responses.streamed
    answer = make(responses.text("Hi"), model=MODEL, id="resp-1")
    stand_in.script(Answer(answer.status, answer.body, answer.events, {"x-generation-id": "gen-7"}))
    instrumented()
    if way == "raw":
        openrouter.responses.with_raw_response.create(model=MODEL, input="x")
    else:
        list(openrouter.responses.create(model=MODEL, input="x", stream=True))
    attributes = arrived(1)[0].attributes
    assert attributes["gen_ai.response.id"] == "resp-1"
    assert attributes["openrouter.generation_id"] == "gen-7"


def test_an_id_that_is_the_answers_own_is_told_once(openrouter, stand_in, instrumented, arrived):
    body = completion(message("Hi"), model=MODEL, id="gen-7").body
    stand_in.script(Answer(body=body, headers={"x-generation-id": "gen-7"}))
    instrumented()
    openrouter.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES)
    attributes = arrived(1)[0].attributes
    assert attributes["gen_ai.response.id"] == "gen-7"
    assert "openrouter.generation_id" not in attributes


def test_of_another_host_no_such_header_is_believed(client, stand_in, instrumented, arrived):
    stand_in.script(Answer(502, json.dumps(ENVELOPE).encode(), headers={"X-Generation-Id": "gen-7"}))
    instrumented()
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
    attributes = arrived(1)[0].attributes
    assert "gen_ai.response.id" not in attributes
    assert "openrouter.provider_name" not in attributes
