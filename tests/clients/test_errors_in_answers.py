"""An error that comes with status 200 is an error with its text; an empty `error` member of a good answer is none."""

from __future__ import annotations

import json

import openai
import pytest

from llm_otel_broadcast.stand_in.answers import Answer, completion, event, message
from tests.support.client_calls import MESSAGES, chat, needs_responses, respond
from tests.support.operations import call, skip_without
from tests.support.stand_in import responses

TEXT = "Unexpected endpoint or method. (POST /chat/completions)"
EMPTY = [
    {"message": "", "type": "", "param": "", "code": None},
    {},
    "",
    [],
    False,
    None,
    0,
    [{}],
    {"code": 0, "more": {"a": []}},
]
STATED = [
    # LM Studio
    ({"error": TEXT}, "error"),
    ({"error": [TEXT]}, "error"),
    ({"error": [{"message": TEXT, "code": 404}]}, "error"),
    ({"error": True, "message": TEXT}, "error"),
    # vLLM
    ({"object": "error", "message": TEXT, "type": "InternalServerError", "param": None, "code": 500}, "500"),
    # FastAPI's word for it
    ({"error": {"detail": TEXT}}, "error"),
    # one-api
    ({"error": {"message": TEXT, "type": "one_api_error", "param": "", "code": "bad_response"}}, "bad_response"),
    ({"error": {"message": TEXT, "type": "one_api_error", "param": "", "code": None}}, "one_api_error"),
    ({"error": {"message": TEXT, "code": 502}}, "502"),
    # MiniMax
    ({"choices": None, "base_resp": {"status_code": 1004, "status_msg": TEXT}}, "1004"),
    # Groq
    ({"choices": [], "x_groq": {"id": "req_1", "error": TEXT}}, "error"),
    # a text in the place of a code is no code
    ({"error": {"message": TEXT, "code": "the prompt was Hello!", "type": "also Hello!"}}, "error"),
]


def answer_of(document: dict) -> Answer:
    return Answer(body=json.dumps(document).encode())


@pytest.mark.parametrize("empty", EMPTY, ids=repr)
def test_an_empty_error_member_is_no_error(empty, stand_in, instrumented, arrived):
    """Gateways written in Go send one with every good answer (litellm#18407)."""
    stand_in.script(completion(message("Hi"), error=empty))
    instrumented()
    chat("sync", stand_in.base_url)
    (span,) = arrived(1)
    assert span.status_code == 0
    assert "error.type" not in span.attributes


OTHERS = (
    "completions.create",
    "embeddings.create",
    "images.generate",
    "audio.transcriptions.create",
    "moderations.create",
)


@pytest.mark.parametrize("operation", OTHERS)
@pytest.mark.parametrize(("error", "status"), [(EMPTY[0], 0), ({"message": TEXT}, 2)])
def test_the_error_member_of_other_answers_is_read_alike(operation, error, status, stand_in, instrumented, arrived):
    data = [{"index": 0, "object": "embedding", "embedding": [0.5]}]
    stand_in.script(
        answer_of({"model": "m1", "data": data, "text": "Hi", "results": [], "choices": [], "error": error})
    )
    instrumented()
    call("sync", stand_in.base_url, operation)
    assert arrived(1)[0].status_code == status


@needs_responses
@pytest.mark.parametrize("empty", EMPTY, ids=repr)
def test_an_empty_error_member_of_a_response_is_no_error(empty, stand_in, instrumented, arrived):
    stand_in.script(responses.whole(responses.text("Hi"), error=empty))
    instrumented()
    respond("sync", stand_in.base_url)
    assert arrived(1)[0].status_code == 0


@pytest.mark.parametrize(("document", "kind"), STATED)
@pytest.mark.parametrize("way", ["plain", "raw"])
def test_an_error_with_status_200_is_one_with_its_text(way, document, kind, stand_in, client, instrumented, arrived):
    stand_in.script(answer_of(document))
    instrumented()
    create = client.chat.completions.create if way == "plain" else client.chat.completions.with_raw_response.create
    create(model="m1", messages=MESSAGES)
    (span,) = arrived(1)
    assert span.status_code == 2
    assert span.status_message == TEXT
    assert span.attributes["error.type"] == kind


@needs_responses
@pytest.mark.parametrize(("document", "kind"), [stated for stated in STATED if "choices" not in stated[0]])
def test_an_error_with_status_200_of_the_responses_api_is_one_with_its_text(
    document, kind, stand_in, instrumented, arrived
):
    stand_in.script(answer_of(document))
    instrumented()
    respond("sync", stand_in.base_url)
    (span,) = arrived(1)
    assert (span.status_code, span.status_message, span.attributes["error.type"]) == (2, TEXT, kind)


def test_the_text_of_an_error_with_status_200_is_content(stand_in, instrumented, arrived):
    instrumented(privacy_mode=True)
    for document, _ in STATED:
        stand_in.script(answer_of(document))
        chat("sync", stand_in.base_url)
    spans = arrived(len(STATED))
    assert {span.status_code for span in spans} == {2}
    assert TEXT not in repr(spans)
    assert "Hello!" not in repr(spans)


