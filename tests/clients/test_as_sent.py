"""What is recorded of a request is what goes over the wire: `extra_body` over keywords, values of enums, the client's headers."""

from __future__ import annotations

import enum
import inspect
from typing import Any

import openai
import pytest

from llm_otel_broadcast import trace_context
from llm_otel_broadcast.stand_in.answers import message, stream, usage_of
from tests.support.client_calls import MESSAGES, chat, needs_responses, respond
from tests.support.operations import OPERATIONS, call

OMIT = getattr(openai, "omit", None) or openai._types.Omit()
SESSION = {"X-Session-Id": "session-7"}


PARAMETERS = {
    "top_k": 20,
    "temperature": 0.3,
    "top_p": 0.5,
    "max_tokens": 77,
    "seed": 7,
    "stop": ["END"],
    "presence_penalty": 0.25,
}


def test_parameters_in_extra_body_win_over_keywords(kind, stand_in, instrumented, arrived):
    instrumented()
    body = {**PARAMETERS, "reasoning_effort": "low", "service_tier": "flex", "response_format": {"type": "json_object"}}
    chat(kind, stand_in.base_url, temperature=1.0, seed=1, extra_body={**body, "model": "gpt-4o"})
    assert stand_in.requests[0].json == {"messages": MESSAGES, "model": "gpt-4o", **body}
    (span,) = arrived(1)
    wanted = {**{f"gen_ai.request.{name}": value for name, value in PARAMETERS.items() if name != "stop"}}
    wanted |= {"gen_ai.request.stop_sequences": ["END"], "gen_ai.request.reasoning.level": "low"}
    wanted |= {"openai.request.service_tier": "flex", "gen_ai.output.type": "json", "gen_ai.request.model": "gpt-4o"}
    assert {name: span.attributes.get(name) for name in wanted} == wanted
    assert span.name == "chat gpt-4o"


@needs_responses
def test_parameters_in_extra_body_of_a_response_win_too(kind, stand_in, instrumented, arrived):
    instrumented()
    respond(kind, stand_in.base_url, temperature=1.0, extra_body={"top_k": 20, "temperature": 0.5})
    attributes = arrived(1)[0].attributes
    assert (attributes["gen_ai.request.top_k"], attributes["gen_ai.request.temperature"]) == (20, 0.5)


@pytest.mark.parametrize("operation", ["completions.create", "embeddings.create", "images.generate"])
def test_every_other_operation_reads_extra_body_as_well(kind, operation, stand_in, instrumented, arrived):
    instrumented()
    call(kind, stand_in.base_url, operation, extra_body={"model": "other-model"})
    assert arrived(1)[0].attributes["gen_ai.request.model"] == "other-model"


def test_what_extra_body_removes_was_not_asked_for(kind, stand_in, instrumented, arrived):
    instrumented()
    chat(kind, stand_in.base_url, temperature=0.5, extra_body={"temperature": OMIT})
    assert "temperature" not in stand_in.requests[0].json
    assert "gen_ai.request.temperature" not in arrived(1)[0].attributes


def test_messages_that_can_be_iterated_once_reach_the_client_beside_extra_body(kind, stand_in, instrumented, arrived):
    instrumented()
    chat(kind, stand_in.base_url, messages=iter(MESSAGES), extra_body={"top_k": 3})
    assert stand_in.requests[0].json["messages"] == MESSAGES
    assert "Hello!" in arrived(1)[0].attributes["gen_ai.input.messages"]


def test_messages_in_extra_body_are_the_ones_recorded(kind, stand_in, instrumented, arrived):
    instrumented()
    chat(kind, stand_in.base_url, extra_body={"messages": [{"role": "user", "content": "Sent instead"}]})
    text = arrived(1)[0].attributes["gen_ai.input.messages"]
    assert "Sent instead" in text
    assert "Hello!" not in text


def enumerated(value: Any) -> Any:
    """Return a value with every text in it, names excepted, as the member of a `str` enum."""
    if isinstance(value, str):
        return enum.Enum("Kind", {"MEMBER": value}, type=str).MEMBER
    if isinstance(value, dict):
        return {name: enumerated(item) for name, item in value.items()}
    return [enumerated(item) for item in value] if isinstance(value, list) else value


