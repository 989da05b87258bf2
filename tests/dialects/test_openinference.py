"""OpenInference's dialect: every name against OpenInference's own package, and what its readers show of each call."""

from __future__ import annotations

import json
import re

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination, trace_context
from llm_otel_broadcast.delivery.facts import enclosing_facts_of, facts_of
from llm_otel_broadcast.dialects.openinference import OPENINFERENCE
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import Attempt, Choice, Generation
from llm_otel_broadcast.record.server import Server
from llm_otel_broadcast.record.span_data import STATUS_ERROR, STATUS_OK
from llm_otel_broadcast.record.trace_fields import Fields
from llm_otel_broadcast.record.usage import Cost, Usage
from llm_otel_broadcast.stand_in.answers import completion, error, message, stream
from tests.dialects.openinference_spans import (
    OPENROUTER,
    QUESTION,
    attributes_of,
    below,
    record_of,
    span_of,
    strange_keys,
)
from tests.support.operations import OPERATIONS, call

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")


@pytest.fixture
def arrived(stand_in, client, receiver):
    """Instrument for a destination of the dialect; return what makes a call and returns the spans that arrived, by name."""

    def run(make_call, *, reply=None, **settings):
        handle = llm_otel_broadcast.instrument(
            destinations=[Destination(endpoint=receiver.endpoint, dialect="openinference", **settings)]
        )
        if reply is not None:
            stand_in.script(reply)
        make_call(client)
        assert handle.flush()
        assert not llm_otel_broadcast.status().destinations[0].dropped
        return {span.name: span for span in receiver.store.spans()}

    return run


def test_a_call_has_the_attributes_that_readers_look_for():
    record = record_of(
        messages=QUESTION,
        choices=[Choice(content="Ho", finish_reason="stop")],
        usage=Usage(10, 2, 12, cache_read_tokens=3, cache_write_tokens=4, reasoning_tokens=1, input_audio_tokens=0),
        parameters={"temperature": 0.2, "stop": ["x"]},
        serving_provider="Amazon Bedrock",
        response_id="gen-1",
        fields=Fields(session_id="s", user="u", trace_name="t", metadata={"team": "red", "tags": ["a", "b"]}),
    )
    span = span_of(record, Cost(1e-5, 2e-5, 3e-5))
    attributes = dict(span.attributes)
    assert json.loads(attributes.pop("llm.invocation_parameters")) == {
        "model": "openai/gpt-4o",
        "temperature": 0.2,
        "stop": ["x"],
    }
    assert json.loads(attributes.pop("metadata")) == {
        "team": "red",
        "trace_name": "t",
        "details": {"response_id": "gen-1", "cost_source": "estimated"},
    }
    asked = [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Hi"}]},
    ]
    assert json.loads(attributes.pop("input.value")) == {"messages": asked}
    assert attributes == {
        "openinference.span.kind": "LLM",
        "llm.system": "openai",
        "llm.provider": "aws",
        "llm.model_name": "openai/gpt-4o",
        "llm.token_count.prompt": 10,
        "llm.token_count.completion": 2,
        "llm.token_count.total": 12,
        "llm.token_count.prompt_details.cache_read": 3,
        "llm.token_count.prompt_details.cache_write": 4,
        "llm.token_count.prompt_details.audio": 0,
        "llm.token_count.completion_details.reasoning": 1,
        "llm.cost.prompt": 1e-5,
        "llm.cost.completion": 2e-5,
        "llm.cost.total": 3e-5,
        "llm.finish_reason": "stop",
        "server.address": "openrouter.ai",
        "server.port": 443,
        "session.id": "s",
        "user.id": "u",
        "tag.tags": ["a", "b"],
        "llm.input_messages.0.message.role": "system",
        "llm.input_messages.0.message.content": "Be brief.",
        "llm.input_messages.1.message.role": "user",
        "llm.input_messages.1.message.content": "Hi",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": "Ho",
        "input.mime_type": "application/json",
        "output.value": "Ho",
        "output.mime_type": "text/plain",
    }
    assert span.status_code == STATUS_OK


