"""Each response on a web socket of the responses API is one generation, and the program's events stay its own."""

from __future__ import annotations

import asyncio
import inspect
import json

import openai
import pytest
from opentelemetry.sdk.trace import TracerProvider

import llm_otel_broadcast
from llm_otel_broadcast.host import guard
from tests.clients.socket_server import (
    CLOSE,
    CUT,
    SocketServer,
    async_client_of,
    client_of,
    converse,
    once,
)
from tests.support.garbage import collect
from tests.support.messages import parts_of
from tests.support.stand_in import responses

with openai.OpenAI(api_key="sk-test") as _client:
    pytestmark = pytest.mark.skipif(
        not hasattr(getattr(_client, "responses", None), "connect"),
        reason="the installed client has no web sockets for the responses API",
    )

ASK = {"type": "response.create", "model": "gpt-4o", "input": "Hello!", "instructions": "Be brief.", "temperature": 0.5}
STORY = "Once upon a time there was a trace."


def tell(*items: dict, **members: object) -> list[dict]:
    """Return the events of one response."""
    made = items or (responses.text(STORY),)
    return list(responses.events(responses.response(*made, **{"usage": responses.spent(9, 8), **members})))


def test_each_response_is_one_span(kind, instrumented, arrived):
    instrumented()
    with SocketServer(lambda _event: tell()) as server:
        converse(kind, server, "responses", ASK, {**ASK, "input": "Again.", "previous_response_id": "resp_1"})
        port = int(server.url.rpartition(":")[2].removesuffix("/v1"))
    first, second = arrived(2)
    expected = {
        "gen_ai.operation.name": "chat",
        "openai.api.type": "responses",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.status": "completed",
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 8,
        "server.address": "127.0.0.1",
        "server.port": port,
    }
    assert expected.items() <= first.attributes.items()
    assert first.name == "chat gpt-4o"
    assert 0 < first.attributes["gen_ai.response.time_to_first_chunk"] <= first.duration_s
    assert json.loads(first.attributes["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be brief."}]
    assert "Hello!" in first.attributes["gen_ai.input.messages"]
    assert parts_of(first) == [{"type": "text", "content": STORY}]
    assert second.attributes["gen_ai.request.previous_response.id"] == "resp_1"
    assert "Again." in second.attributes["gen_ai.input.messages"]
    assert first.trace_id != second.trace_id


def test_events_and_requests_equal_those_of_an_unpatched_client(kind, instrumented):
    document = responses.response(responses.text(STORY), usage=responses.spent(9, 8))
    with SocketServer(lambda _event: list(responses.events(document))) as server:
        plain = converse(kind, server, "responses", ASK)
        instrumented()
        assert converse(kind, server, "responses", ASK) == plain
        assert server.seen[0] == server.seen[1]
        assert server.paths[0] == server.paths[1]


def test_the_connection_stays_what_it_was(instrumented):
    def facts(connection) -> list:
        names = ("send", "recv", "recv_bytes", "parse_event", "close")
        methods = [getattr(connection, name) for name in names]
        return [type(connection), *((inspect.signature(made), inspect.iscoroutinefunction(made)) for made in methods)]

    with (
        SocketServer(lambda _event: tell()) as server,
        client_of(server) as client,
        client.responses.connect() as connection,
    ):
        plain = facts(connection)
        instrumented()
        with client.responses.connect() as watched:
            assert facts(watched) == plain


def test_a_response_that_failed_is_an_error(kind, instrumented, arrived):
    instrumented()
    problem = {"code": "server_error", "message": "The model broke."}
    with SocketServer(lambda _event: tell(status="failed", error=problem)) as server:
        converse(kind, server, "responses", ASK)
    (span,) = arrived(1)
    assert (span.status_code, span.attributes["error.type"]) == (2, "server_error")


def test_an_error_that_refuses_a_request_ends_its_span_and_no_other(kind, instrumented, arrived):
    problem = {
        "type": "error",
        "status": 400,
        "error": {"type": "invalid_request_error", "code": "x", "message": "No."},
    }
    answers = iter([[problem], tell()])
    instrumented()
    with SocketServer(lambda _event: next(answers)) as server:
        converse(kind, server, "responses", ASK, ASK)
    refused, answered = arrived(2)
    assert (refused.status_code, refused.attributes["error.type"]) == (2, "x")
    assert answered.status_code == 0


def test_an_error_in_the_middle_ends_the_response_with_what_was_said(kind, instrumented, arrived):
    problem = {"type": "error", "sequence_number": 9, "code": "server_error", "message": "Sorry."}
    instrumented()
    with SocketServer(once(*tell()[:6], problem)) as server:
        converse(kind, server, "responses", ASK)
    (span,) = arrived(1)
    assert span.attributes["error.type"] == "server_error"
    assert parts_of(span)[0]["content"].startswith("Once")


