"""An error of the call leaves as it came, and its span says what happened."""

from __future__ import annotations

import asyncio
import traceback

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast.stand_in.answers import completion, error, message, stream
from llm_otel_broadcast.stand_in.routes import ERROR_WORDS
from tests.support.client_calls import MESSAGES, chat

REFUSED = [{"role": "user", "content": ERROR_WORDS}]


def test_an_http_error_is_named_with_its_status(kind, stand_in, instrumented, arrived):
    instrumented()
    with pytest.raises(openai.BadRequestError):
        chat(kind, stand_in.base_url, messages=REFUSED)
    (span,) = arrived(1)
    assert span.status_code == 2
    assert span.attributes["error.type"] == "BadRequestError"
    assert span.attributes["http.response.status_code"] == 400


def test_a_failed_call_keeps_its_trace_fields(kind, stand_in, instrumented, arrived):
    """OpenRouter's own Broadcast loses them when all providers fail."""
    instrumented()
    fields = {"trace_id": "t", "trace_name": "Root", "generation_name": "Try", "team": "red"}
    with pytest.raises(openai.BadRequestError):
        chat(kind, stand_in.base_url, messages=REFUSED, user="u", extra_body={"session_id": "s", "trace": fields})
    spans = {span.name: span for span in arrived(2)}
    assert spans["Try"].parent_span_id == spans["Root"].span_id
    assert {"user.id": "u", "session.id": "s", "trace.metadata.team": "red"}.items() <= spans["Try"].attributes.items()


def test_the_error_text_is_content(stand_in, instrumented, arrived):
    instrumented(privacy_mode=True)
    with pytest.raises(openai.BadRequestError):
        chat("sync", stand_in.base_url, messages=REFUSED)
    assert ERROR_WORDS not in repr(arrived(1))


def test_with_content_allowed_the_error_text_is_there(stand_in, instrumented, arrived):
    instrumented()
    with pytest.raises(openai.BadRequestError):
        chat("sync", stand_in.base_url, messages=REFUSED)
    (span,) = arrived(1)
    assert ERROR_WORDS in span.status_message
    (event,) = span.events
    assert event.name == "exception"
    assert ERROR_WORDS in event.attributes["exception.message"]


def test_the_exception_is_the_clients_own_with_its_own_traceback(client, instrumented):
    instrumented()
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model="gpt-4o", messages=REFUSED)
    assert raised.value.__cause__ is None
    frames = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert frames[0].startswith("test_the_exception")
    assert "_request" in frames[-1] or "request" in frames[-1]


def test_retries_of_the_client_are_one_span(stand_in, instrumented, arrived):
    stand_in.script(error(500, "Try again", headers={"retry-after-ms": "1"}), completion(message("Now.")))
    instrumented()
    with openai.OpenAI(api_key="sk-test", base_url=stand_in.base_url, max_retries=2) as client:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert len(stand_in.requests) == 2
    assert arrived(1)[0].status_code == 0


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_a_stream_says_how_often_the_client_tried_again(retries, stand_in, instrumented, arrived):
    refusals = [error(500, "Try again", headers={"retry-after-ms": "1"})] * retries
    stand_in.script(*refusals, stream(message("Now.")))
    instrumented()
    with openai.OpenAI(api_key="sk-test", base_url=stand_in.base_url, max_retries=2) as client:
        for _ in client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True):
            pass
    (span,) = arrived(1)
    # The client counts in a header since 1.49.
    counts = "x-stainless-retry-count" in {name.lower() for name in stand_in.requests[-1].headers}
    assert span.attributes.get("gen_ai.request.retries") == ((retries or None) if counts else None)


def test_a_connection_that_is_refused_is_named(kind, instrumented, arrived):
    instrumented()
    with pytest.raises(openai.APIConnectionError):
        chat(kind, "http://127.0.0.1:9/v1")
    assert arrived(1)[0].attributes["error.type"] == "APIConnectionError"


def test_a_timeout_is_named(kind, stand_in, instrumented, arrived):
    stand_in.script(completion(message("Late.")).slower(delay=2))
    instrumented()
    with pytest.raises(openai.APITimeoutError):
        chat(kind, stand_in.base_url, timeout=0.2)
    assert arrived(1)[0].attributes["error.type"] == "APITimeoutError"


def test_a_cancelled_call_is_named_and_stays_cancelled(stand_in, instrumented, arrived):
    stand_in.script(completion(message("Late.")).slower(delay=2))
    instrumented()

    async def call() -> None:
        async with openai.AsyncOpenAI(api_key="sk-test", base_url=stand_in.base_url) as client:
            await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(asyncio.wait_for(call(), 0.3))
    assert arrived(1)[0].attributes["error.type"] == "CancelledError"


def test_wrong_arguments_raise_the_clients_own_error(client, instrumented):
    with pytest.raises(TypeError) as plain:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES, no_such_argument=1)
    instrumented()
    with pytest.raises(TypeError) as traced:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES, no_such_argument=1)
    assert str(traced.value) == str(plain.value)


def test_without_a_destination_errors_leave_as_they_came(client):
    llm_otel_broadcast.instrument(destinations=[])
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="gpt-4o", messages=REFUSED)
