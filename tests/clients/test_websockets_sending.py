"""Responses asked for on a web socket in other ways than its `send`: through a session's lanes, and before it is open."""

from __future__ import annotations

import asyncio
import json
import traceback

import openai
import pytest

import llm_otel_broadcast
from tests.clients.socket_server import SocketServer, async_client_of, client_of, connect
from tests.support.stand_in import responses

try:
    from openai.lib.responses_websocket import (
        AsyncResponsesWebSocketLane,
        AsyncResponsesWebSocketSession,
        ResponsesWebSocketLane,
        ResponsesWebSocketLimits,
        ResponsesWebSocketSession,
    )
except ImportError:
    ResponsesWebSocketSession = None
needs_sessions = pytest.mark.skipif(ResponsesWebSocketSession is None, reason="the installed client has no sessions")
ASK = {"type": "response.create", "model": "gpt-4o", "input": "Hello!", "instructions": "Be brief."}
STORY = "Once upon a time there was a trace."


def tell(asked):
    """Return the events of one response, in the lane that it was asked for in."""
    lane = {"stream_id": asked["stream_id"]} if asked.get("stream_id") else {}
    text = asked["input"] if asked.get("stream_id") else STORY
    identity = f"resp_{asked.get('stream_id', 'default')}"
    whole = responses.response(responses.text(text), id=identity, usage=responses.spent(9, 8))
    return [{**event, **lane} for event in responses.events(whole)]


def limits():
    most = {"max_lanes": 4, "max_events_per_lane": 64, "max_events": 64, "max_bytes_per_lane": 1 << 20}
    return ResponsesWebSocketLimits(**most, max_bytes=1 << 20, max_response_bytes=None)


def through_lanes(kind, server, *asked):
    """Ask each event in a lane of its own, all before the first answer is read; return the answers."""
    if kind == "sync":
        with (
            client_of(server) as client,
            client.responses.connect() as connection,
            ResponsesWebSocketSession(connection, limits=limits()) as session,
        ):
            lanes = [session.lane(f"lane-{number}") for number in range(len(asked))]
            for lane, event in zip(lanes, asked, strict=True):
                lane.send(event)
            return [lane.get_final_response(timeout=10) for lane in lanes]

    async def talk():
        async with (
            async_client_of(server) as client,
            client.responses.connect() as connection,
            AsyncResponsesWebSocketSession(connection, limits=limits()) as session,
        ):
            lanes = [session.lane(f"lane-{number}") for number in range(len(asked))]
            for lane, event in zip(lanes, asked, strict=True):
                await lane.send(event)
            return [await asyncio.wait_for(lane.get_final_response(), 10) for lane in lanes]

    return asyncio.run(talk())


def assert_whole(span, asked):
    assert span.name == "chat gpt-4o"
    assert span.attributes["gen_ai.request.model"] == "gpt-4o"
    assert asked in span.attributes["gen_ai.input.messages"]
    assert "Be brief." in span.attributes["gen_ai.system_instructions"]
    assert span.attributes["gen_ai.usage.input_tokens"] == 9
    assert 0 < span.attributes["gen_ai.response.time_to_first_chunk"] <= span.duration_s


@needs_sessions
def test_responses_side_by_side_in_lanes_are_recorded_each_with_its_own_request(kind, instrumented, arrived):
    instrumented()
    with SocketServer(tell) as server:
        answers = through_lanes(kind, server, {**ASK, "input": "First."}, {**ASK, "input": "Second."})
    assert [answer.output[0].content[0].text for answer in answers] == ["First.", "Second."]
    spans = sorted(arrived(2), key=lambda span: "Second." in span.attributes["gen_ai.input.messages"])
    for span, asked in zip(spans, ("First.", "Second."), strict=True):
        assert_whole(span, asked)
        assert asked in span.attributes["gen_ai.output.messages"]