@pytest.mark.parametrize("numbered", [True, False])
def test_an_error_while_another_request_waits_is_told_from_its_refusal(instrumented, arrived, numbered):
    """What is numbered belongs to the events of the response under way; else it refuses the request that waits."""
    first, second = tell(), tell()
    problem = {
        "type": "error",
        "error": {"type": "x", "message": "No."},
        **({"sequence_number": 9} if numbered else {}),
    }
    answers = iter([first[:6], [problem, *(second if numbered else first[6:])]])
    instrumented()
    with (
        SocketServer(lambda _event: next(answers)) as server,
        client_of(server) as client,
        client.responses.connect() as connection,
    ):
        connection.send(ASK)
        connection.recv()
        connection.send(ASK)
        while connection.recv().type != "response.completed":
            pass
    spans = sorted(arrived(2), key=lambda span: span.start_ns)
    assert [span.attributes.get("error.type") for span in spans] == (["x", None] if numbered else [None, "x"])


def test_closing_in_the_middle_of_a_response_leaves_it_abandoned(kind, instrumented, arrived):
    instrumented()
    with SocketServer(once(*tell()[:6])) as server:
        if kind == "sync":
            with client_of(server) as client, client.responses.connect() as connection:
                connection.send(ASK)
                for _ in range(6):
                    connection.recv()
        else:

            async def leave() -> None:
                async with async_client_of(server) as client, client.responses.connect() as connection:
                    await connection.send(ASK)
                    for _ in range(6):
                        await connection.recv()

            asyncio.run(leave())
    (span,) = arrived(1)
    assert span.attributes["error.type"] == "abandoned"
    assert parts_of(span)[0]["content"].startswith("Once")


@pytest.mark.parametrize(("ending", "expected"), [(CUT, "ConnectionClosedError"), (CLOSE, "abandoned")])
def test_a_connection_that_ends_in_the_middle_of_a_response_ends_it(kind, instrumented, arrived, ending, expected):
    from websockets.exceptions import ConnectionClosed

    instrumented()
    with SocketServer(once(*tell()[:6], ending)) as server, pytest.raises(ConnectionClosed):
        converse(kind, server, "responses", ASK)
    (span,) = arrived(1)
    assert span.attributes["error.type"] == expected


def test_a_connection_that_is_dropped_ends_its_responses(instrumented, arrived):
    instrumented()
    with SocketServer(once(*tell()[:6])) as server, client_of(server) as client:
        connection = client.responses.connect().enter()
        connection.send(ASK)
        connection.recv()
        underneath = connection._connection
        del connection
        collect()
        underneath.close()
    assert arrived(1)[0].attributes["error.type"] == "abandoned"


def test_a_connection_can_be_entered_without_a_block(kind, instrumented, arrived):
    instrumented()
    with SocketServer(lambda _event: tell()) as server:
        if kind == "sync":
            with client_of(server) as client:
                connection = client.responses.connect().enter()
                connection.send(ASK)
                while connection.recv().type != "response.completed":
                    pass
                connection.close()
        else:

            async def talk() -> None:
                async with async_client_of(server) as client:
                    connection = await client.responses.connect().enter()
                    await connection.send(ASK)
                    while (await connection.recv()).type != "response.completed":
                        pass
                    await connection.close()

            asyncio.run(talk())
    arrived(1)


def test_iterating_and_handlers_are_seen_alike(instrumented, arrived):
    instrumented()
    heard = []
    with (
        SocketServer(once(*tell(), CLOSE)) as server,
        client_of(server) as client,
        client.responses.connect() as connection,
    ):
        connection.on("response.completed", heard.append)
        connection.response.create(model="gpt-4o", input="Hello!")
        connection.dispatch_events()
    assert len(heard) == 1
    assert arrived(1)[0].attributes["gen_ai.request.model"] == "gpt-4o"


def test_bytes_that_the_caller_has_parsed_are_seen(instrumented, arrived):
    instrumented()
    with SocketServer(once(*tell())) as server, client_of(server) as client, client.responses.connect() as connection:
        connection.send(ASK)
        while connection.parse_event(connection.recv_bytes()).type != "response.completed":
            pass
    arrived(1)


def test_a_response_asked_for_in_raw_text_is_recorded_from_its_beginning(instrumented, arrived):
    instrumented()
    with SocketServer(once(*tell())) as server, client_of(server) as client, client.responses.connect() as connection:
        connection.send_raw(json.dumps(ASK))
        while connection.recv().type != "response.completed":
            pass
    (span,) = arrived(1)
    assert span.name == "chat"
    assert span.attributes["gen_ai.usage.output_tokens"] == 8


def test_responses_in_lanes_are_kept_apart(kind, instrumented, arrived):
    def answer(event: dict) -> list[dict]:
        if event["stream_id"] == "one":
            return []
        one = [{**told, "stream_id": "one"} for told in tell(responses.text("one one one"))]
        two = [{**told, "stream_id": "two"} for told in tell(responses.text("two two two"))]
        return [told for pair in zip(two, one, strict=True) for told in pair]

    asked = [{**ASK, "input": lane, "stream_id": lane} for lane in ("one", "two")]
    instrumented()
    with SocketServer(answer) as server, client_of(server) as client, client.responses.connect() as connection:
        for event in asked:
            connection.send(event)
        ended = 0
        while ended < 2:
            ended += connection.recv().type == "response.completed"
    spans = sorted(arrived(2), key=lambda span: span.start_ns)
    assert [parts_of(span)[0]["content"] for span in spans] == ["one one one", "two two two"]
    assert all(
        span.attributes["gen_ai.input.messages"].count(lane) for span, lane in zip(spans, ("one", "two"), strict=True)
    )
    assert [span.status_code for span in spans] == [0, 0]


