"""Further names of facts at one destination: what a backend of that preset reads, of real calls, and nothing that it may not have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llm_otel_broadcast
from llm_otel_broadcast import Destination, trace_context
from llm_otel_broadcast.delivery.aliases import READERS, Aliases
from llm_otel_broadcast.dialects.semconv import SEMCONV
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.trace_fields import Fields
from llm_otel_broadcast.record.usage import Cost, Usage
from llm_otel_broadcast.settings.aliases import ALL_METADATA, FACTS
from llm_otel_broadcast.settings.presets import PRESETS
from llm_otel_broadcast.stand_in.answers import completion, message, usage_of
from tests.support.client_calls import MESSAGES

MODEL = "openai/gpt-4o-mini"
TRACE = {"trace_name": "checkout", "tags": ["beta", "eu"], "environment": "staging", "team": "search"}


@pytest.fixture
def ask(client, stand_in, receiver):
    """Make a call with everything said about it, and return the spans that a destination with these settings is sent."""

    def go(trace: Mapping[str, object] = TRACE, **settings):
        handle = llm_otel_broadcast.instrument(
            destinations=[Destination(endpoint=receiver.endpoint, batch_delay=0.01, **settings)]
        )
        stand_in.script(completion(message("Paris"), model=MODEL, usage=usage_of(3, 2, model=MODEL)))
        with trace_context(session_id="s-1", user="ann"):
            client.chat.completions.create(model=MODEL, messages=MESSAGES, extra_body={"trace": dict(trace)})
        assert handle.flush()
        spans = receiver.store.spans()
        (generation,) = [span for span in spans if span.attributes.get("gen_ai.operation.name") == "chat"]
        return generation, [span for span in spans if span is not generation]

    return go


def aliases_of(preset: str) -> dict[str, str]:
    return dict(PRESETS[preset].aliases)


def test_langfuse_gets_its_tags_metadata_and_environment_on_every_span_of_a_trace(ask):
    generation, (root,) = ask(aliases=aliases_of("langfuse"))
    for span in (generation, root):
        assert {key: value for key, value in span.attributes.items() if key.startswith("langfuse.")} == {
            "langfuse.trace.name": "checkout",
            "langfuse.trace.tags": ["beta", "eu"],
            "langfuse.trace.metadata.environment": "staging",
            "langfuse.trace.metadata.team": "search",
            "langfuse.environment": "staging",
        }


def test_langsmith_gets_its_thread_and_tags_as_text(ask):
    generation, (root,) = ask(aliases=aliases_of("langsmith"))
    for span in (generation, root):
        assert span.attributes["langsmith.trace.session_id"] == "s-1"
        assert span.attributes["langsmith.span.tags"] == "beta,eu"
        assert span.attributes["langsmith.metadata.team"] == "search"
        assert span.attributes["langsmith.metadata.user_id"] == "ann"
        assert "langsmith.metadata.tags" not in span.attributes


@pytest.mark.parametrize(
    ("preset", "name"),
    [
        ("sentry", "gen_ai.cost.total_tokens"),
        ("logfire", "operation.cost"),
    ],
)
def test_the_cost_has_the_name_that_a_backend_sums_and_is_on_generations_alone(ask, preset, name):
    generation, (root,) = ask(aliases=aliases_of(preset))
    assert generation.attributes[name] == generation.attributes["gen_ai.usage.total_cost"] > 0
    assert isinstance(generation.attributes[name], float)
    assert name not in root.attributes


def test_mlflow_gets_the_parts_of_the_cost_as_one_text_and_a_traces_tags(ask):
    generation, (root,) = ask(aliases=aliases_of("mlflow"))
    assert root.attributes["mlflow.traceTag.tags"] == "beta,eu"
    assert root.attributes["mlflow.traceTag.team"] == "search"
    costs = json.loads(generation.attributes["mlflow.llm.cost"])
    assert costs["total_cost"] == generation.attributes["gen_ai.usage.total_cost"]
    assert costs.keys() <= {"input_cost", "output_cost", "total_cost"}


def test_honeycombs_timeline_has_an_agent_and_a_conversation_and_the_root_becomes_no_generation(ask):
    generation, (root,) = ask(aliases=aliases_of("honeycomb"))
    assert generation.attributes["gen_ai.agent.name"] == "checkout"
    assert generation.attributes["gen_ai.conversation.id"] == "s-1"
    assert not [key for key in root.attributes if key.startswith("gen_ai.")]


def test_the_first_fact_that_is_known_is_sent(ask):
    generation, _ = ask(
        aliases={"agent": "metadata.agent_name | trace_name", "owner": "metadata.team|trace_name", "none": "metadata.x"}
    )
    assert generation.attributes["agent"] == "checkout"
    assert generation.attributes["owner"] == "search"
    assert "none" not in generation.attributes


def test_a_name_that_the_dialect_has_is_left_alone(ask):
    generation, _ = ask(aliases={"gen_ai.request.model": "trace_name", "user.id": "trace_name"})
    assert generation.attributes["gen_ai.request.model"] == MODEL
    assert generation.attributes["user.id"] == "ann"


@pytest.mark.parametrize("dialect", ["semconv", "semconv-1.37", "openinference", "openrouter"])
def test_aliases_go_with_every_dialect(client, receiver, dialect):
    settings = {"dialect": dialect, "aliases": {"acme.session": "session_id", "acme.model": "model"}}
    handle = llm_otel_broadcast.instrument(endpoint=receiver.endpoint, **settings)
    with trace_context(session_id="s-1"):
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert handle.flush()
    (span,) = receiver.store.spans()
    assert (span.attributes["acme.session"], span.attributes["acme.model"]) == ("s-1", MODEL)


def test_an_alias_of_what_a_destination_may_not_have_vanishes_with_it(ask):
    aliases = {
        "a.user": "user_id",
        "a.team": "metadata.team",
        "a.all": "metadata",
        "a.meta.*": "metadata.*",
        "a.tags": "tags",
        "a.tags_text": "tags_text",
        "a.environment": "metadata.environment",
    }
    generation, (root,) = ask(aliases=aliases, hash_user=True, metadata_allow=["environment"])
    for span in (generation, root):
        assert "ann" not in repr(span)
        assert "search" not in repr(span)
        assert "beta" not in repr(span)
        assert span.attributes["a.environment"] == "staging"
        assert span.attributes["a.user"] == span.attributes["user.id"]
        assert json.loads(span.attributes["a.all"]) == {"environment": "staging"}


def test_no_fact_is_content():
    """What every fact says of a call with content everywhere: no text of it."""
    record = Generation("chat")
    record.request_model = MODEL
    record.messages = [{"role": "user", "content": "canary"}]
    record.instructions = "canary"
    record.usage = Usage(input_tokens=3, output_tokens=2, total_tokens=5, cost=0.1)
    record.end()
    span = SEMCONV.generation_span(record, None, None)
    every_fact = Aliases({f"a.{fact}": fact for fact in READERS})
    named = every_fact.name_generation(span, record, None)
    assert "canary" not in repr(named.attributes)
    assert named.attributes["a.total_cost"] == 0.1


def test_the_moment_of_the_first_chunk_is_written_as_iso_time():
    record = Generation("chat")
    record.start_ns = 1_700_000_000_000_000_000
    record.first_chunk_ns = 250_000_000
    record.end()
    span = SEMCONV.generation_span(record, None, None)
    named = Aliases({"start": "first_chunk_time", "wait": "time_to_first_chunk"}).name_generation(span, record, None)
    moment = datetime.fromisoformat(named.attributes["start"])
    assert moment == datetime.fromtimestamp(1_700_000_000.25, UTC)
    assert named.attributes["wait"] == 0.25


def test_every_fact_that_settings_know_can_be_read():
    assert {*READERS, ALL_METADATA} == set(FACTS)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    metadata=st.dictionaries(st.text(min_size=1, max_size=6), VALUES, max_size=4),
    tags=VALUES,
    cost=st.none() | st.builds(Cost, st.none() | st.floats(0, 1), st.none() | st.floats(0, 1), st.floats(0, 1)),
    usage=st.none() | st.builds(Usage, input_tokens=st.none() | st.integers(0, 99)),
)
def test_whatever_a_caller_says_aliases_are_values_that_a_span_can_have(metadata, tags, cost, usage):
    record = Generation("chat")
    record.fields = Fields(trace_name="t", metadata={**metadata, "tags": tags})
    record.usage = usage
    record.end()
    span = SEMCONV.generation_span(record, None, cost)
    aliases = Aliases({**{f"a.{fact}": fact for fact in READERS}, "a.meta.*": ALL_METADATA, "a.x": "metadata.tags"})
    for named in (aliases.name_generation(span, record, cost), aliases.name_other(span, record.fields)):
        for key, value in named.attributes.items():
            items = value if isinstance(value, list | tuple) else [value]
            assert all(isinstance(item, str | bool | int | float) for item in items), key
            assert len({type(item) for item in items}) <= 1
        assert {key: value for key, value in named.attributes.items() if not key.startswith("a.")} == span.attributes
