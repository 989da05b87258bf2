"""What is in the bytes: canaries in all that a call says, and two destinations of which one is private."""

from __future__ import annotations

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.stand_in.answers import completion, error, message, mid_stream_error, stream
from tests.support.client_calls import KINDS, chat

ASKED = {
    "messages": [
        {"role": "system", "content": "canary-system"},
        {"role": "user", "content": [{"type": "text", "text": "canary-prompt"}]},
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"x": "canary-earlier-argument"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "canary-tool-result"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "f", "description": "canary-definition", "parameters": {}}},
    ],
}
ANSWERED = message(
    "canary-answer", reasoning="canary-reasoning", tool_calls=[("c2", "f", '{"y": "canary-tool-argument"}')]
)
IN_THE_REQUEST = {
    "canary-system",
    "canary-prompt",
    "canary-earlier-argument",
    "canary-tool-result",
    "canary-definition",
}
IN_THE_ANSWER = {"canary-answer", "canary-reasoning", "canary-tool-argument"}


@pytest.fixture(params=["json", "protobuf"])
def bodies(request, receiver):
    """Two destinations, one of them private; calling it flushes and returns the bytes that each was sent."""
    with OtlpReceiver() as private:
        handle = llm_otel_broadcast.instrument(
            destinations=[
                Destination(name="open", endpoint=receiver.endpoint, encoding=request.param),
                Destination(name="private", endpoint=private.endpoint, encoding=request.param, privacy_mode=True),
            ]
        )

        def read():
            assert handle.flush()
            assert len(private.store.spans()) == len(receiver.store.spans()) > 0
            return tuple(b"".join(each.body for each in one.requests).decode("latin-1") for one in (receiver, private))

        yield read


def found(text, canaries):
    return {canary for canary in canaries if canary in text}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_in_a_call(stand_in, bodies, kind, streamed):
    stand_in.script((stream if streamed else completion)(ANSWERED))
    chat(kind, stand_in.base_url, stream=streamed, **ASKED)
    said, private = bodies()
    assert found(said, IN_THE_REQUEST | IN_THE_ANSWER) == IN_THE_REQUEST | IN_THE_ANSWER
    assert "canary" not in private


def test_what_an_api_says_when_it_refuses(stand_in, bodies):
    """Error texts quote prompts."""
    stand_in.script(error(400, "cannot answer canary-error", code="bad"))
    with pytest.raises(openai.BadRequestError):
        chat("sync", stand_in.base_url, **ASKED)
    said, private = bodies()
    assert found(said, {*IN_THE_REQUEST, "canary-error"}) == {*IN_THE_REQUEST, "canary-error"}
    assert "canary" not in private
    assert "BadRequestError" in private


def test_what_a_stream_says_when_it_breaks(stand_in, bodies):
    stand_in.script(mid_stream_error("canary-half", "canary-error"))
    with pytest.raises(openai.APIError):
        chat("sync", stand_in.base_url, model="openai/gpt-4o", stream=True, **ASKED)
    said, private = bodies()
    assert found(said, {"canary-half", "canary-error"}) == {"canary-half", "canary-error"}
    assert "canary" not in private


def test_a_private_call_among_others_is_private_to_both(stand_in, bodies):
    chat("sync", stand_in.base_url, extra_body={"trace": {"privacy": True, "trace_name": "Root"}}, **ASKED)
    chat("sync", stand_in.base_url, extra_body={"trace": {"trace_name": "Root"}})
    said, private = bodies()
    assert "canary" not in said + private
    assert "Hello!" in said
    assert "Hello!" not in private
