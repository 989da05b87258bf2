"""The reference page's own example, verbatim, through to the receiver."""

from __future__ import annotations

from hashlib import sha256

import pytest

import llm_otel_broadcast

TRACE_ID = sha256(b"app_trace_001").hexdigest()[:32]


@pytest.fixture
def spans(client, receiver, arrived):
    llm_otel_broadcast.instrument(endpoint=receiver.endpoint)
    client.chat.completions.create(
        model="openai/gpt-4o",
        messages=[{"role": "user", "content": "Hello!"}],
        user="user_12345",
        extra_body={
            "session_id": "session_abc",
            "trace": {
                "trace_id": "app_trace_001",
                "trace_name": "Chat Handler",
                "generation_name": "Generate Response",
                "environment": "staging",
                "deployment": "us-east-1",
            },
        },
    )
    return {span.name: span for span in arrived(2)}


def test_both_spans_are_in_the_trace_that_openrouter_derives(spans):
    assert {span.trace_id for span in spans.values()} == {TRACE_ID}


def test_the_trace_name_is_the_root_and_the_generation_hangs_below_it(spans):
    root, generation = spans["Chat Handler"], spans["Generate Response"]
    assert root.parent_span_id == ""
    assert generation.parent_span_id == root.span_id
    assert root.span_id == sha256(f"{TRACE_ID}/Chat Handler".encode()).hexdigest()[:16]


def test_the_generation_is_a_client_span_and_the_root_an_internal_one(spans):
    assert (spans["Generate Response"].kind, spans["Chat Handler"].kind) == (3, 1)


def test_the_root_encloses_the_generation_in_time(spans):
    root, generation = spans["Chat Handler"], spans["Generate Response"]
    assert root.start_ns <= generation.start_ns < generation.end_ns <= root.end_ns


@pytest.mark.parametrize("name", ["Chat Handler", "Generate Response"])
def test_user_session_and_metadata_are_on_every_span(spans, name):
    expected = {
        "user.id": "user_12345",
        "session.id": "session_abc",
        "trace.name": "Chat Handler",
        "trace.id": "app_trace_001",
        "trace.metadata.environment": "staging",
        "trace.metadata.deployment": "us-east-1",
    }
    assert expected.items() <= spans[name].attributes.items()


def test_the_root_says_nothing_that_would_make_it_a_generation(spans):
    assert not [key for key in spans["Chat Handler"].attributes if key.startswith("gen_ai.")]


def test_model_tokens_and_cost_are_on_the_generation(spans):
    attributes = spans["Generate Response"].attributes
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.request.model"] == attributes["gen_ai.response.model"] == "openai/gpt-4o"
    assert attributes["gen_ai.usage.total_tokens"] == (
        attributes["gen_ai.usage.input_tokens"] + attributes["gen_ai.usage.output_tokens"]
    )
    assert attributes["gen_ai.usage.total_cost"] == pytest.approx(
        attributes["gen_ai.usage.input_cost"] + attributes["gen_ai.usage.output_cost"]
    )
    assert attributes["gen_ai.usage.cost.source"] == "response"
    assert attributes["gen_ai.conversation.id"] == "session_abc"


def test_a_second_call_of_the_trace_refers_to_the_first_ones_root(spans, client, arrived):
    client.chat.completions.create(
        model="openai/gpt-4o",
        messages=[{"role": "user", "content": "Again."}],
        extra_body={"trace": {"trace_id": "app_trace_001", "trace_name": "Chat Handler"}},
    )
    again = arrived(3)[-1]
    assert again.name == "chat openai/gpt-4o"
    assert again.parent_span_id == spans["Chat Handler"].span_id
