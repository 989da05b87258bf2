"""Legacy completions: a prompt in, texts out."""

from __future__ import annotations

import json

import pytest

from llm_otel_broadcast.stand_in.answers import usage_of
from tests.support.operations import call
from tests.support.stand_in.texts import text_completion, text_stream

CREATE = "completions.create"


def asked_parts(span):
    (said,) = json.loads(span.attributes["gen_ai.input.messages"])
    assert said["role"] == "user"
    return said["parts"]


def answers(span):
    said = json.loads(span.attributes["gen_ai.output.messages"])
    return [[part["content"] for part in answer["parts"]] for answer in said]


def test_prompt_text_usage_and_reasons_are_recorded(kind, stand_in, instrumented, arrived):
    stand_in.script(text_completion(" there was", " a trace", usage=usage_of(2, 5)))
    instrumented()
    call(kind, stand_in.base_url, CREATE, n=2)
    (span,) = arrived(1)
    assert asked_parts(span) == [{"type": "text", "content": "Once upon"}]
    assert answers(span) == [[" there was"], [" a trace"]]
    expected = {
        "gen_ai.response.id": "cmpl-1",
        "gen_ai.response.model": "gpt-3.5-turbo-instruct",
        "gen_ai.response.finish_reasons": ["stop", "stop"],
        "gen_ai.request.choice.count": 2,
        "gen_ai.usage.input_tokens": 2,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.total_tokens": 7,
    }
    assert expected.items() <= span.attributes.items()


def test_a_stream_adds_up_to_the_same(kind, stand_in, instrumented, arrived):
    stand_in.script(text_stream("one two three", "four five", usage=usage_of(2, 5)))
    instrumented()
    call(kind, stand_in.base_url, CREATE, n=2, stream=True)
    (span,) = arrived(1)
    assert answers(span) == [["one two three"], ["four five"]]
    assert span.attributes["gen_ai.response.finish_reasons"] == ["stop", "stop"]
    assert span.attributes["gen_ai.usage.output_tokens"] == 5


def test_usage_that_only_we_asked_for_is_kept_from_the_caller(stand_in, instrumented, arrived):
    plain = call("sync", stand_in.base_url, CREATE, stream=True)
    instrumented(request_stream_usage=True)
    assert call("sync", stand_in.base_url, CREATE, stream=True) == plain
    assert arrived(1)[0].attributes["gen_ai.usage.input_tokens"] > 0


def test_parameters_of_the_conventions_are_recorded_and_no_others(stand_in, instrumented, arrived):
    instrumented()
    asked = {"max_tokens": 9, "temperature": 0.5, "top_p": 0.25, "stop": ["END"], "seed": 7, "presence_penalty": 1}
    call("sync", stand_in.base_url, CREATE, **asked, frequency_penalty=0.5, best_of=3, suffix="THE END", logprobs=1)
    (span,) = arrived(1)
    requested = {key: value for key, value in span.attributes.items() if key.startswith("gen_ai.request.")}
    assert requested == {
        "gen_ai.request.model": "gpt-3.5-turbo-instruct",
        "gen_ai.request.input.count": 1,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.25,
        "gen_ai.request.stop_sequences": ["END"],
        "gen_ai.request.seed": 7,
        "gen_ai.request.presence_penalty": 1.0,
        "gen_ai.request.frequency_penalty": 0.5,
    }
    assert "THE END" not in repr(span)


@pytest.mark.parametrize(
    ("prompt", "count", "parts"),
    [
        (["one", "two"], 2, [{"type": "text", "content": "one"}, {"type": "text", "content": "two"}]),
        ([4711, 4712, 4713], 1, [{"type": "tokens", "count": 3}]),
        ([[4711, 4712], [4713]], 2, [{"type": "tokens", "count": 2}, {"type": "tokens", "count": 1}]),
    ],
)
def test_texts_are_kept_and_token_ids_are_counted(prompt, count, parts, stand_in, instrumented, arrived):
    instrumented()
    call("sync", stand_in.base_url, CREATE, prompt=prompt)
    (span,) = arrived(1)
    assert span.attributes["gen_ai.request.input.count"] == count
    assert asked_parts(span) == parts
    assert "4711" not in repr(span)


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        (["one", "two"], [{"type": "text", "content": "one"}, {"type": "text", "content": "two"}]),
        ([1, 2, 3], [{"type": "tokens", "count": 3}]),
    ],
)
def test_a_generator_is_the_clients_to_consume(kind, prompt, parts, stand_in, instrumented, arrived):
    """Other tracers consume it, and the wire carries `[]`."""
    instrumented()
    call(kind, stand_in.base_url, CREATE, prompt=(one for one in prompt))
    assert stand_in.requests[0].json["prompt"] == prompt
    (span,) = arrived(1)
    assert asked_parts(span) == parts
    assert "gen_ai.request.input.count" not in span.attributes


def test_a_known_model_is_priced(as_openai, stand_in, instrumented, arrived):
    stand_in.script(text_completion("Hi", usage=usage_of(1_000_000, 1_000_000)))
    instrumented()
    call("sync", as_openai, CREATE)
    attributes = arrived(1)[0].attributes
    assert attributes["gen_ai.usage.total_cost"] == 3.5
    assert attributes["gen_ai.usage.cost.source"] == "estimated"
