"""The `openrouter` dialect where no real delivery shows it: privacy, forms of messages, errors, ids, attempts, what is cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import llm_otel_broadcast
from llm_otel_broadcast.clients.openai.messages import content_of
from llm_otel_broadcast.delivery.facts import content_for, facts_of
from llm_otel_broadcast.delivery.privacy import View
from llm_otel_broadcast.dialects.openrouter import OPENROUTER
from llm_otel_broadcast.record.content import FORM
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import Choice, Generation, ToolCall
from llm_otel_broadcast.stand_in.answers import completion, error, message, mid_stream_error, stream
from tests.dialects.openrouter_calls import MODEL, SERVICE, digest
from tests.dialects.test_toy_dialect import ANSWER, CONTENT, HIDDEN, REQUEST

NAMES = (
    "arguments",
    "cache_control",
    "call_id",
    "content",
    "function",
    "id",
    "image_url",
    "is_error",
    "name",
    "output",
    "parts",
    "reasoning",
    "reasoning_details",
    "refusal",
    "role",
    "text",
    "tool_call_id",
    "tool_calls",
    "truncated",
    "type",
)
"""Members of messages, and of their parts."""
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


def prompt_of(span):
    return json.loads(span.attributes["gen_ai.prompt"])["messages"]


def completion_of(span):
    return json.loads(span.attributes["gen_ai.completion"])


class TestPrivacy:
    """What a destination may not have is in no attribute."""

    @pytest.mark.parametrize("part", HIDDEN)
    @pytest.mark.parametrize("streamed", [False, True])
    def test_what_is_hidden_is_nowhere(self, sent, part, streamed):
        request = {name: value for name, value in REQUEST.items() if name != "model"}
        (span,) = sent(
            (stream if streamed else completion)(ANSWER), settings={"hide": {part}}, stream=streamed, **request
        )
        # Definitions of tools stand in the completion, which is not there without an answer.
        without_answer = {"canary-definition"} if part == "outputs" else set()
        texts = repr(span)
        assert {canary for canary in CONTENT if canary in texts} == CONTENT - HIDDEN[part] - without_answer

    def test_texts_are_redacted_wherever_they_stand(self, sent):
        request = {name: value for name, value in REQUEST.items() if name != "model"}
        settings = {"redact": lambda text: text.replace("canary", "*"), "hash_user": True}
        (span,) = sent(completion(ANSWER), settings=settings, **request)
        assert "canary" not in repr(span)

    def test_privacy_mode_leaves_both_texts_out_and_nothing_else(self, sent):
        request = {"user": "ann", "extra_body": {"session_id": "s", "trace": {"team": "red"}}}
        (open_span,) = sent(completion(message("Ho"), model=MODEL), **request)
        llm_otel_broadcast.shutdown(1)
        *_, private_span = sent(completion(message("Ho"), model=MODEL), settings={"privacy_mode": True}, **request)
        assert open_span.attributes.keys() - private_span.attributes.keys() == {
            "span.input",
            "span.output",
            "gen_ai.prompt",
            "gen_ai.completion",
        }

    def test_the_text_of_an_error_is_content(self, sent):
        (span,) = sent(error(400, "canary-error"), settings={"privacy_mode": True})
        assert (span.status_code, span.attributes["span.level"]) == (2, "ERROR")
        assert "canary-error" not in repr(span)

    def test_a_text_of_an_unknown_member_is_not_repeated(self, sent):
        """It may be anything: reasoning, for one, which a destination may hide."""
        told = {"role": "assistant", "content": "Ho", "thinking": "canary", "is_error": False}
        (span,) = sent(settings={"hide": {"reasoning"}}, messages=[told])
        assert prompt_of(span) == [{"role": "assistant", "content": "Ho", "is_error": False}]


class TestMessages:
    """Messages stand in the prompt as they were sent."""

    @pytest.mark.parametrize(
        "sent_message",
        [
            {"role": "user", "content": "Hi"},
            {"role": "user", "content": ""},
            {"content": "Hi", "role": "user"},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "user", "name": "ann", "content": "Hi"},
            {
                "role": "system",
                "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
            },
            {"role": "user", "content": "Hi", "cache_control": {"type": "ephemeral"}},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1, "y": [1, 2]}'}}
                ],
            },
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x":1,"y":[1,2]}'}}
                ],
            },
            {
                "role": "assistant",
                "content": "Wait.",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "no JSON"}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "21 C"},
            {"role": "tool", "content": [{"type": "text", "text": "21 C"}], "tool_call_id": "c1"},
            {
                "role": "tool",
                "tool_call_id": "c1",
                "is_error": True,
                "content": [
                    {"type": "text", "text": "21"},
                    {"type": "text", "text": "C", "cache_control": {"type": "ephemeral"}},
                ],
            },
            {"role": "assistant", "content": "Ho", "reasoning": "Hm."},
            {"role": "assistant", "reasoning_content": "Hm.", "content": "Ho"},
            {"role": "assistant", "content": None, "refusal": "No."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "See"},
                    {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
                ],
            },
        ],
        ids=json.dumps,
    )
    def test_a_message_is_repeated_as_it_was_sent(self, sent, sent_message):
        (span,) = sent(messages=[sent_message])
        (shown,) = prompt_of(span)
        assert list(shown.items()) == list(sent_message.items())

    def test_a_callers_own_member_is_not_taken_for_ours(self, sent):
        odd = {"type": "odd", "api_form": {"parts": ["x"]}, "text_form": 1}
        (span,) = sent(messages=[{"role": "user", "content": [odd, {"type": "text", "text": "Hi", "api_form": "x"}]}])
        assert [shown["content"] for shown in prompt_of(span)] == [
            [{"type": "odd", "text_form": 1}, {"type": "text", "text": "Hi"}]
        ]

    def test_media_are_described(self, sent):
        url = "data:image/png;base64,iVBORw0KGgo="
        (span,) = sent(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])
        ((part,),) = [shown["content"] for shown in prompt_of(span)]
        assert part == {"type": "blob", "modality": "image", "mime_type": "image/png", "stripped": True, "bytes": 8}

    def test_the_default_dialect_has_nothing_of_the_form(self, openrouter, instrumented, arrived):
        instrumented()
        part = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
        told = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"x": 1}'}}]}
        openrouter.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": [part]}, told])
        (span,) = arrived(1)
        assert json.loads(span.attributes["gen_ai.input.messages"]) == [
            {"role": "user", "parts": [{"type": "text", "content": "Hi"}]},
            {"role": "assistant", "parts": [{"type": "tool_call", "id": "c", "name": "f", "arguments": {"x": 1}}]},
        ]

    def test_items_of_the_responses_api_become_chat_messages(self, openrouter, instrumented, arrived):
        instrumented(dialect="openrouter")
        openrouter.responses.create(
            model=MODEL,
            instructions="Be brief.",
            input=[
                {"role": "user", "content": "Hi"},
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
                {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
                {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "21 C"},
            ],
        )
        (span,) = arrived(1)
        call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
        assert prompt_of(span) == [
            {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {
                "role": "assistant",
                "content": [],
                "reasoning": "Hm.",
                "tool_calls": [{"id": "c1", **call}, {"id": "c2", **call}],
            },
            {"role": "tool", "content": "21 C", "tool_call_id": "c1"},
        ]

    @pytest.mark.parametrize(("texts", "shown"), [("a", "a"), (["a"], "a"), (["a", "b"], ["a", "b"])])
    def test_what_is_embedded_is_an_input(self, openrouter, instrumented, arrived, texts, shown):
        instrumented(dialect="openrouter")
        openrouter.embeddings.create(model="openai/text-embedding-3-small", input=texts)
        (span,) = arrived(1)
        assert span.attributes["gen_ai.operation.name"] == "embeddings"
        assert json.loads(span.attributes["gen_ai.prompt"]) == {"input": shown}
        assert "gen_ai.completion" not in span.attributes

    def test_parts_and_tools_that_are_left_out_are_counted_where_they_stood(self, sent):
        history = [{"role": "user", "content": [{"type": "text", "text": str(number) * 90} for number in range(50)]}]
        tools = [
            {"type": "function", "function": {"name": f"f{number}", "description": "x" * 90}} for number in range(50)
        ]
        (span,) = sent(messages=history, tools=tools, options={"max_content_chars": 2_000})
        *texts, mark = prompt_of(span)[0]["content"]
        assert mark == {"openrouter_truncated": {"omitted_items": 50 - len(texts)}}
        *definitions, mark = json.loads(span.attributes["gen_ai.completion"])["rawRequest"]["tools"]
        assert mark == {"openrouter_truncated": {"omitted_items": 50 - len(definitions)}}

    def test_messages_that_are_left_out_are_counted_where_they_stood(self, sent):
        history = [{"role": "user", "content": str(number) * 400} for number in range(10)]
        (span,) = sent(messages=history, options={"max_content_chars": 2_000})
        first, marker, *newest = prompt_of(span)
        assert first == history[0]
        assert newest == history[-len(newest) :]
        assert marker == {"openrouter_truncated": {"omitted_items": 10 - 1 - len(newest)}}
        assert span.attributes["gen_ai.prompt.truncated"] is True
        assert span.attributes["span.input.truncated"] is True
        (event,) = span.events
        assert event.name == "openrouter.trace_truncated"
        assert list(event.attributes["keys"]) == ["span.input", "gen_ai.prompt"]


class TestCompletion:
    """The answer, and the request without its messages."""

    def test_tools_that_nobody_called_stand_in_the_request(self, sent):
        (span,) = sent(completion(message("Ho"), model=MODEL), tools=[TOOL])
        assert completion_of(span) == {
            "completion": "Ho",
            "reasoning": None,
            "toolCalls": [],
            "rawRequest": {"model": MODEL, "tools": [TOOL], "_skin": "chat-completions"},
        }

    @pytest.mark.parametrize("arguments", ['{"q": "a", "n": 1}', '{"q":"a","n":1}', "{}", "not JSON"])
    def test_tools_that_were_called_stand_beside_their_calls(self, sent, arguments):
        answer = completion(message(None, tool_calls=[("c1", "look_up", arguments)]), model=MODEL)
        (span,) = sent(answer, tools=[TOOL])
        made = completion_of(span)
        assert list(made) == ["completion", "reasoning", "toolCalls", "tools", "rawRequest"]
        function = {"name": "look_up", "arguments": arguments}
        assert made["toolCalls"] == [{"id": "c1", "index": 0, "type": "function", "function": function}]
        assert (made["completion"], made["tools"]) == ("", [TOOL])
        assert "tools" not in made["rawRequest"]

    def test_the_request_is_repeated_as_the_client_orders_it(self, sent):
        (span,) = sent(
            completion(message("Ho"), model=MODEL),
            temperature=0.5,
            max_tokens=8,
            seed=7,
            user="ann",
            extra_body={"session_id": "s", "trace": {"trace_name": "T", "team": "red", "tags": ["a"], "n": 2}},
        )
        request = completion_of(span)["rawRequest"]
        assert list(request) == ["model", "max_tokens", "seed", "temperature", "user", "session_id", "trace", "_skin"]
        assert request["trace"] == {"trace_name": "T", "team": "red", "tags": ["a"], "n": 2}

    def test_of_several_choices_the_first_is_the_completion(self, sent):
        (span,) = sent(completion(message("a"), message("b"), model=MODEL), n=2)
        assert completion_of(span)["completion"] == "a"
        assert span.attributes["gen_ai.response.finish_reasons"] == '["stop","stop"]'
        assert span.attributes["gen_ai.response.finish_reason"] == "stop"


class TestErrors:
    """A failed call has its request, and what had come."""

    def test_an_answer_that_broke_off_keeps_what_had_come(self, sent):
        (span,) = sent(mid_stream_error("Ho ho", "the provider is gone", model=MODEL), stream=True)
        assert (span.status_code, span.status_message) == (2, "the provider is gone")
        assert span.attributes["span.status_message"] == "the provider is gone"
        assert completion_of(span)["completion"] == "Ho ho"
        assert f"{SERVICE}finish_reason" not in span.attributes
        assert f"{SERVICE}provider_body_end_ms" not in span.attributes

    def test_the_providers_that_failed_are_attempts(self, sent):
        tried = [{"provider": "Azure", "status": 429}, {"provider": "OpenAI", "status": 502}]
        answer = error(502, "Provider returned error", headers={"X-Generation-Id": "gen-9"})
        body = json.loads(answer.body) | {"openrouter_metadata": {"attempts": tried}}
        spans = sent(
            type(answer)(502, json.dumps(body).encode(), headers=answer.headers), settings={"ids": "openrouter"}
        )
        root, *attempts = spans
        assert root.span_id == digest("gen-9", 16)
        assert root.attributes["gen_ai.response.id"] == "gen-9"
        assert json.loads(root.attributes["trace.metadata.provider_responses"]) == [
            {"provider_name": "Azure", "status": 429},
            {"provider_name": "OpenAI", "status": 502},
        ]
        assert [(span.span_id, span.status_code, span.attributes["span.level"]) for span in attempts] == [
            (digest("gen-9:attempt-0", 16), 2, "ERROR"),
            (digest("gen-9:attempt-1", 16), 2, "ERROR"),
        ]
        assert attempts[1].attributes == {
            "span.type": "span",
            "span.level": "ERROR",
            "span.metadata.attempt_index": 1,
            "span.metadata.status_code": 502,
            "gen_ai.response.id": "gen-9:attempt-1",
            f"{SERVICE}provider_name": "OpenAI",
        }


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_the_scope_states_no_version_in_any_encoding(sent, encoding):
    (span,) = sent(completion(message("Ho"), model=MODEL), settings={"encoding": encoding})
    assert (span.scope_name, span.scope_version) == ("openrouter", "")
    assert span.resource["service.name"] == "openrouter"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


# A slow machine is no fault of the dialect's.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    messages=st.lists(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6) | JSON, max_size=4),
    api=st.sampled_from(["chat_completions", "responses", None]),
    failed=st.booleans(),
    hidden=st.sets(st.sampled_from(sorted(HIDDEN))),
    max_chars=st.sampled_from([200, 1_000_000]),
)
def test_whatever_a_request_holds_the_texts_are_json(messages, api, failed, hidden, max_chars):
    record = Generation("chat", api)
    record.messages, record.wants_content = messages, True
    record.choices = [Choice(content="Ho", tool_calls=[ToolCall("c", "f", json.dumps(value)) for value in messages])]
    record.failure = Failure("error") if failed else None
    record.end()
    content = content_for(record, content_of(record), View(frozenset(hidden), None), max_chars, with_form=True)
    span = OPENROUTER.generation_span(facts_of(record, record.fields), content, None)
    for key in ("gen_ai.prompt", "gen_ai.completion"):
        if key in span.attributes:
            assert isinstance(json.loads(span.attributes[key]), dict)
            assert FORM not in span.attributes[key]