def test_absent_is_absent():
    assert attributes_of(Generation("chat")) == {"openinference.span.kind": "LLM"}


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_name_of_every_operation_is_one_of_openinferences(arrived, stand_in, operation, private):
    (span,) = arrived(lambda _: call("sync", stand_in.base_url, operation), privacy_mode=private).values()
    assert not strange_keys(span.attributes)
    assert span.attributes["openinference.span.kind"] == ("EMBEDDING" if "embed" in operation else "LLM")
    assert ("input.value" in span.attributes) == (not private)
    if private:
        content = r"input|output|llm\.(input_messages|output_messages|tools|prompts|choices)|embedding\.embeddings"
        assert not [key for key in span.attributes if re.match(content, key)]


@pytest.mark.parametrize(
    ("server", "model", "served_by", "system", "provider"),
    [
        (OPENROUTER, "anthropic/claude-haiku-4.5", "Google", "anthropic", "google"),
        (OPENROUTER, "google/gemini-3.5-flash", "Google AI Studio", "vertexai", "google"),
        (OPENROUTER, "x-ai/grok-4", None, "xai", "openrouter"),
        (OPENROUTER, "gpt-4o", "Azure", "openrouter", "azure"),
        (Server("azure.ai.openai", "x.openai.azure.com"), "gpt-4o", None, "openai", "azure"),
        (Server("gcp.gemini", "generativelanguage.googleapis.com"), "gemini", None, "vertexai", "google"),
        (Server("mistral_ai", "api.mistral.ai"), "mistral-large", None, "mistralai", "mistralai"),
        (Server("llm.intern", "llm.intern"), "llama", None, None, "llm.intern"),
    ],
)
def test_system_and_provider_are_the_values_that_openinference_knows(server, model, served_by, system, provider):
    attributes = attributes_of(record_of(server=server, request_model=model, serving_provider=served_by))
    assert (attributes.get("llm.system"), attributes.get("llm.provider")) == (system, provider)


def test_a_model_that_stands_in_for_another_is_named_beside_it():
    attributes = attributes_of(record_of(response_model="openai/gpt-4o-2024"))
    assert attributes["llm.model_name"] == attributes["llm.response.model_name"] == "openai/gpt-4o-2024"
    assert attributes["llm.request.model_name"] == "openai/gpt-4o"


def test_a_stated_cost_beats_an_estimate():
    attributes = attributes_of(record_of(usage=Usage(cost=0.0)), Cost(1.0, 1.0, 2.0))
    assert attributes["llm.cost.total"] == 0.0
    assert json.loads(attributes["metadata"])["details"]["cost_source"] == "response"


def test_counts_without_a_name_are_details_of_the_metadata():
    attributes = attributes_of(record_of(usage=Usage(1, output_image_tokens=7, server_tools={"web_search": 2})))
    usage = json.loads(attributes["metadata"])["details"]["usage"]
    assert usage == {"output_image_tokens": 7, "server_tools": {"web_search": 2}}


@pytest.mark.parametrize(
    ("tags", "expected", "rest"),
    [
        ("a", ["a"], {}),
        (["a", 1], ["a", "1"], {}),
        (("a",), ["a"], {}),
        ({"a": 1}, None, {"tags": {"a": 1}}),
        ([], None, {"tags": []}),
    ],
)
def test_tags_are_a_list_of_texts_outside_the_metadata(tags, expected, rest):
    attributes = attributes_of(record_of(fields=Fields(metadata={"tags": tags})))
    assert attributes.get("tag.tags") == expected
    assert json.loads(attributes.get("metadata", "{}")) == rest


def test_a_callers_own_key_wins_over_ours_in_the_metadata():
    attributes = attributes_of(record_of(retries=1, fields=Fields(trace_name="t", metadata={"details": 5})))
    assert json.loads(attributes["metadata"]) == {"trace_name": "t", "details": 5}


def test_metadata_may_hold_anything():
    class Odd:
        def __repr__(self):
            raise ValueError

    fields = Fields(
        metadata={"odd": Odd(), "nan": float("nan"), "none": None, "big": 10**30, "deep": {"a": [1, {"b": 2}]}}
    )
    metadata = json.loads(attributes_of(record_of(fields=fields))["metadata"])
    assert metadata == {"odd": "<Odd>", "nan": "nan", "big": 10**30, "deep": {"a": [1, {"b": 2}]}}


def test_metadata_without_end_is_cut_and_stays_json():
    fields = Fields(metadata={f"key {number}": "x" * 5_000 for number in range(300)})
    text = attributes_of(record_of(fields=fields))["metadata"]
    assert len(text) <= 65_536
    json.loads(text)


