"""Content goes where it may, and nowhere else; everything but content goes everywhere."""

from __future__ import annotations

import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.stand_in.answers import completion, message
from tests.support.client_calls import KINDS, chat

SECRET = "the launch code is 0000"
ASKED = [{"role": "user", "content": SECRET}]
TOOLS = [{"type": "function", "function": {"name": "look_up", "description": SECRET, "parameters": {}}}]


def test_a_private_destination_gets_no_content_while_the_other_does(stand_in, receiver):
    with OtlpReceiver() as private:
        handle = llm_otel_broadcast.instrument(
            destinations=[
                Destination(name="all", endpoint=receiver.endpoint),
                Destination(name="private", endpoint=private.endpoint, privacy_mode=True),
            ]
        )
        stand_in.script(completion(message(f"I know: {SECRET}")))
        chat("sync", stand_in.base_url, messages=ASKED, tools=TOOLS)
        assert handle.flush()
        assert SECRET in receiver.store.spans()[0].attributes["gen_ai.input.messages"]
        assert SECRET in receiver.store.spans()[0].attributes["gen_ai.output.messages"]
        assert not [request for request in private.requests if b"launch" in request.body]
        (span,) = private.store.spans()
        assert span.attributes["gen_ai.request.tools.names"] == ["look_up"]  # Privacy Mode keeps tool information


def test_a_private_span_keeps_everything_else(stand_in, instrumented, arrived):
    instrumented(privacy_mode=True)
    chat("sync", stand_in.base_url, user="u", extra_body={"session_id": "s", "trace": {"team": "red"}})
    attributes = arrived(1)[0].attributes
    expected = (
        "user.id",
        "session.id",
        "trace.metadata.team",
        "gen_ai.usage.total_tokens",
        "gen_ai.response.finish_reasons",
    )
    assert [key for key in expected if key not in attributes] == []


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "settings",
    [{"privacy_mode": True}, {"capture_content": False}],
    ids=["privacy_mode", "capture_content"],
)
def test_no_content_leaves_when_nobody_may_have_it(stand_in, receiver, instrumented, arrived, settings, kind, streamed):
    instrumented(**settings)
    chat(kind, stand_in.base_url, messages=ASKED, tools=TOOLS, stream=streamed)
    arrived(1)
    assert not [request for request in receiver.requests if b"launch" in request.body or b"How can I" in request.body]


@pytest.mark.parametrize("value", [True, "true", "yes", 1, "who knows"])
def test_a_call_marked_private_is_private_everywhere(stand_in, receiver, instrumented, arrived, value):
    instrumented()
    chat("sync", stand_in.base_url, messages=ASKED, extra_body={"trace": {"privacy": value}})
    assert "trace.metadata.privacy" not in arrived(1)[0].attributes
    assert not [request for request in receiver.requests if b"launch" in request.body]


def test_a_raw_response_of_a_private_call_carries_no_content(client, receiver, instrumented, arrived):
    instrumented(privacy_mode=True)
    client.chat.completions.with_raw_response.create(model="gpt-4o", messages=ASKED)
    arrived(1)
    assert not [request for request in receiver.requests if b"launch" in request.body or b"How can I" in request.body]


def test_api_keys_and_headers_are_never_recorded(stand_in, receiver, instrumented, arrived):
    instrumented(headers={"Authorization": "Bearer destination-secret"})
    chat("sync", stand_in.base_url, extra_headers={"X-Secret": "header-secret"}, extra_query={"key": "query-secret"})
    arrived(1)
    for secret in (b"sk-test", b"header-secret", b"query-secret", b"destination-secret"):
        assert not [request for request in receiver.requests if secret in request.body]
    assert "destination-secret" not in repr(llm_otel_broadcast.status())
