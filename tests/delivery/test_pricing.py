"""What a usage costs where the response does not say so."""

from __future__ import annotations

import tracemalloc
from functools import partial

import genai_prices
import pytest
from genai_prices import Usage as PriceList

from llm_otel_broadcast.clients.answer_texts import CUT
from llm_otel_broadcast.clients.reader import MAX_NAME_CHARACTERS
from llm_otel_broadcast.delivery.pricing import estimate
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.server import Server
from llm_otel_broadcast.record.usage import Usage
from llm_otel_broadcast.stand_in.answers import completion, message, usage_of
from tests.support.client_calls import chat
from tests.support.garbage import collect

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


def needs_listed(model, provider):
    """Skip where the installed price list, asked without us, does not know the model: the lowest one is a year old."""
    try:
        genai_prices.calc_price(PriceList(input_tokens=1), model_ref=model, provider_id=provider)
    except LookupError:
        pytest.skip(f"this release of genai-prices does not know {model} of {provider}")


def test_image_and_audio_tokens_have_prices_of_their_own():
    needs_listed("gpt-image-1", "openai")
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


@pytest.mark.parametrize("model", ["llama3:8b", "deepseek-r1", "mistral-nemo", "gpt-3.5-turbo"])
@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "::1", "localhost", "app.localhost", "0.0.0.0", "192.168.1.20", "10.1.2.3", "172.17.0.1"),
        *("fd00::7", "fe80::1%eth0", "169.254.0.9", "100.64.3.4", "host.docker.internal", "ollama", "nas.local"),
        *("gpu.lan", "vllm.ml.svc.cluster.local", "box.tail1234.ts.net"),
    ],
)
def test_a_model_at_home_costs_nothing_that_anybody_knows(model, address):
    """Ollama, LM Studio and llama.cpp answer under names that price lists have too."""
    home = record(model, Server(address, address, 11434))
    home.response_model = model
    assert estimate(home) is None


@pytest.mark.parametrize(
    "mark",
    [
        {"system_fingerprint": "fp_62a23a81ef"},
        {"system_fingerprint": "fp_3a5770e1b4_prod0225"},
        {"response_service_tier": "default"},
        {"response_model": "gpt-4o-2024-11-20"},
    ],
)
def test_a_proxy_at_home_that_hands_on_what_a_hosted_api_answers_keeps_its_estimate(mark):
    through = record("gpt-4o", AT_HOME)
    for name, value in mark.items():
        setattr(through, name, value)
    assert estimate(through).total == 12.5


def test_the_service_tier_of_a_response_is_no_mark_of_a_hosted_api():
    """Local servers copy the member with the rest of the responses API."""
    home = record("gpt-4o", AT_HOME)
    home.api, home.response_service_tier = "responses", "default"
    assert estimate(home) is None


@pytest.mark.parametrize(
    "fingerprint",
    [
        *("fp_ollama", "vllm-0.24.0-tp4", "b6123-79c1160b", "3.3.4-sha-9f38d93", "3.0.1-native", "gpt-4o"),
        "0.24.0-0.25.1-macOS-15.4-arm64-arm-64bit-applegpu_g14s",
    ],
)
def test_an_answer_that_names_the_program_that_runs_the_model_has_no_list_price_at_any_host(fingerprint):
    """LM Studio gives the name of the model as its fingerprint."""
    host = "models.example.com"
    served = record("gpt-4o", Server(host, host, 443))
    served.response_model = "gpt-4o"
    assert estimate(served).total == 12.5
    served.system_fingerprint = fingerprint
    assert estimate(served) is None


def test_a_generation_that_a_program_reports_of_a_local_engine_has_no_list_price():
    assert estimate(record("gpt-4o", Server("ollama", ""))) is None
    assert estimate(record("gpt-4o", Server("", ""))).total == 12.5


def test_a_well_known_model_behind_an_unknown_host_is_priced_by_its_name():
    assert estimate(record("gpt-4o", Server("llm.example.com", "llm.example.com", 443))).total == 12.5


def test_a_client_made_for_one_provider_is_priced_as_that_wherever_it_is_sent():
    needs_listed("gpt-4o", "azure")
    assert estimate(record("gpt-4o", Server("azure.ai.openai", "127.0.0.1", 8080))).total == 12.5


def test_bedrocks_two_endpoints_have_the_same_prices():
    older = estimate(
        record("openai.gpt-oss-120b-1:0", Server("aws.bedrock", "bedrock-runtime.us-west-2.amazonaws.com"))
    )
    newer = estimate(record("openai.gpt-oss-120b", Server("aws.bedrock", "bedrock-mantle.us-west-2.api.aws")))
    assert older == newer
    assert newer.total > 0


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


def test_names_that_a_server_makes_up_are_cut_on_the_span_and_kept_nowhere(stand_in, instrumented, arrived):
    """The cache of names that were looked up held each of them for good."""
    instrumented()
    call = partial(chat, "sync", stand_in.base_url)
    call()
    arrived(1)
    tracemalloc.start()
    try:
        for number in range(20):
            stand_in.script(completion(message("Hi"), usage=usage_of(1, 1), model=f"{number:02}" + "m" * 1_000_000))
            call()
        spans = arrived(21)[1:]
        collect()
        # The stand-in keeps what it has answered.
        grown = tracemalloc.get_traced_memory()[0] - 20 * 1_000_000
    finally:
        tracemalloc.stop()
    lengths = {len(span.attributes["gen_ai.response.model"]) for span in spans}
    assert lengths == {MAX_NAME_CHARACTERS + len(CUT)}
    assert grown < 5_000_000