@pytest.mark.parametrize("operation", ["chat", "completions"])
def test_a_chunk_that_is_an_error_ends_the_stream_as_one(operation, stand_in, client, instrumented, arrived):
    """vLLM sends it where it would go on, and the client hands it out as a chunk (inspect_ai#3687)."""
    begun = {"id": "c", "object": "x", "created": 1, "model": "m1"}
    choice = {"index": 0, "finish_reason": None, "delta": {"content": "par"}, "text": "par"}
    error = {"object": "error", "message": "EngineCore died", "type": "InternalServerError", "param": None, "code": 500}
    events = (event({**begun, "choices": [choice]}), event(error), b"data: [DONE]\n\n")
    stand_in.script(Answer(events=events))
    instrumented()
    if operation == "chat":
        stream = client.chat.completions.create(model="m1", messages=MESSAGES, stream=True)
    else:
        stream = client.completions.create(model="m1", prompt="x", stream=True)
    assert len(list(stream)) == 2
    (span,) = arrived(1)
    assert (span.status_code, span.status_message) == (2, "EngineCore died")
    assert span.attributes["error.type"] == "500"
    assert "par" in span.attributes["gen_ai.output.messages"]


@needs_responses
def test_an_event_that_is_an_error_ends_the_response_as_one(stand_in, client, instrumented, arrived):
    error = {"object": "error", "message": "EngineCore died", "type": "InternalServerError", "param": None, "code": 500}
    stand_in.script(Answer(events=(event(error), b"data: [DONE]\n\n")))
    instrumented()
    list(client.responses.create(model="m1", input="x", stream=True))
    (span,) = arrived(1)
    assert (span.status_code, span.status_message) == (2, "EngineCore died")


@pytest.mark.parametrize("error", [TEXT, [TEXT]])
def test_a_chunk_whose_error_is_a_text_has_it_though_the_clients_own_error_does_not(
    error, stand_in, client, instrumented, arrived
):
    stand_in.script(Answer(events=(event({"error": error}),)))
    instrumented()
    with pytest.raises(openai.APIError) as raised:
        list(client.chat.completions.create(model="m1", messages=MESSAGES, stream=True))
    assert TEXT not in str(raised.value)
    assert TEXT in arrived(1)[0].status_message


def test_a_choice_that_ended_in_an_error_says_why(stand_in, instrumented, arrived):
    """OpenRouter, where the provider broke off in the middle of an answer that is not streamed."""
    answer = json.loads(completion(message("par")).body)
    answer["choices"][0] |= {"finish_reason": "error", "error": {"code": 502, "message": "Upstream gave up"}}
    stand_in.script(answer_of(answer))
    instrumented()
    chat("sync", stand_in.base_url)
    (span,) = arrived(1)
    assert (span.status_code, span.status_message) == (2, "Upstream gave up")
    assert span.attributes["error.type"] == "502"


@pytest.mark.parametrize("member", [{"x_groq": {"id": "req_1"}}, {"base_resp": {"status_code": 0, "status_msg": ""}}])
def test_a_good_answers_own_members_are_no_error(member, stand_in, instrumented, arrived):
    stand_in.script(completion(message("Hi"), **member))
    instrumented()
    chat("sync", stand_in.base_url)
    assert arrived(1)[0].status_code == 0


def test_a_stream_that_groq_stops_early_says_why(stand_in, instrumented, arrived):
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m1"}
    choices = [{"index": 0, "delta": {"content": "par"}, "finish_reason": None}]
    last = {**head, "choices": [], "x_groq": {"error": "over capacity"}}
    stand_in.script(Answer(events=(event({**head, "choices": choices}), event(last), b"data: [DONE]\n\n")))
    instrumented()
    chat("sync", stand_in.base_url, stream=True)
    (span,) = arrived(1)
    assert (span.status_code, span.status_message) == (2, "over capacity")


@pytest.mark.parametrize("operation", ["images.generate", "audio.transcriptions.create"])
def test_an_event_of_other_streams_that_is_an_error_is_one(operation, stand_in, instrumented, arrived):
    skip_without(operation, "stream")
    error = {"object": "error", "message": "EngineCore died", "type": "InternalServerError", "code": 500}
    stand_in.script(Answer(events=(event(error), b"data: [DONE]\n\n")))
    instrumented()
    call("sync", stand_in.base_url, operation, stream=True)
    (span,) = arrived(1)
    assert (span.status_code, span.status_message) == (2, "EngineCore died")


def test_json_in_the_place_of_speech_is_an_error(stand_in, instrumented, arrived):
    stand_in.script(answer_of({"error": TEXT}))
    instrumented()
    call("sync", stand_in.base_url, "audio.speech.create")
    (span,) = arrived(1)
    assert (span.status_code, span.status_message) == (2, TEXT)
