"""Each recorded realtime session, message by message over a real web socket: a span for each answer, with its facts."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import suppress
from typing import Any

import openai
import pytest
import websockets
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llm_otel_broadcast import Destination, instrument
from tests.replay.exchanges import sessions
from tests.replay.observed import messages

SESSIONS = sessions()
pytestmark = pytest.mark.skipif(not hasattr(openai.OpenAI, "realtime"), reason="this version has no realtime API")


async def converse(session: dict[str, Any]) -> list[Any]:
    """Play both sides of a session, and return what the client received."""

    async def serve(socket: Any) -> None:
        for direction, message in session["messages"]:
            if direction == "sent":
                await socket.recv()
            else:
                await socket.send(json.dumps(message))
        # Until the client closes.
        with suppress(websockets.ConnectionClosed):
            await socket.recv()

    async with websockets.serve(serve, "127.0.0.1", 0, max_size=None) as server:
        url = f"127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        client = openai.AsyncOpenAI(api_key="key", base_url=f"http://{url}", websocket_base_url=f"ws://{url}")
        async with client, client.realtime.connect(model="gpt-realtime") as connection:
            for direction, message in session["messages"]:
                if direction == "sent":
                    await connection.send(message)
            return [await connection.recv() for direction, _ in session["messages"] if direction == "received"]


def expected_of(response: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that a `response.done` asks for."""
    usage, output = response.get("usage") or {}, response.get("output") or []
    asked, answered = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
    waits = any(item["type"] == "function_call" for item in output)
    attributes = {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.response.id": response["id"],
        "gen_ai.response.status": response["status"],
        "gen_ai.usage.input_tokens": usage.get("input_tokens"),
        "gen_ai.usage.output_tokens": usage.get("output_tokens"),
        "gen_ai.usage.total_tokens": usage.get("total_tokens"),
        "gen_ai.usage.cache_read.input_tokens": asked.get("cached_tokens"),
        "gen_ai.usage.audio.input_tokens": asked.get("audio_tokens"),
        "gen_ai.usage.audio.output_tokens": answered.get("audio_tokens"),
    }
    if response["status"] == "completed":
        attributes["gen_ai.response.finish_reasons"] = ("tool_calls" if waits else "stop",)
    return {name: value for name, value in attributes.items() if value is not None}


def output_of(response: dict[str, Any]) -> tuple[str, list[tuple[Any, ...]]]:
    """Return the words and the calls of an answer."""
    output = response.get("output") or []
    words = "".join(
        part.get("transcript") or part.get("text") or ""
        for item in output
        if item["type"] == "message"
        for part in item.get("content") or ()
    )
    calls = [
        ("call", item["call_id"], item["name"], json.loads(item["arguments"]))
        for item in output
        if item["type"] == "function_call"
    ]
    return words, calls


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session["path"].rpartition("/")[2])
def test_each_answer_of_a_session_is_a_span_with_its_facts(session):
    sent = InMemorySpanExporter()
    destination = Destination(name="replay", exporter=sent, batch_delay=0)
    with instrument(destinations=[destination], app_spans=False) as handle:
        received = asyncio.run(converse(session))
        assert handle.flush(20)
    assert len(received) == sum(direction == "received" for direction, _ in session["messages"])
    answers = [
        message["response"]
        for direction, message in session["messages"]
        if direction == "received" and message["type"] == "response.done"
    ]
    spans = sent.get_finished_spans()
    ids = Counter(span.attributes["gen_ai.response.id"] for span in spans)
    assert ids == Counter(answer["id"] for answer in answers)
    for answer, span in zip(answers, spans, strict=True):
        expected = expected_of(answer)
        assert {name: span.attributes.get(name) for name in expected} == expected
        parts = [part for _, parts in messages(span.attributes, "gen_ai.output.messages") for part in parts]
        words, calls = output_of(answer)
        assert "".join(part[1] for part in parts if part[0] == "text") == words
        assert [part for part in parts if part[0] == "call"] == calls
