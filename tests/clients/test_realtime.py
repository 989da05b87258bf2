"""Each realtime response is one generation with its usage; audio is measured and dropped, transcripts are content."""

from __future__ import annotations

import json

import openai
import pytest

from tests.clients.socket_server import SocketServer, client_of, connect, converse, once
from tests.support.messages import parts_of

with openai.OpenAI(api_key="sk-test") as _client:
    APIS = [
        name
        for name, owner in (("realtime", _client), ("beta.realtime", _client.beta))
        if hasattr(getattr(owner, "realtime", None), "connect")
    ]
pytestmark = pytest.mark.skipif(not APIS, reason="the installed client has no realtime web sockets")

ASK = {"type": "response.create", "response": {"instructions": "Be brief.", "max_output_tokens": 50}}
SESSION = {
    "type": "session.created",
    "event_id": "event_1",
    "session": {
        "prompt": {"id": "pmpt_1", "version": "2"},
        "type": "realtime",
        "id": "sess_1",
        "model": "gpt-realtime-mini",
        "instructions": "Be kind.",
        "output_modalities": ["audio"],
        "tools": [{"type": "function", "name": "look_up", "parameters": {"type": "object"}}],
    },
}
USAGE = {
    "total_tokens": 130,
    "input_tokens": 100,
    "output_tokens": 30,
    "input_token_details": {
        "text_tokens": 40,
        "audio_tokens": 60,
        "cached_tokens": 24,
        "cached_tokens_details": {"text_tokens": 8, "audio_tokens": 16},
    },
    "output_token_details": {"text_tokens": 10, "audio_tokens": 20},
}
AUDIO = "QUJD" * 500


@pytest.fixture(params=APIS or [None])
def api(request):
    return request.param


def answer(*parts: dict, identity: str = "resp_1", items: tuple[dict, ...] = (), **members: object) -> list[dict]:
    """Return the events of one response that says these parts, in one message."""
    place = {"response_id": identity, "item_id": "item_1", "output_index": 0, "content_index": 0}
    said = {"id": "item_1", "object": "realtime.item", "type": "message", "role": "assistant", "status": "completed"}
    output = [*([{**said, "content": list(parts)}] if parts else []), *items]
    begun = {"object": "realtime.response", "id": identity, "conversation_id": "conv_1", "output": []}
    ended = {**begun, "status": "completed", "output": output, "usage": USAGE, **members}
    deltas = [
        {"type": f"response.output_{name}.delta", **place, "delta": value}
        for part in parts
        for name, value in (("audio_transcript", part.get("transcript")), ("text", part.get("text")))
        if value
    ]
    if any("transcript" in part for part in parts):
        deltas.append({"type": "response.output_audio.delta", **place, "delta": AUDIO})
    events = [
        {"type": "response.created", "response": {**begun, "status": "in_progress"}},
        *deltas,
        {"type": "response.done", "response": ended},
    ]
    return [{"event_id": f"event_{number}", **event} for number, event in enumerate(events)]


def spoken(text: str) -> dict:
    return {"type": "output_audio", "transcript": text}


def written(text: str) -> dict:
    return {"type": "output_text", "text": text}


def test_a_spoken_response_is_one_span_with_its_transcript(kind, api, receiver, instrumented, arrived):
    instrumented()
    with SocketServer(once(*answer(spoken("Hello there."))), greeting=[SESSION]) as server:
        converse(kind, server, api, ASK, model="gpt-realtime")
    (span,) = arrived(1)
    expected = {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.request.model": "gpt-realtime-mini",
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.tools.names": ["look_up"],
        "gen_ai.output.type": "speech",
        "gen_ai.response.id": "resp_1",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.conversation.id": "conv_1",
        "gen_ai.prompt.name": "pmpt_1",
        "gen_ai.prompt.version": "2",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 30,
        "gen_ai.usage.text.input_tokens": 40,
        "gen_ai.usage.audio.input_tokens": 60,
        "gen_ai.usage.audio.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 24,
        "gen_ai.usage.audio.cache_read.input_tokens": 16,
    }
    assert expected.items() <= span.attributes.items()
    assert "openai.api.type" not in span.attributes
    assert 0 < span.attributes["gen_ai.response.time_to_first_chunk"] <= span.duration_s
    assert json.loads(span.attributes["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be brief."}]
    assert parts_of(span) == [
        {"type": "text", "content": "Hello there."},
        {"type": "blob", "modality": "audio", "stripped": True, "bytes": 1_500},
    ]
    assert not [request for request in receiver.requests if b"QUJDQUJD" in request.body]


