"""Token counts and costs are recorded in whatever spelling and place an answer states them, the same in every way to ask."""

from __future__ import annotations

import json

import openai
import pytest

from llm_otel_broadcast.stand_in.answers import Answer, completion, event, message
from tests.support.client_calls import MESSAGES, chat, needs_responses, respond
from tests.support.stand_in import responses

COUNTED = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
WAYS = ("plain", "raw", "streamed")
HEAD = {"id": "c1", "created": 1, "model": "m1"}


def chunk(delta: dict, reason: str | None = None, **members: object) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return event({**HEAD, "object": "chat.completion.chunk", "choices": [choice], **members})


def chunks(*events: bytes) -> Answer:
    return Answer(events=(*events, b"data: [DONE]\n\n"))


@pytest.fixture(params=WAYS)
def counted(request, stand_in, url_at, instrumented, arrived):
    """Return the attributes of a call whose answer has a usage, asked for in each way."""

    def ask(usage: object, host: str = "llm.example.com", model: str = "m1") -> dict:
        instrumented()
        if request.param == "streamed":
            stand_in.script(chunks(chunk({"content": "Hi"}), chunk({}, "stop", model=model, choices=[], usage=usage)))
            chat("sync", url_at(host), model=model, stream=True)
        else:
            stand_in.script(completion(message("Hi"), model=model, usage=usage))
            if request.param == "raw":
                http = openai.DefaultHttpxClient(verify=False)
                with openai.OpenAI(api_key="x", base_url=url_at(host), max_retries=0, http_client=http) as client:
                    client.chat.completions.with_raw_response.create(model=model, messages=MESSAGES)
            else:
                chat("sync", url_at(host), model=model)
        return arrived(1)[0].attributes

    return ask


def tokens(attributes: dict) -> tuple:
    return tuple(attributes.get(f"gen_ai.usage.{name}_tokens") for name in ("input", "output", "total"))


@pytest.mark.parametrize(
    "usage",
    [
        {"num_cached_tokens": 64},
        {"prompt_token_details": {"cached_tokens": 64}},
        {"cached_tokens": 64},
        {"prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36},
        {"prompt_tokens_details": {"cached_tokens": 64}, "prompt_cache_hit_tokens": 64},
        {"prompt_cache_hit_tokens": 64, "prompt_tokens_details": {"cached_tokens": 0}},
        {"cache_read_input_tokens": 64},
    ],
)
def test_cached_tokens_in_any_spelling_are_a_part_of_the_input(counted, usage):
    attributes = counted({**COUNTED, **usage})
    assert attributes["gen_ai.usage.cache_read.input_tokens"] == 64
    assert tokens(attributes) == (100, 10, 110)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens_details": {"cached_tokens": 4, "cache_creation_tokens": 30}},
        {"prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 30}},
        {"prompt_tokens_details": {"cached_tokens": 4, "cache_creation_input_tokens": 30}},
        {"cache_creation_input_tokens": 30, "cache_read_input_tokens": 4},
    ],
)
def test_tokens_written_to_a_cache_in_any_spelling_are_a_part_of_the_input(counted, usage):
    attributes = counted({**COUNTED, **usage})
    assert attributes["gen_ai.usage.cache_write.input_tokens"] == 30
    assert attributes["gen_ai.usage.cache_read.input_tokens"] == 4
    assert tokens(attributes) == (100, 10, 110)


