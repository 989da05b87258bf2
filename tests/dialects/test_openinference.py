"""OpenInference's dialect: every name against OpenInference's own package, and what its readers show of each call."""

from __future__ import annotations

import json
import re
from functools import cache

import openai
import openinference.semconv.trace as conventions
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import llm_otel_broadcast
from llm_otel_broadcast import Destination, trace_context
from llm_otel_broadcast.clients.openai.messages import content_of
from llm_otel_broadcast.delivery.facts import content_for, enclosing_facts_of, facts_of
from llm_otel_broadcast.dialects.openinference import OPENINFERENCE
from llm_otel_broadcast.dialects.openinference_content import content_attributes
from llm_otel_broadcast.record.content import Content
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import Attempt, Choice, Generation, ServerCall, ToolCall
from llm_otel_broadcast.record.server import Server
from llm_otel_broadcast.record.span_data import STATUS_ERROR, STATUS_OK
from llm_otel_broadcast.record.trace_fields import Fields
from llm_otel_broadcast.record.usage import Cost, Usage
from llm_otel_broadcast.stand_in.answers import completion, error, message, stream
from tests.support.operations import OPERATIONS, call

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")

OPENROUTER = Server("openrouter", "openrouter.ai", 443, is_openrouter=True)
QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
NAMES = {
    value
    for name, group in vars(conventions).items()
    if name.endswith("Attributes") and isinstance(group, type)
    for constant, value in vars(group).items()
    if constant.isupper()
}
"""Each is the whole of a name, or what stands before, between or behind the numbers in it."""
OTHER_CONVENTIONS = {"error.type", "http.response.status_code", "server.address", "server.port"}
OWN_NAMES = {"input.truncated", "output.truncated", "output.omitted_characters"}


@cache
def is_name(piece):
    """Some stand in others without a number between: `message_content.image` and `image.url`."""
    return piece in NAMES or any(piece.startswith(f"{name}.") and is_name(piece[len(name) + 1 :]) for name in NAMES)


def strange_keys(attributes):
    known = OTHER_CONVENTIONS | OWN_NAMES
    return [key for key in attributes if key not in known and not all(map(is_name, re.split(r"\.\d+\.", key)))]


def record_of(operation="chat", **facts):
    record = Generation(operation)
    record.server = OPENROUTER
    record.request_model = record.response_model = "openai/gpt-4o"
    for name, value in facts.items():
        setattr(record, name, value)
    record.end()
    return record


def span_of(record, cost=None, *, content=True):
    sent_content = content_for(record, content_of(record)) if content else None
    span = OPENINFERENCE.generation_span(facts_of(record, record.fields), sent_content, cost)
    assert not strange_keys(span.attributes)
    return span


def attributes_of(record, cost=None, *, content=True):
    return dict(span_of(record, cost, content=content).attributes)


def below(attributes, prefix):
    """Return what is below a name, by the rest of each name."""
    return {key.removeprefix(f"{prefix}."): value for key, value in attributes.items() if key.startswith(f"{prefix}.")}


def message_of(*parts, role="user"):
    return below(
        content_attributes("chat", Content(inputs=[{"role": role, "parts": list(parts)}])), "llm.input_messages"
    )


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


def test_a_tool_call_and_its_result_are_flattened():
    record = record_of(
        messages=[
            *QUESTION,
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
        ],
        tools=[TOOL, {"type": "web_search"}],
        choices=[Choice(content="Wait.", reasoning="Hm", tool_calls=[ToolCall("c2", "f", "not JSON")])],
    )
    attributes = attributes_of(record)
    assert below(attributes, "llm.input_messages.2.message") == {
        "role": "assistant",
        "tool_calls.0.tool_call.id": "c1",
        "tool_calls.0.tool_call.function.name": "f",
        "tool_calls.0.tool_call.function.arguments": '{"a":1}',
    }
    assert below(attributes, "llm.input_messages.3.message") == {"role": "tool", "tool_call_id": "c1", "content": "42"}
    assert below(attributes, "llm.output_messages.0.message") == {
        "role": "assistant",
        "contents.0.message_content.type": "reasoning",
        "contents.0.message_content.text": "Hm",
        "contents.1.message_content.type": "text",
        "contents.1.message_content.text": "Wait.",
        "tool_calls.0.tool_call.id": "c2",
        "tool_calls.0.tool_call.function.name": "f",
        "tool_calls.0.tool_call.function.arguments": "not JSON",
    }
    assert json.loads(attributes["llm.tools.0.tool.json_schema"]) == TOOL
    assert (attributes["llm.tools.0.tool.name"], attributes["llm.tools.0.tool.description"]) == ("f", "d")
    assert attributes["llm.tools.1.tool.name"] == "web_search"
    assert attributes["output.mime_type"] == "application/json"


