"""The stand-in answers the real client the way the APIs do."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import openai
import pytest

from llm_otel_broadcast.stand_in.answers import completion, error, message
from tests.support.client_calls import MESSAGES, chat
from tests.support.stand_in.forms import read_form
from tests.support.stand_in.server import StandIn


def test_an_openai_answer_has_openais_members(stand_in):
    answer = chat("sync", stand_in.base_url)
    assert answer.id.startswith("chatcmpl-")
    assert answer.system_fingerprint
    assert "cost" not in answer.usage.model_dump()


def test_a_model_with_a_slash_is_answered_openrouters_way(stand_in):
    answer = chat("sync", stand_in.base_url, model="openai/gpt-4o").model_dump()
    assert answer["id"].startswith("gen-")
    assert answer["provider"] == "OpenAI"
    parts = answer["usage"]["cost_details"]
    assert answer["usage"]["cost"] == pytest.approx(
        parts["upstream_inference_prompt_cost"] + parts["upstream_inference_completions_cost"]
    )


@pytest.mark.parametrize(("model", "choices"), [("gpt-4o", 0), ("openai/gpt-4o", 1)])
def test_the_usage_chunk_has_the_choices_of_its_api(stand_in, model, choices):
    chunks = chat("sync", stand_in.base_url, model=model, stream=True, stream_options={"include_usage": True})
    assert chunks[-1].usage.total_tokens > 0
    assert len(chunks[-1].choices) == choices


def test_n_makes_as_many_choices(stand_in):
    assert len(chat("sync", stand_in.base_url, n=3).choices) == 3


def test_a_form_is_read_field_by_field(client, stand_in):
    client.images.edit(prompt="Line one\r\nline two", image=("a.png", b"\r\n--x\r\n"), mask=("b.png", b""), n=2)
    assert read_form(stand_in.requests[0].body) == {
        "prompt": "Line one\r\nline two",
        "n": "2",
        "image": ("a.png", b"\r\n--x\r\n"),
        "mask": ("b.png", b""),
    }


def test_error_words_are_refused(stand_in):
    with pytest.raises(openai.BadRequestError):
        chat("sync", stand_in.base_url, messages=[{"role": "user", "content": "trigger error"}])


def test_an_unknown_path_is_not_found(stand_in):
    with pytest.raises(openai.NotFoundError):
        chat("sync", stand_in.url + "/v2/nothing?")


def test_a_script_is_followed_in_order_and_then_ends(stand_in):
    stand_in.script(completion(message("First.")), error(503, "No."))
    assert chat("sync", stand_in.base_url).choices[0].message.content == "First."
    with pytest.raises(openai.InternalServerError):
        chat("sync", stand_in.base_url)
    assert chat("sync", stand_in.base_url).choices[0].message.content.startswith("Hello!")


def test_requests_are_noted_without_showing_keys(stand_in):
    chat("sync", stand_in.base_url)
    (seen,) = stand_in.requests
    assert seen.json["messages"] == MESSAGES
    assert seen.headers["authorization"] == "Bearer sk-test"
    assert "sk-test" not in repr(seen)


@pytest.mark.parametrize("length", ["-1", "1e3", "1" * 30, str(StandIn.max_body_bytes + 1)])
def test_a_body_without_a_reasonable_length_is_refused_without_reading_it(length):
    with StandIn() as running:
        address = ("127.0.0.1", urlsplit(running.url).port)
        with socket.create_connection(address, timeout=10) as raw:
            raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: " + length.encode() + b"\r\n\r\n")
            assert raw.makefile("rb").readline().split()[1] == b"413"
