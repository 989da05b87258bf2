"""What of the content, the metadata and the user one destination gets, while another gets it all."""

from __future__ import annotations

import hashlib
import json

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination, trace_context
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.stand_in.answers import completion, error, message
from tests.support.operations import OPERATIONS

LINK = "https://files.example.com/a.png?signature=canary-signature"
ASKED = {
    "model": "gpt-4o-mini",
    "messages": [
        {"role": "system", "content": "canary-system"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": f"canary-prompt, see {LINK}"},
                {"type": "image_url", "image_url": {"url": LINK}},
            ],
        },
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": "canary-argument"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "canary-result"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "description": "canary-definition", "parameters": {}}}],
}
ANSWERED = message("canary-answer", reasoning="canary-reasoning", tool_calls=[("c2", "f", '{"y": "canary-made"}')])
ALL = {
    "canary-system",
    "canary-prompt",
    "canary-signature",
    "canary-argument",
    "canary-result",
    "canary-definition",
    "canary-answer",
    "canary-reasoning",
    "canary-made",
}
HIDDEN = {
    "inputs": {"canary-system", "canary-prompt", "canary-signature", "canary-argument", "canary-result"},
    "outputs": {"canary-answer", "canary-reasoning", "canary-made"},
    "system": {"canary-system"},
    "tools": {"canary-definition"},
    "tool_arguments": {"canary-argument", "canary-made"},
    "embeddings": set(),
    "images": set(),
    "urls": {"canary-signature"},
    "reasoning": {"canary-reasoning"},
}


@pytest.fixture
def sent(receiver):
    """Instrument with a destination that may have it all and one of the test's; return how to read what each was sent."""
    with OtlpReceiver() as other:

        def start(options=None, **mine):
            handle = llm_otel_broadcast.instrument(
                destinations=[
                    Destination(name="open", endpoint=receiver.endpoint),
                    Destination(name="mine", endpoint=other.endpoint, **mine),
                ],
                **(options or {}),
            )

            def read():
                assert handle.flush()
                (whole,), (span,) = receiver.store.spans(), other.store.spans()
                return whole, span

            return read

        yield start


def found(span):
    return {canary for canary in ALL if canary in repr(span)}


def content(span, name):
    return json.loads(span.attributes[name])


@pytest.mark.parametrize("part", HIDDEN)
def test_a_part_that_is_hidden_is_gone_and_the_rest_is_there(client, stand_in, sent, part):
    read = sent(hide={part})
    stand_in.script(completion(ANSWERED))
    client.chat.completions.create(**ASKED)
    whole, span = read()
    assert found(whole) == ALL
    assert found(span) == ALL - HIDDEN[part]
    contents = {name for name in whole.attributes if name.endswith((".messages", "_instructions", ".definitions"))}
    assert {name: span.attributes[name] for name in span.attributes if name not in contents} == {
        name: whole.attributes[name] for name in whole.attributes if name not in contents
    }


def test_hidden_images_are_no_part_any_longer(client, sent):
    read = sent(hide={"images"})
    client.chat.completions.create(**ASKED)
    _, span = read()
    (_, user, *_) = content(span, "gen_ai.input.messages")
    assert [part["type"] for part in user["parts"]] == ["text"]


def test_hidden_urls_leave_a_word_in_their_place(client, sent):
    read = sent(hide={"urls"})
    client.chat.completions.create(**ASKED)
    _, span = read()
    (_, user, *_) = content(span, "gen_ai.input.messages")
    assert user["parts"][0]["content"] == "canary-prompt, see [url]"
    assert user["parts"][1] == {"type": "uri", "modality": "image"}


def test_what_was_embedded_is_hidden_by_its_own_word(client, sent):
    read = sent(hide={"embeddings"})
    client.embeddings.create(**OPERATIONS["embeddings.create"])
    whole, span = read()
    assert "gen_ai.input.messages" in whole.attributes
    assert "gen_ai.input.messages" not in span.attributes


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("inputs", None),
        ("outputs", None),
        ("tool_arguments", None),
        ("urls", "canary-prompt at [url] is odd"),
        ("images", f"canary-prompt at {LINK} is odd"),
    ],
)
def test_an_errors_text_may_quote_what_is_hidden(client, stand_in, sent, part, text):
    read = sent(hide={part})
    stand_in.script(error(400, f"canary-prompt at {LINK} is odd"))
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(**ASKED)
    _, span = read()
    (event,) = span.events
    assert span.attributes["error.type"] == event.attributes["exception.type"] == "BadRequestError"
    said = event.attributes.get("exception.message")
    assert (said is None) is (text is None)
    assert text is None or text in said
    assert span.status_message == (said or "")


def test_each_text_passes_through_the_function_that_redacts(client, stand_in, sent):
    seen = []

    def redact(text):
        seen.append(text)
        return text.replace("canary", "***")

    read = sent(redact=redact)
    stand_in.script(completion(ANSWERED))
    client.chat.completions.create(**ASKED)
    whole, span = read()
    assert found(whole) == ALL
    assert found(span) == set()
    assert {"canary-system", "canary-argument", "canary-definition", "canary-reasoning"} <= set(seen)
    system, user, assistant, tool = content(span, "gen_ai.input.messages")
    assert (system["role"], system["parts"]) == ("system", [{"type": "text", "content": "***-system"}])
    assert assistant["parts"] == [{"type": "tool_call", "id": "c1", "name": "f", "arguments": {"x": "***-argument"}}]
    assert tool["parts"][0]["response"] == "***-result"
    assert user["parts"][0]["type"] == "text"