@pytest.mark.parametrize("identity", ["resp_1", None])
def test_a_response_that_another_takes_the_place_of_is_not_lost(instrumented, arrived, identity):
    """A server that breaks off one and begins another under the same name, or under none."""
    events = tell(id=identity)
    instrumented()
    with SocketServer(once(events[0], *events)) as server:
        converse("sync", server, "responses", ASK)
    left, ended = arrived(2)
    assert left.attributes["error.type"] == "abandoned"
    assert ended.status_code == 0


def test_a_span_hangs_below_the_one_that_was_current_when_it_was_asked_for(instrumented, arrived):
    tracer = TracerProvider().get_tracer("app")
    instrumented(app_spans=False)
    with SocketServer(once(*tell())) as server, client_of(server) as client, client.responses.connect() as connection:
        with tracer.start_as_current_span("mine") as mine:
            connection.send(ASK)
        while connection.recv().type != "response.completed":
            pass
    (span,) = arrived(1)
    assert span.parent_span_id == f"{mine.get_span_context().span_id:016x}"


def test_the_session_is_that_of_the_connections_headers(kind, instrumented, arrived):
    instrumented()
    with SocketServer(lambda _event: tell()) as server:
        headers = {"x-session-id": "s", "X-Secret": "header-secret"}
        converse(kind, server, "responses", {**ASK, "user": "u"}, extra_headers=headers)
    (span,) = arrived(1)
    assert span.attributes["session.id"] == "s"
    assert span.attributes["user.id"] == "u"
    assert "header-secret" not in repr(span)


@pytest.mark.parametrize("settings", [{"privacy_mode": True}, {"capture_content": False}])
def test_no_content_leaves_when_nobody_may_have_it(kind, receiver, instrumented, arrived, settings):
    secret = "the launch code is 0000"
    instrumented(**settings)
    with SocketServer(lambda _event: tell(responses.reasoning(secret), responses.text(secret))) as server:
        converse(kind, server, "responses", {**ASK, "input": secret, "instructions": secret})
    arrived(1)
    assert not [request for request in receiver.requests if b"launch" in request.body]


def test_an_error_of_ours_reaches_nobody(kind, instrumented, monkeypatch):
    from llm_otel_broadcast.clients.openai.sockets.turns import Turns

    def broken(*_args):
        raise RuntimeError("broken")

    monkeypatch.setattr(guard, "raise_again", False)
    for name in ("read_sent", "read_received", "close", "fail_sending"):
        monkeypatch.setattr(Turns, name, broken)
    handle = instrumented()
    with SocketServer(lambda _event: tell()) as server:
        assert converse(kind, server, "responses", ASK)[-1].type == "response.completed"
    assert sum(handle.status().internal_errors.values()) >= 3


def test_a_request_that_cannot_be_sent_is_an_error_with_the_clients_own_exception(kind, instrumented, arrived):
    def refused() -> str:
        with SocketServer(lambda _event: tell()) as server, pytest.raises(TypeError) as raised:
            converse(kind, server, "responses", {**ASK, "metadata": {"key": object()}})
        return str(raised.value)

    plain = refused()
    instrumented()
    assert refused() == plain
    assert arrived(1)[0].attributes["error.type"] == "TypeError"


def test_uninstrument_restores_the_classes_and_open_connections_record_no_more(instrumented, arrived):
    from openai.resources.responses.responses import (
        AsyncResponses,
        AsyncResponsesConnectionManager,
        Responses,
        ResponsesConnectionManager,
    )

    owners = (Responses, AsyncResponses, ResponsesConnectionManager, AsyncResponsesConnectionManager)
    before = [dict(vars(owner)) for owner in owners]
    instrumented()
    with (
        SocketServer(lambda _event: tell()) as server,
        client_of(server) as client,
        client.responses.connect() as connection,
    ):
        llm_otel_broadcast.uninstrument()
        connection.send(ASK)
        while connection.recv().type != "response.completed":
            pass
    for owner, known in zip(owners, before, strict=True):
        assert all(vars(owner)[name] is value for name, value in known.items())
    arrived(0)


def test_the_beta_of_the_responses_api_is_recorded_where_the_client_has_it(kind, instrumented, arrived):
    with openai.OpenAI(api_key="sk-test") as client:
        if not hasattr(client.beta, "responses"):
            pytest.skip("the installed client has no such beta")
    instrumented()
    with SocketServer(lambda _event: tell()) as server:
        converse(kind, server, "beta.responses", ASK)
    arrived(1)