def test_results_of_several_tools_in_one_message_are_a_message_each():
    results = [{"type": "tool_call_response", "id": f"c{number}", "response": {"n": number}} for number in (1, 2)]
    assert message_of(*results, {"type": "text", "content": "Go on."}) == {
        "0.message.role": "user",
        "0.message.content": "Go on.",
        "1.message.role": "tool",
        "1.message.tool_call_id": "c1",
        "1.message.content": '{"n":1}',
        "2.message.role": "tool",
        "2.message.tool_call_id": "c2",
        "2.message.content": '{"n":2}',
    }


def test_a_call_of_the_providers_own_tool_is_a_tool_call():
    call = ServerCall("web_search", "ws1", "completed", {"query": "q"})
    attributes = attributes_of(record_of(choices=[Choice(content="Ho")], server_calls=[call]))
    calls = below(attributes, "llm.output_messages.0.message.tool_calls.0.tool_call")
    assert (calls["id"], calls["function.name"]) == ("ws1", "web_search")
    assert json.loads(calls["function.arguments"]) == {"status": "completed", "query": "q"}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"type": "uri", "modality": "image", "uri": "https://x/a"},
            {"type": "image", "image.image.url": "https://x/a"},
        ),
        ({"type": "uri", "modality": "image"}, {"type": "image", "image.image.url": "__REDACTED__"}),
        (
            {"type": "blob", "modality": "audio", "mime_type": "audio/wav", "bytes": 3},
            {"type": "audio", "audio.audio.url": "__REDACTED__", "audio.audio.mime_type": "audio/wav"},
        ),
        ({"type": "uri", "modality": "video", "uri": "v"}, {"type": "video", "video.video.url": "v"}),
        (
            {"type": "file", "modality": "document", "file_id": "file-1", "filename": "a.pdf"},
            {"type": "document", "document.document.url": "file-1", "document.document.name": "a.pdf"},
        ),
    ],
)
def test_media_are_named_by_their_kind(part, expected):
    assert below(message_of(part), "0.message.contents.0.message_content") == expected


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "refusal", "content": "No."}, "No."),
        ({"type": "hologram", "layers": 3}, '{"type":"hologram","layers":3}'),
        ({"truncated": {"omitted_items": 2}}, '{"truncated":{"omitted_items":2}}'),
        ("loose", "loose"),
    ],
)
def test_a_part_of_another_kind_is_its_text(part, expected):
    assert message_of(part)["0.message.content"] == expected


def test_a_message_without_parts_is_its_json():
    marker = {"truncated": {"omitted_items": 2}}
    attributes = content_attributes("chat", Content(inputs=[marker], outputs=[marker], tools=[marker]))
    assert attributes["llm.input_messages.0.message.content"] == '{"truncated":{"omitted_items":2}}'


