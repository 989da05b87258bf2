"""What a usage costs where the response does not say so."""

from __future__ import annotations

import pytest
from genai_prices import Usage as PriceList

from llm_otel_broadcast.generation import Generation, Server
from llm_otel_broadcast.pricing import estimate
from llm_otel_broadcast.stand_in.answers import completion, message, usage_of
from llm_otel_broadcast.usage import Usage
from tests.clients.calling import chat

OPENAI = Server("openai", "api.openai.com", 443)
AT_HOME = Server("127.0.0.1", "127.0.0.1", 11434)


def record(model: str | None, server: Server = OPENAI, **counts: int) -> Generation:
    made = Generation("chat")
    made.server, made.request_model = server, model
    made.usage = Usage(**(counts or {"input_tokens": 1_000_000, "output_tokens": 1_000_000}))
    return made


def test_a_known_model_is_priced_by_its_list_price():
    cost = estimate(record("gpt-4o-2024-11-20"))
    assert (cost.input, cost.output, cost.total) == (2.5, 10.0, 12.5)


def test_cached_tokens_are_cheaper():
    whole = estimate(record("gpt-4o", input_tokens=1_000_000, output_tokens=0))
    cached = estimate(record("gpt-4o", input_tokens=1_000_000, output_tokens=0, cache_read_tokens=1_000_000))
    assert cached.total == whole.total / 2


def test_the_model_that_answered_counts():
    asked = record("gpt-4o")
    asked.response_model = "gpt-4o-mini-2024-07-18"
    assert estimate(asked).total < estimate(record("gpt-4o")).total


def test_an_answering_model_nobody_knows_falls_back_to_the_one_asked_for():
    """Azure deployments and gateways answer with names of their own."""
    asked = record("gpt-4o")
    asked.response_model = "my-deployment"
    assert estimate(asked).total == 12.5


@pytest.mark.parametrize("model", ["no-such-model", "", None])
def test_for_an_unknown_model_nothing_is_made_up(model):
    assert estimate(record(model)) is None


def test_without_token_counts_there_is_no_price():
    asked = record("gpt-4o")
    asked.usage = None
    assert estimate(asked) is None
    assert estimate(record("gpt-4o", output_tokens=5)) is None


def test_input_alone_is_priced():
    """Embeddings have no output."""
    cost = estimate(record("text-embedding-3-small", input_tokens=1_000_000))
    assert (cost.input, cost.output, cost.total) == (0.02, 0.0, 0.02)


def test_image_and_audio_tokens_have_prices_of_their_own():
    text = record("gpt-image-1", input_tokens=1_000_000, input_image_tokens=0)
    drawn = record("gpt-image-1", input_tokens=1_000_000, input_image_tokens=1_000_000)
    said = record("gpt-4o-transcribe", input_tokens=1_000_000, input_audio_tokens=1_000_000)
    assert estimate(text).input == 5.0
    assert estimate(drawn).input == (10.0 if hasattr(PriceList(), "input_image_tokens") else 5.0)
    assert estimate(said).input > estimate(record("gpt-4o-transcribe", input_tokens=1_000_000)).input


def test_audio_is_priced_by_its_length_where_the_model_is():
    heard = record("whisper-1", seconds=3_600.0)
    if not hasattr(PriceList(), "audio_seconds"):
        assert estimate(heard) is None
        return
    cost = estimate(heard)
    assert (cost.input, cost.output, cost.total) == (None, None, 0.36)
    assert estimate(record("gpt-4o", seconds=3_600.0)) is None


def test_a_model_at_home_costs_nothing_that_anybody_knows():
    assert estimate(record("llama3:8b", AT_HOME)) is None


def test_a_well_known_model_behind_an_unknown_host_is_priced_by_its_name():
    assert estimate(record("gpt-4o", AT_HOME)).total == 12.5


def test_counts_that_contradict_each_other_do_no_harm():
    estimate(record("gpt-4o", input_tokens=1, output_tokens=1, cache_read_tokens=5_000))


def test_an_estimate_is_marked_as_one(stand_in, instrumented, arrived):
    stand_in.script(completion(message("Hi."), model="gpt-4o-mini", usage=usage_of(1_000_000, 0)))
    instrumented()
    chat("sync", stand_in.base_url)
    attributes = arrived(1)[0].attributes
    assert attributes["gen_ai.usage.total_cost"] == pytest.approx(0.15)
    assert attributes["gen_ai.usage.cost.source"] == "estimated"


def test_estimates_can_be_turned_off(stand_in, instrumented, arrived):
    instrumented(estimate_cost=False)
    chat("sync", stand_in.base_url)
    assert not [key for key in arrived(1)[0].attributes if "cost" in key]


def test_a_cost_that_the_response_states_is_taken_as_it_is(stand_in, instrumented, arrived):
    usage = {**usage_of(10, 10), "cost": 0.5}
    stand_in.script(completion(message("Hi."), model="gpt-4o", usage=usage))
    instrumented()
    chat("sync", stand_in.base_url)
    attributes = arrived(1)[0].attributes
    assert attributes["gen_ai.usage.total_cost"] == 0.5
    assert attributes["gen_ai.usage.cost.source"] == "response"
    assert "gen_ai.usage.input_cost" not in attributes


def test_a_price_that_cannot_be_made_out_does_not_lose_the_call(stand_in, instrumented, arrived, monkeypatch):
    """genai-prices is not ours: whatever it raises, the trace arrives without a cost."""
    import genai_prices

    def fail(*args, **kwargs):
        raise ArithmeticError("a fault")

    monkeypatch.setattr(genai_prices, "calc_price", fail)
    instrumented()
    chat("sync", stand_in.base_url, model="gpt-4o-never-asked-for-before")
    assert not [key for key in arrived(1)[0].attributes if "cost" in key]