@needs_sessions
def test_a_lane_sends_what_it_sends_without_us(kind, instrumented):
    own = [vars(made)["send"] for made in (ResponsesWebSocketLane, AsyncResponsesWebSocketLane)]
    with SocketServer(tell) as server:
        through_lanes(kind, server, ASK)
        instrumented()
        through_lanes(kind, server, ASK)
        llm_otel_broadcast.uninstrument()
        through_lanes(kind, server, ASK)
    plain, traced, after = server.seen
    assert traced == plain == after
    assert own == [vars(made)["send"] for made in (ResponsesWebSocketLane, AsyncResponsesWebSocketLane)]


@needs_sessions
def test_what_a_lane_refuses_to_send_ends_its_span_and_leaves_as_it_would(instrumented, arrived):
    def refuse(server):
        with (
            client_of(server) as client,
            client.responses.connect() as connection,
            ResponsesWebSocketSession(connection, limits=limits()) as session,
        ):
            lane = session.lane("one")
            lane.close()
            with pytest.raises(RuntimeError) as refused:
                lane.send(ASK)
        return [(frame.filename, frame.name) for frame in traceback.extract_tb(refused.value.__traceback__)]

    with SocketServer(tell) as server:
        plain = refuse(server)
        instrumented()
        assert refuse(server) == plain
    assert arrived(1)[0].attributes["error.type"] == "RuntimeError"


def queued(kind, server, api, *events, **asked):
    """Send events before the connection is open; return what comes until the end of the first response."""
    last = ("response.completed", "response.done")
    if kind == "sync":
        with client_of(server) as client:
            manager = connect(client, api, **asked)
            if not hasattr(manager, "send"):
                pytest.skip("the installed client keeps no events for a connection that is not open")
            for event in events:
                manager.send(event)
            with manager as connection:
                while (received := connection.recv()).type not in last:
                    pass
                return received

    async def talk():
        async with async_client_of(server) as client:
            manager = connect(client, api, **asked)
            if not hasattr(manager, "send"):
                pytest.skip("the installed client keeps no events for a connection that is not open")
            for event in events:
                manager.send(event)
            async with manager as connection:
                while (received := await connection.recv()).type not in last:
                    pass
                return received

    return asyncio.run(talk())


def with_api(api):
    """Skip where the installed client lacks an API."""
    with openai.OpenAI(api_key="sk-test") as client:
        resource = client
        for name in api.split("."):
            resource = getattr(resource, name, None)
    if not hasattr(resource, "connect"):
        pytest.skip(f"the installed client has no web sockets for {api}")


@pytest.mark.parametrize("api", ["responses", "beta.responses"])
def test_a_response_asked_for_before_the_connection_opens_is_recorded_whole(kind, api, instrumented, arrived):
    with_api(api)
    instrumented()
    with SocketServer(tell) as server:
        queued(kind, server, api, ASK)
    assert_whole(arrived(1)[0], "Hello!")


def test_what_was_said_to_a_realtime_model_before_the_connection_opens_is_its_input(kind, instrumented, arrived):
    with_api("realtime")
    instrumented()

    def answer(event):
        if event["type"] != "response.create":
            return ()
        made = {"id": "resp_1", "object": "realtime.response", "status": "in_progress", "output": []}
        return (
            {"type": "response.created", "event_id": "1", "response": made},
            {"type": "response.done", "event_id": "2", "response": {**made, "status": "completed"}},
        )

    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Good morning"}]}
    with SocketServer(answer) as server:
        events = ({"type": "conversation.item.create", "item": item}, {"type": "response.create"})
        queued(kind, server, "realtime", *events, model="gpt-realtime")
    (span,) = arrived(1)
    assert span.attributes["gen_ai.request.model"] == "gpt-realtime"
    (heard,) = json.loads(span.attributes["gen_ai.input.messages"])
    assert heard["parts"] == [{"type": "text", "content": "Good morning"}]