FUNCTION = {"name": "look", "parameters": {"type": "object"}}
FIELDS = {"trace": {"generation_name": "Named", "trace_name": "Whole", "team": "red", "list": ["a", {"b": "c"}]}}
TEXTS: dict[str, dict[str, Any]] = {
    "chat.completions.create": {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {
                "role": "assistant",
                "tool_calls": [{"id": "c1", "type": "function", "function": {**FUNCTION, "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "found"},
        ],
        "reasoning_effort": "low",
        "service_tier": "flex",
        "response_format": {"type": "json_object"},
        "tool_choice": "auto",
        "stop": ["END"],
        "tools": [{"type": "function", "function": FUNCTION}],
        "user": "u-1",
        "extra_body": {**FIELDS, "session_id": "s-1"},
    },
    "responses.create": {
        "model": "gpt-4o-mini",
        "input": [
            {"role": "user", "content": "Hi"},
            {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "found"},
        ],
        "instructions": "Be brief.",
        "previous_response_id": "resp_0",
        "service_tier": "flex",
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "text"}},
        "tools": [{"type": "function", **FUNCTION}],
        "tool_choice": {"type": "function", "name": "look"},
    },
    "completions.create": {**OPERATIONS["completions.create"], "stop": "END"},
    "embeddings.create": {**OPERATIONS["embeddings.create"], "encoding_format": "float"},
    "images.generate": {**OPERATIONS["images.generate"], "size": "1024x1024", "quality": "low"},
    "audio.speech.create": {**OPERATIONS["audio.speech.create"], "response_format": "mp3"},
    "moderations.create": OPERATIONS["moderations.create"],
}


@pytest.mark.parametrize("operation", TEXTS)
def test_members_of_str_enums_are_recorded_by_their_values(client, operation, instrumented, arrived):
    """`class Model(str, Enum)`: the client sends the value; Python 3.11 formats such a member as `Model.FAST`."""
    resource: Any = client
    for name in operation.split("."):
        resource = getattr(resource, name, None)
    if resource is None:
        pytest.skip(f"openai {openai.__version__} has no {operation}")
    instrumented()
    asked = {**TEXTS[operation]}
    if operation.startswith("chat.") and "reasoning_effort" not in inspect.signature(resource).parameters:
        del asked["reasoning_effort"]
    resource(**asked)
    resource(**enumerated(asked))
    plain, members = [
        {name: value for name, value in span.attributes.items() if name != "gen_ai.response.id"} | {"name": span.name}
        for span in arrived()
        if "gen_ai.operation.name" in span.attributes
    ]
    assert members == plain


@pytest.mark.parametrize(
    ("client_has", "asked", "session"),
    [
        ({"default_headers": SESSION}, {}, "session-7"),
        ({"default_headers": SESSION}, {"extra_headers": {"x-session-id": "session-8"}}, "session-8"),
        ({"default_headers": SESSION}, {"extra_headers": {"x-other": "1"}}, "session-7"),
        ({"default_headers": SESSION}, {"extra_body": {"session_id": "session-9"}}, "session-9"),
        ({"default_headers": SESSION}, {"extra_headers": {"X-Session-Id": OMIT}}, None),
        ({"default_headers": {"x-session-id": ""}}, {}, None),
        ({"default_headers": {"x-other": "1"}}, {}, None),
        ({}, {}, None),
    ],
)
def test_the_session_is_the_header_that_goes_out(client, stand_in, instrumented, arrived, client_has, asked, session):
    instrumented()
    client.with_options(**client_has).chat.completions.create(model="m", messages=MESSAGES, **asked)
    in_body = asked.get("extra_body", {}).get("session_id")
    assert in_body or stand_in.requests[0].headers.get("x-session-id") in (session, session or "")
    assert arrived(1)[0].attributes.get("session.id") == session


def test_a_header_of_the_client_is_the_calls_own_and_wins_over_contexts(stand_in, instrumented, arrived):
    instrumented(trace_defaults={"session_id": "default"})
    with (
        openai.OpenAI(api_key="sk-test", base_url=stand_in.base_url, default_headers=SESSION) as client,
        trace_context(session_id="of-the-context"),
    ):
        client.chat.completions.create(model="m", messages=MESSAGES)
        client.chat.completions.create(model="m", messages=MESSAGES, extra_headers={"X-Session-Id": OMIT})
    sessions = [span.attributes["session.id"] for span in arrived() if "gen_ai.operation.name" in span.attributes]
    assert sessions == ["session-7", "of-the-context"]


ASKS = {"include_usage": True}
QUIET = {"include_obfuscation": False}


@pytest.mark.parametrize(
    ("asked", "sent", "seen"),
    [
        ({}, ASKS, False),
        ({"stream_options": None}, ASKS, False),
        ({"stream_options": OMIT}, ASKS, False),
        ({"stream_options": openai.NOT_GIVEN}, ASKS, False),
        ({"stream_options": QUIET}, {**QUIET, **ASKS}, False),
        ({"extra_body": {"stream_options": QUIET}}, {**QUIET, **ASKS}, False),
        ({"stream_options": ASKS}, ASKS, True),
        ({"extra_body": {"stream_options": ASKS}}, ASKS, True),
        ({"stream_options": OMIT, "extra_body": {"stream_options": ASKS}}, ASKS, True),
        ({"stream_options": {"include_usage": False}}, {"include_usage": False}, None),
        (
            {"stream_options": ASKS, "extra_body": {"stream_options": {"include_usage": False}}},
            {"include_usage": False},
            None,
        ),
        ({"extra_body": {"stream_options": None}}, None, None),
    ],
    ids=lambda value: repr(value).replace(repr(OMIT), "omit"),
)
def test_usage_is_asked_for_where_it_is_left_open_and_hidden_only_then(
    kind, stand_in, instrumented, arrived, asked, sent, seen
):
    """`seen`: whether the caller gets the chunk; None: the server is not asked for one."""
    chunks = [message("Words.")]
    given = repr(asked)
    stand_in.script(stream(*chunks, usage=None if seen is None else usage_of(3, 2)))
    instrumented(request_stream_usage=True)
    received = chat(kind, stand_in.base_url, stream=True, **asked)
    assert stand_in.requests[0].json.get("stream_options") == sent
    assert any(chunk.usage for chunk in received) is bool(seen)
    assert arrived(1)[0].attributes.get("gen_ai.usage.input_tokens") == (None if seen is None else 3)
    assert repr(asked) == given