@pytest.mark.parametrize(
    ("usage", "right"),
    [
        # Anthropic's messages have no total
        ({"input_tokens": 20, "output_tokens": 10}, (100, 10, None)),
        # a gateway's total, with what was cached and without
        ({"input_tokens": 20, "output_tokens": 10, "total_tokens": 110}, (100, 10, 110)),
        ({"input_tokens": 20, "output_tokens": 10, "total_tokens": 30}, (100, 10, 110)),
        ({"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 110}, (100, 10, 110)),
        # more was cached than the input is long
        ({"prompt_tokens": 20, "completion_tokens": 10}, (100, 10, None)),
        # the total says that they are included
        ({"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}, (100, 10, 110)),
        ({"prompt_tokens": 100, "completion_tokens": 10}, (100, 10, None)),
    ],
)
def test_cached_tokens_that_are_counted_beside_the_input_are_added_to_it(counted, usage, right):
    attributes = counted({**usage, "cache_read_input_tokens": 50, "cache_creation_input_tokens": 30})
    assert tokens(attributes) == right
    assert attributes["gen_ai.usage.cache_read.input_tokens"] == 50
    assert attributes["gen_ai.usage.cache_write.input_tokens"] == 30


@pytest.mark.parametrize(
    ("usage", "right"),
    [
        # xAI
        ((12, 1, 303, 290), (12, 291, 303)),
        # xAI, cut while it reasoned
        ((21, 0, 81, 60), (21, 60, 81)),
        # Gemini states the total only, and no zeros
        ((35, 12, 109, None), (35, 74, 109)),
        ((21, None, 81, None), (21, 60, 81)),
        # OpenAI: included
        ((20, 500, 520, 400), (20, 500, 520)),
        # no total: a part is never larger than the whole
        ((20, 1, None, 290), (20, 291, None)),
        ((20, 300, None, 290), (20, 300, None)),
        # Perplexity's research: the total adds up
        ((33, 70, 103, 700), (33, 70, 103)),
    ],
)
def test_reasoning_that_is_counted_beside_the_output_is_a_part_of_it(counted, usage, right):
    asked, answered, total, reasoned = usage
    stated = {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": total}
    details = {} if reasoned is None else {"completion_tokens_details": {"reasoning_tokens": reasoned}}
    attributes = counted({name: count for name, count in stated.items() if count is not None} | details)
    assert tokens(attributes) == right
    assert attributes.get("gen_ai.usage.reasoning.output_tokens") == reasoned


def test_reasoning_beside_the_output_is_paid_for(counted):
    """The estimate is what xAI itself states for this answer: 1,466,250 ticks."""
    usage = {
        "prompt_tokens": 12,
        "completion_tokens": 1,
        "total_tokens": 303,
        "completion_tokens_details": {"reasoning_tokens": 290},
    }
    usage["prompt_tokens_details"] = {"cached_tokens": 11}
    attributes = counted(usage, "api.x.ai", "grok-3-mini")
    assert attributes["gen_ai.usage.total_cost"] == pytest.approx(0.000146625)
    assert attributes["gen_ai.usage.cost.source"] == "estimated"


@pytest.mark.parametrize(
    ("stated", "right"),
    [
        ((12, 14417.92, 14429.92), (12, 14418, 14430)),
        ((12.0, 3.0, 15.0), (12, 3, 15)),
        (("12", "3", "15"), (12, 3, 15)),
        ((12.5, 0.5, 13.0), (13, 1, 13)),
    ],
)
def test_counts_that_are_no_whole_numbers_are_the_nearest_ones(counted, stated, right):
    usage = dict(zip(COUNTED, stated, strict=True))
    assert tokens(counted(usage)) == right


@pytest.mark.parametrize("count", [-1, -0.5, "many", "", "1e400", [], {}, None, 2**70, 10**400, -(10**400), "-3"])
def test_what_is_no_count_is_none(counted, count):
    attributes = counted(
        {"prompt_tokens": count, "completion_tokens": 3, "completion_tokens_details": {"audio_tokens": count}}
    )
    assert tokens(attributes) == (None, 3, None)
    assert "gen_ai.usage.audio.output_tokens" not in attributes


def test_a_zero_in_one_spelling_does_not_hide_the_count_in_another(counted):
    """Gateways that fill in both APIs' members leave one of them empty."""
    attributes = counted({**COUNTED, "input_tokens": 0, "output_tokens": 0, "input_tokens_details": None})
    assert tokens(attributes) == (100, 10, 110)


def test_video_and_the_tools_of_the_provider_are_counted(counted):
    usage = {
        **COUNTED,
        "prompt_tokens_details": {"video_tokens": 70},
        "server_tool_use_details": {
            "tool_calls_requested": 3,
            "tool_calls_executed": 2,
            "web search\n": 5,
            "note": "x",
        },
    }
    attributes = counted(usage)
    assert attributes["gen_ai.usage.video.input_tokens"] == 70
    tools = {key: value for key, value in attributes.items() if ".server_tools." in key}
    assert tools == {
        "gen_ai.usage.server_tools.tool_calls_requested": 3,
        "gen_ai.usage.server_tools.tool_calls_executed": 2,
    }


@pytest.mark.parametrize(
    ("usage", "costs"),
    [
        (
            {
                "cost": {
                    "input_tokens_cost": 8e-06,
                    "output_tokens_cost": 0.000439,
                    "request_cost": 0.005,
                    "total_cost": 0.005447,
                }
            },
            (8e-06, 0.000439, 0.005447),
        ),
        ({"cost": {"currency": "USD", "input_cost": 0.1, "output_cost": 0.2, "total_cost": 0.4}}, (0.1, 0.2, 0.4)),
        ({"cost_in_usd_ticks": 1466250}, (None, None, 0.000146625)),
        ({"estimated_cost": 2.06e-06}, (None, None, 2.06e-06)),
        ({"cost": "0.25"}, (None, None, 0.25)),
        ({"cost": 0}, (None, None, 0)),
    ],
)
def test_a_cost_in_any_spelling_is_the_responses_own(counted, usage, costs):
    attributes = counted({**COUNTED, **usage}, "api.perplexity.ai", "sonar")
    assert attributes["gen_ai.usage.cost.source"] == "response"
    assert attributes["gen_ai.usage.total_cost"] == pytest.approx(costs[2])
    assert attributes.get("gen_ai.usage.input_cost") == costs[0]
    assert attributes.get("gen_ai.usage.output_cost") == costs[1]


@pytest.mark.parametrize("cost", [{"currency": "EUR", "total_cost": 1.0}, -1.0, "free", {}, True])
def test_what_is_no_cost_in_usd_is_not_taken_for_one(counted, cost):
    assert counted({**COUNTED, "cost": cost}).get("gen_ai.usage.cost.source") != "response"


@pytest.mark.parametrize("place", ["groq", "moonshot"])
@pytest.mark.parametrize("asked", [True, False])
def test_usage_in_another_place_of_a_streams_last_chunk_is_found(place, asked, stand_in, instrumented, arrived):
    usage = {**COUNTED, "prompt_tokens_details": {"cached_tokens": 16}}
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    if place == "groq":
        end = chunk({}, "stop", x_groq={"id": "req_1", "usage": usage})
    else:
        end = chunk({}, choices=[{**last, "usage": usage}])
    stand_in.script(chunks(chunk({"role": "assistant"}, x_groq={"id": "req_1"}), chunk({"content": "Hi"}), end))
    instrumented(request_stream_usage=asked)
    assert len(chat("sync", stand_in.base_url, stream=True)) == 3
    attributes = arrived(1)[0].attributes
    assert tokens(attributes) == (100, 10, 110)
    assert attributes["gen_ai.usage.cache_read.input_tokens"] == 16


def test_usage_that_each_chunk_states_is_that_of_the_last(stand_in, instrumented, arrived):
    events = [
        chunk({"content": "Hi"}, usage={"prompt_tokens": 5, "completion_tokens": count, "total_tokens": 5 + count})
        for count in (1, 2, 3)
    ]
    stand_in.script(chunks(*events, chunk({}, "stop")))
    instrumented()
    chat("sync", stand_in.base_url, stream=True)
    assert tokens(arrived(1)[0].attributes) == (5, 3, 8)


def test_usage_beside_the_choices_of_a_whole_answer_is_found(stand_in, instrumented, arrived):
    answer = json.loads(completion(message("Hi")).body)
    answer["choices"][0]["usage"] = COUNTED
    stand_in.script(Answer(body=json.dumps(answer).encode()))
    instrumented()
    chat("sync", stand_in.base_url)
    assert tokens(arrived(1)[0].attributes) == (100, 10, 110)


def test_an_embedding_has_no_output_whatever_its_total(stand_in, instrumented, arrived, client):
    body = {"object": "list", "model": "e", "data": [{"index": 0, "object": "embedding", "embedding": [0.5]}]}
    body["usage"] = {"prompt_tokens": 5, "total_tokens": 9}
    stand_in.script(Answer(body=json.dumps(body).encode()))
    instrumented()
    client.embeddings.create(model="e", input="x", encoding_format="float")
    assert tokens(arrived(1)[0].attributes) == (5, None, 9)


@needs_responses
@pytest.mark.parametrize("streamed", [False, True])
def test_the_responses_api_is_read_by_the_same_table(streamed, stand_in, url_at, instrumented, arrived):
    usage = {
        "input_tokens": 12,
        "output_tokens": 1,
        "total_tokens": 303.0,
        "num_cached_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 290},
        "cost_in_usd_ticks": 1466250,
    }
    make = responses.streamed if streamed else responses.whole
    stand_in.script(make(responses.text("Hi"), model="grok-4", usage=usage))
    instrumented()
    respond("sync", url_at("api.x.ai"), model="grok-4", stream=streamed)
    attributes = arrived(1)[0].attributes
    assert tokens(attributes) == (12, 291, 303)
    assert attributes["gen_ai.usage.cache_read.input_tokens"] == 4
    assert attributes["gen_ai.usage.total_cost"] == pytest.approx(0.000146625)
    assert attributes["gen_ai.usage.cost.source"] == "response"