def test_without_a_session_the_model_is_the_one_in_the_url(kind, api, instrumented, arrived):
    instrumented()
    with SocketServer(once(*answer(written("Hi.")))) as server:
        converse(kind, server, api, ASK, model="gpt-realtime")
        assert "model=gpt-realtime" in server.paths[0]
    (span,) = arrived(1)
    assert span.name == "generate_content gpt-realtime"
    assert parts_of(span) == [{"type": "text", "content": "Hi."}]


def test_the_betas_event_names_are_understood(api, instrumented, arrived):
    place = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
    first, *_, last = answer()
    deltas = [
        {"type": "response.text.delta", **place, "delta": "Hi "},
        {"type": "response.audio_transcript.delta", **place, "delta": "there."},
        {"type": "response.audio.delta", **place, "delta": "QUJD"},
    ]
    instrumented()
    with SocketServer(once(first, *deltas, last)) as server:
        converse("sync", server, api, ASK, model="gpt-realtime")
    assert parts_of(arrived(1)[0]) == [
        {"type": "text", "content": "Hi there."},
        {"type": "blob", "modality": "audio", "stripped": True, "bytes": 3},
    ]


def test_what_was_said_to_the_model_since_the_last_response_is_its_input(kind, api, instrumented, arrived):
    def say(*parts: dict) -> dict:
        return {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": list(parts)}}

    answers = iter([answer(written("One.")), answer(written("Two."), identity="resp_2")])
    instrumented()
    with SocketServer(lambda event: next(answers) if event["type"] == "response.create" else ()) as server:
        converse(
            kind,
            server,
            api,
            say({"type": "input_text", "text": "first"}),
            ASK,
            say(
                {"type": "input_audio", "audio": AUDIO}, {"type": "input_audio", "audio": AUDIO, "transcript": "heard"}
            ),
            {
                "type": "conversation.item.create",
                "item": {"type": "function_call_output", "call_id": "c", "output": "42"},
            },
            ASK,
            model="gpt-realtime",
        )
    first, second = (json.loads(span.attributes["gen_ai.input.messages"]) for span in arrived(2))
    assert first == [{"role": "user", "parts": [{"type": "text", "content": "first"}]}]
    assert second == [
        {
            "role": "user",
            "parts": [
                {"type": "blob", "modality": "audio", "stripped": True, "bytes": 1_500},
                {"type": "text", "content": "heard"},
            ],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c", "response": "42"}]},
    ]


def test_a_response_that_the_server_begins_by_itself_is_recorded_with_what_it_heard(api, instrumented, arrived):
    """With voice detection nobody sends `response.create`; the transcript of the question comes during the answer."""
    first, *rest = answer(spoken("Hello there."))
    heard = {
        "type": "conversation.item.input_audio_transcription.completed",
        "event_id": "event_9",
        "item_id": "item_0",
        "content_index": 0,
        "transcript": "Who is there?",
    }
    instrumented()
    with (
        SocketServer(lambda _event: [SESSION, first, heard, *rest]) as server,
        client_of(server) as client,
        connect(client, api, model="gpt-realtime") as connection,
    ):
        connection.send({"type": "input_audio_buffer.append", "audio": AUDIO})
        while connection.recv().type != "response.done":
            pass
    (span,) = arrived(1)
    assert span.name == "generate_content gpt-realtime-mini"
    assert json.loads(span.attributes["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be kind."}]
    assert json.loads(span.attributes["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Who is there?"}]}
    ]


def test_functions_are_called_as_anywhere(kind, api, instrumented, arrived):
    call = {"id": "item_2", "type": "function_call", "call_id": "call_1", "name": "look_up", "arguments": '{"a": 1}'}
    instrumented()
    with SocketServer(once(*answer(items=(call,)))) as server:
        converse(kind, server, api, ASK, model="gpt-realtime")
    (span,) = arrived(1)
    assert span.attributes["gen_ai.response.finish_reasons"] == ["tool_calls"]
    assert parts_of(span) == [{"type": "tool_call", "id": "call_1", "name": "look_up", "arguments": {"a": 1}}]


@pytest.mark.parametrize(
    ("ending", "reasons", "problem"),
    [
        ({"status": "cancelled", "status_details": {"reason": "turn_detected"}}, ["cancelled"], None),
        ({"status": "incomplete", "status_details": {"reason": "max_output_tokens"}}, ["length"], None),
        (
            {"status": "failed", "status_details": {"error": {"type": "server_error", "code": "overloaded"}}},
            ["error"],
            "overloaded",
        ),
    ],
    ids=["cancelled", "incomplete", "failed"],
)
def test_a_response_ends_as_it_says(kind, api, instrumented, arrived, ending, reasons, problem):
    instrumented()
    with SocketServer(once(*answer(written("Hi."), **ending))) as server:
        converse(kind, server, api, ASK, model="gpt-realtime")
    (span,) = arrived(1)
    assert span.attributes["gen_ai.response.finish_reasons"] == reasons
    assert span.attributes.get("error.type") == problem
    assert span.status_code == (2 if problem else 0)