def test_the_first_chunk_is_the_event_that_openinferences_own_instrumentation_sends():
    record = record_of(first_chunk_ns=5_000_000)
    (event,) = span_of(record).events
    assert (event.name, event.time_ns) == ("First Token Stream Event", record.start_ns + 5_000_000)


@pytest.mark.parametrize("content", [True, False])
def test_a_failure_is_an_error_whose_text_only_those_get_who_may_have_it(content):
    span = span_of(
        record_of(failure=Failure("RateLimitError", "your prompt: secret", 429), messages=QUESTION), content=content
    )
    assert span.status_code == STATUS_ERROR
    assert (span.attributes["error.type"], span.attributes["http.response.status_code"]) == ("RateLimitError", 429)
    assert ("secret" in repr(span)) == content


def test_attempts_are_chains_that_nobody_counts_as_calls():
    record = record_of(attempts=[Attempt("Azure", "m", 500), Attempt("OpenAI")], fields=Fields(session_id="s"))
    failed, served = OPENINFERENCE.attempt_spans(facts_of(record, record.fields))
    assert failed.attributes["openinference.span.kind"] == "CHAIN"
    assert failed.attributes["openrouter.provider_name"] == "Azure"
    assert failed.attributes["session.id"] == "s"
    assert (failed.status_code, served.status_code) == (STATUS_ERROR, STATUS_OK)
    assert not below(failed.attributes, "llm")


def test_an_enclosing_span_is_a_chain_of_its_session():
    span = EnclosingSpan("Root", 1, 2, 0, 3, failure=Failure("ValueError", "secret"))
    facts = enclosing_facts_of(span, Fields(session_id="s", user="u", metadata={"team": "red"}), span.failure)
    rendered = OPENINFERENCE.enclosing_span(facts, None)
    assert rendered.attributes == {
        "openinference.span.kind": "CHAIN",
        "session.id": "s",
        "user.id": "u",
        "metadata": '{"team":"red"}',
        "error.type": "ValueError",
    }
    assert rendered.status_code == STATUS_ERROR
    assert "secret" not in repr(rendered)


def test_a_streamed_call_in_a_named_trace_arrives_whole(arrived):
    def make_call(client):
        with trace_context(trace_name="Chat", generation_name="Answer", session_id="s", team="red"):
            list(client.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=True))

    spans = arrived(make_call, reply=stream(message("Ho")))
    assert spans["Chat"].attributes["openinference.span.kind"] == "CHAIN"
    answer = spans["Answer"]
    assert answer.parent_span_id == spans["Chat"].span_id
    assert answer.attributes["output.value"] == "Ho"
    assert answer.attributes["session.id"] == "s"
    assert json.loads(answer.attributes["metadata"])["team"] == "red"
    assert [event.name for event in answer.events] == ["First Token Stream Event"]


@pytest.mark.parametrize(
    ("settings", "secret"),
    [
        ({"hide": {"inputs"}}, "canary-prompt"),
        ({"hide": {"urls"}}, "canary-link"),
        ({"hide": {"tool_arguments"}}, "canary-argument"),
        ({"hide": {"tools"}}, "canary-definition"),
        ({"redact": lambda text: text.replace("canary", "*")}, "canary"),
        ({"hash_user": True}, "canary-user"),
        ({"metadata_deny": ["secret*"]}, "canary-metadata"),
    ],
)
def test_what_a_destination_may_not_have_is_nowhere_in_its_spans(arrived, settings, secret):
    request = {
        "model": "gpt-4o",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "canary-prompt"}]},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://canary-link/a.png"}}]},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "description": "canary-definition"}}],
        "user": "canary-user",
    }

    def make_call(client):
        with trace_context(secret_name="canary-metadata" if "metadata" in secret else "plain"):
            client.chat.completions.create(**{**request, **({"user": "u"} if secret == "canary" else {})})

    answer = message("Ho", tool_calls=[("c1", "f", '{"y": "canary-argument"}')])
    (span,) = arrived(make_call, reply=completion(answer), **settings).values()
    assert secret not in repr((span.attributes, span.events))


def test_an_error_arrives_as_an_exception(arrived):
    def make_call(client):
        with pytest.raises(openai.OpenAIError):
            client.chat.completions.create(model="gpt-4o", messages=QUESTION)

    (span,) = arrived(make_call, reply=error(400, "no such model")).values()
    assert span.status_code == STATUS_ERROR
    assert [event.name for event in span.events] == ["exception"]
