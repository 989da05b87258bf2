"""The content of spans in OpenInference's dialect: messages, parts, tool calls and their results, flattened."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from llm_otel_broadcast.dialects.openinference_content import content_attributes
from llm_otel_broadcast.record.content import Content
from llm_otel_broadcast.record.generation import Choice, ServerCall, ToolCall
from llm_otel_broadcast.record.usage import Usage
from tests.dialects.openinference_spans import (
    CALL,
    QUESTION,
    TOOL,
    attributes_of,
    below,
    message_of,
    record_of,
    span_of,
    strange_keys,
)


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