def refusal(**members: object) -> dict:
    error = {"type": "invalid_request_error", "code": "invalid_value", "message": "No.", **members}
    return {"type": "error", "event_id": "event_8", "error": error}


def test_an_error_that_names_a_request_ends_that_one(api, instrumented, arrived):
    instrumented()
    with (
        SocketServer(
            lambda event: [refusal(event_id="2"), *answer(written("Yes."))] if event["event_id"] == "2" else ()
        ) as server,
        client_of(server) as client,
        connect(client, api, model="gpt-realtime") as connection,
    ):
        connection.send({**ASK, "event_id": "1"})
        connection.send({**ASK, "event_id": "2"})
        while connection.recv().type != "response.done":
            pass
    first, second = sorted(arrived(2), key=lambda span: span.start_ns)
    assert (first.status_code, parts_of(first)) == (0, [{"type": "text", "content": "Yes."}])
    assert second.attributes["error.type"] == "invalid_value"


def test_an_error_that_names_nothing_ends_a_request_only_when_no_answer_comes(api, instrumented, arrived):
    """Most errors of a session are about something else, and the session goes on."""
    answers = iter([[refusal(), *answer(written("Yes."))], [refusal()]])
    instrumented()
    with (
        SocketServer(lambda event: next(answers, ()) if event["type"] == "response.create" else ()) as server,
        client_of(server) as client,
        connect(client, api, model="gpt-realtime") as connection,
    ):
        connection.send(ASK)
        while connection.recv().type != "response.done":
            pass
        connection.send(ASK)
        connection.recv()
    answered, unanswered = arrived(2)
    assert answered.status_code == 0
    assert unanswered.attributes["error.type"] == "invalid_value"


def test_responses_side_by_side_are_kept_apart(api, instrumented, arrived):
    one, two = answer(written("one")), answer(written("two"), identity="resp_2")
    instrumented()
    with (
        SocketServer(once(*(event for pair in zip(one, two, strict=True) for event in pair))) as server,
        client_of(server) as client,
        connect(client, api, model="gpt-realtime") as connection,
    ):
        connection.send(ASK)
        ended = 0
        while ended < 2:
            ended += connection.recv().type == "response.done"
    assert [parts_of(span)[0]["content"] for span in arrived(2)] == ["one", "two"]


def test_closing_in_the_middle_of_a_response_leaves_it_abandoned(api, instrumented, arrived):
    instrumented()
    with (
        SocketServer(once(*answer(spoken("Hello there."))[:2])) as server,
        client_of(server) as client,
        connect(client, api, model="gpt-realtime") as connection,
    ):
        connection.send(ASK)
        connection.recv()
        connection.recv()
    (span,) = arrived(1)
    assert span.attributes["error.type"] == "abandoned"
    assert parts_of(span) == [{"type": "text", "content": "Hello there."}]


def test_events_equal_those_of_an_unpatched_client(kind, api, instrumented):
    with SocketServer(lambda _event: answer(spoken("Hello there."))) as server:
        plain = converse(kind, server, api, ASK, model="gpt-realtime")
        instrumented()
        assert converse(kind, server, api, ASK, model="gpt-realtime") == plain
        assert server.seen[0] == server.seen[1]


@pytest.mark.parametrize("settings", [{"privacy_mode": True}, {"capture_content": False}])
def test_no_content_leaves_when_nobody_may_have_it(kind, api, receiver, instrumented, arrived, settings):
    secret = "the launch code is 0000"
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": secret}]}
    greeting = {**SESSION, "session": {**SESSION["session"], "instructions": secret}}
    instrumented(**settings)
    with SocketServer(once(*answer(spoken(secret))), greeting=[greeting]) as server:
        converse(kind, server, api, {"type": "conversation.item.create", "item": item}, ASK, model="gpt-realtime")
    arrived(1)
    assert not [request for request in receiver.requests if b"launch" in request.body]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.created"},
        {"type": "response.created", "response": {"id": []}},
        {"type": "response.done", "response_id": {}},
        {"type": "session.created", "session": "text"},
        {"type": "conversation.item.input_audio_transcription.completed", "transcript": 5},
        {"type": "error", "error": "text"},
        {"no": "type"},
    ],
    ids=lambda event: json.dumps(event)[:50],
)
def test_an_event_that_is_not_to_the_letter_breaks_nothing(api, instrumented, arrived, event):
    instrumented()
    with (
        SocketServer(once(event, *answer(written("Hi.")))) as server,
        client_of(server) as client,
        connect(client, api, model="gpt-realtime") as connection,
    ):
        connection.send(ASK)
        while getattr(connection.recv(), "type", None) != "response.done":
            pass
    arrived()