VALUES = st.sampled_from([None, True, 0, 7, "", "x", [], ["x", {"type": "text"}], {}, {"type": "x", "status": 1}])
TYPES = [
    "text",
    "refusal",
    "reasoning",
    "tool_call",
    "server_tool_call",
    "tool_call_response",
    "uri",
    "blob",
    "file",
    7,
    "odd",
]
MEMBERS = [
    "content",
    "id",
    "name",
    "response",
    "arguments",
    "server_tool_call",
    "modality",
    "uri",
    "mime_type",
    "filename",
]
PARTS = st.builds(
    lambda kind, members: {**members, "type": kind},
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=4),
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {}, optional={"parts": st.lists(PARTS | VALUES, max_size=3) | VALUES, "role": VALUES, "name": VALUES}
    ),
    max_size=3,
)


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["chat", "embeddings", "text_completion", "decision"]),
    MESSAGES,
    MESSAGES,
    st.lists(PARTS, max_size=2),
)
def test_whatever_the_content_is_it_becomes_attributes_of_known_names(operation, inputs, outputs, tools):
    attributes = content_attributes(operation, Content(inputs=inputs, outputs=outputs, tools=tools))
    assert not strange_keys(attributes)
    assert all(isinstance(value, str) for value in attributes.values())


def test_instructions_come_first_among_the_messages():
    attributes = attributes_of(record_of(api="responses", instructions="Do.", messages=QUESTION[1:]))
    assert below(attributes, "llm.input_messages.0.message") == {"role": "system", "content": "Do."}
    assert below(attributes, "llm.input_messages.1.message") == {"role": "user", "content": "Hi"}


def test_several_answers_are_a_message_each():
    choices = [Choice(refusal="No.", finish_reason="stop"), Choice(1, content="Yes.", finish_reason="length")]
    attributes = attributes_of(record_of(choices=choices))
    assert attributes["llm.output_messages.0.message.content"] == "No."
    assert attributes["llm.output_messages.1.message.content"] == "Yes."
    assert [message["parts"][0]["content"] for message in json.loads(attributes["output.value"])["messages"]] == [
        "No.",
        "Yes.",
    ]


def test_embeddings_are_texts_and_token_ids_stay_what_they_are():
    inputs = ["a", "b", {"type": "tokens", "count": 3}]
    record = record_of("embeddings", messages=[{"role": "user", "content": inputs}], usage=Usage(5, None, 5))
    span = span_of(record)
    assert span.name == "CreateEmbeddings"
    assert below(span.attributes, "embedding") == {
        "model_name": "openai/gpt-4o",
        "embeddings.0.embedding.text": "a",
        "embeddings.1.embedding.text": "b",
    }
    assert span.attributes["openinference.span.kind"] == "EMBEDDING"
    assert json.loads(span.attributes["input.value"]) == ["a", "b", '{"type":"tokens","count":3}']
    assert not below(span.attributes, "llm.input_messages")


def test_one_text_that_is_embedded_is_the_input_itself():
    attributes = attributes_of(record_of("embeddings", messages=[{"role": "user", "content": ["a"]}]))
    assert (attributes["input.value"], attributes["input.mime_type"]) == ("a", "text/plain")


def test_completions_of_old_have_prompts_and_choices():
    record = record_of(
        "text_completion", messages=[{"role": "user", "content": "Once"}], choices=[Choice(content=" upon")]
    )
    attributes = attributes_of(record)
    assert attributes["llm.prompts.0.prompt.text"] == "Once"
    assert attributes["llm.choices.0.completion.text"] == attributes["output.value"] == " upon"
    assert not below(attributes, "llm.input_messages")


def test_a_decision_is_a_span_of_its_own_kind():
    record = record_of(
        "decision",
        messages=[{"role": "user", "content": "State"}],
        choices=[Choice(media=[{"type": "probability", "value": 0.5}])],
        usage=Usage(3, 1, 4),
    )
    attributes = attributes_of(record)
    assert attributes["openinference.span.kind"] == "DECISION"
    assert below(attributes, "decision.token_count") == {"input": 3, "output": 1}
    assert attributes["decision.model_name"] == "openai/gpt-4o"
    assert '"value":0.5' in attributes["output.value"]
    assert not below(attributes, "llm")


def test_what_was_cut_says_so_beside_the_value():
    record = record_of(
        messages=[{"role": "user", "content": "x" * 2_000_000}], choices=[Choice(content="y")], omitted_characters=9
    )
    attributes = attributes_of(record)
    assert attributes["input.truncated"] is attributes["output.truncated"] is True
    assert attributes["output.omitted_characters"] == 9
    assert len(attributes["input.value"]) <= 1_000_100
    json.loads(attributes["input.value"])


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