def test_an_errors_text_is_redacted_too(client, stand_in, sent):
    read = sent(redact=lambda text: text.replace("canary", "***"))
    stand_in.script(error(400, "canary-prompt is odd"))
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(**ASKED)
    whole, span = read()
    assert "canary-prompt is odd" in whole.status_message
    assert "***-prompt is odd" in span.status_message


@pytest.mark.parametrize(
    ("redact", "how"),
    [
        (lambda text: 1 / 0, "ZeroDivisionError"),
        (lambda _: None, "it returned NoneType, not text"),
        (len, "it returned int, not"),
    ],
)
def test_a_function_that_cannot_redact_costs_the_content_not_the_span(client, stand_in, sent, redact, how, caplog):
    read = sent(redact=redact)
    stand_in.script(completion(ANSWERED))
    client.chat.completions.create(**ASKED)
    whole, span = read()
    assert found(whole) == ALL
    assert found(span) == set()
    assert span.attributes["gen_ai.request.model"] == "gpt-4o-mini"
    assert llm_otel_broadcast.status().internal_errors == {'redact of destination "mine"': 1}
    (said,) = [record for record in caplog.records if record.name == "llm_otel_broadcast"]
    assert f'your redact of destination "mine" failed ({how}' in said.getMessage()
    assert "the content is left out" in said.getMessage()
    assert "canary" not in caplog.text


def test_a_function_that_redacts_may_call_a_model_itself_without_being_recorded(client, sent):
    def redact(text):
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "clean this"}])
        return "clean"

    read = sent(redact=redact)
    client.chat.completions.create(**ASKED)
    _, span = read()
    assert found(span) == set()


@pytest.mark.parametrize(
    ("lists", "kept"),
    [
        ({}, {"environment", "email", "email_hash", "team"}),
        ({"metadata_deny": ["email"]}, {"environment", "email_hash", "team"}),
        ({"metadata_deny": ["email*"]}, {"environment", "team"}),
        ({"metadata_allow": ["environment", "t*"]}, {"environment", "team"}),
        ({"metadata_allow": ["e*"], "metadata_deny": ["email"]}, {"environment", "email_hash"}),
        ({"metadata_allow": []}, set()),
    ],
)
def test_metadata_is_let_through_by_name(client, receiver, lists, kept):
    with OtlpReceiver() as other:
        handle = llm_otel_broadcast.instrument(
            destinations=[Destination(endpoint=receiver.endpoint), Destination(endpoint=other.endpoint, **lists)]
        )
        given = {"environment": "test", "email": "ann@x", "email_hash": "1", "team": "a"}
        with trace_context(trace_name="Work", **given):
            client.chat.completions.create(model="gpt-4o-mini", messages=[])
        assert handle.flush()
        for span in other.store.spans():
            mine = {
                name.removeprefix("trace.metadata.") for name in span.attributes if name.startswith("trace.metadata.")
            }
            assert mine == kept
        assert len(other.store.spans()) == 2
        assert all("trace.metadata.email" in span.attributes for span in receiver.store.spans())


def test_a_hashed_user_is_the_same_on_every_span_and_nowhere_plain(client, receiver):
    with OtlpReceiver() as other:
        handle = llm_otel_broadcast.instrument(
            destinations=[Destination(endpoint=receiver.endpoint), Destination(endpoint=other.endpoint, hash_user=True)]
        )
        with trace_context(trace_name="Work", user="ann@example.com"):
            client.chat.completions.create(model="gpt-4o-mini", messages=[])
        assert handle.flush()
        hashed = hashlib.sha256(b"ann@example.com").hexdigest()
        assert [span.attributes["user.id"] for span in other.store.spans()] == [hashed, hashed]
        assert [span.attributes["user.id"] for span in receiver.store.spans()] == 2 * ["ann@example.com"]
        assert b"ann@" not in b"".join(request.body for request in other.requests)


# -- towards more privacy only ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("around", "inner", "of_the_call", "default"),
    [
        (True, None, None, None),
        (True, False, None, None),
        (None, None, True, None),
        (True, None, False, None),
        (None, None, False, True),
        (False, True, False, None),
    ],
)
def test_privacy_once_asked_for_cannot_be_taken_back(client, receiver, around, inner, of_the_call, default):
    options = {} if default is None else {"trace_defaults": {"privacy": default}}
    with llm_otel_broadcast.instrument(endpoint=receiver.endpoint, **options) as handle:
        body = {} if of_the_call is None else {"extra_body": {"trace": {"privacy": of_the_call}}}
        with trace_context(privacy=around), trace_context(privacy=inner):
            client.chat.completions.create(**ASKED, **body)
        assert handle.flush()
    assert len(receiver.store.spans()) == 1
    assert b"canary" not in receiver.requests[0].body


def test_a_call_cannot_make_a_private_destination_less_private(client, sent):
    read = sent(privacy_mode=True)
    client.chat.completions.create(**ASKED, extra_body={"trace": {"privacy": False}})
    whole, span = read()
    assert found(whole)
    assert not found(span)


@pytest.mark.parametrize("part", ["system", "images", "reasoning", "tool_arguments", "urls"])
@pytest.mark.parametrize("odd", [["x"], {"x": 1}, 5])
def test_a_message_that_no_server_would_take_loses_no_record(client, sent, part, odd):
    """A role or a type may be anything: a caller's mistake, which the server answers."""
    messages = [{"role": odd, "content": [{"type": odd, "inner": {"type": odd}}]}, {"role": "user", "content": "Hi"}]
    read = sent(hide={part})
    client.chat.completions.create(model="m", messages=messages)
    _, span = read()
    assert json.loads(span.attributes["gen_ai.input.messages"])[-1]["parts"] == [{"type": "text", "content": "Hi"}]
