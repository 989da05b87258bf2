"""A stream of the responses API stays what it was; its record ends once, truthfully, whichever way it ends."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import replace

import openai
import pytest
from opentelemetry import context

from llm_otel_broadcast.stand_in.answers import Answer
from tests.support.client_calls import needs_responses, respond
from tests.support.garbage import collect
from tests.support.messages import parts_of
from tests.support.stand_in import responses

pytestmark = needs_responses

ASKED = {"model": "gpt-4o-mini", "input": "Hello!", "stream": True}
WORDS = "a b c d e f g h i j"
STORY = "Once upon a time there was a trace."
ITEMS = (
    responses.reasoning("First this, then that.", "Then more."),
    responses.item("web_search_call", action={"type": "search", "query": "traces"}),
    responses.text(STORY, refusal="I would rather not say more."),
    responses.function_call("call_1", "weather", '{"city": "Paris, the one in France"}'),
    responses.item("custom_tool_call", call_id="call_2", name="run", input="ls -l /"),
)


def events_of(*events: dict) -> Answer:
    return Answer(events=tuple(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events))


def test_a_stream_makes_one_span_with_all_that_its_last_event_says(kind, stand_in, instrumented, arrived):
    stand_in.script(responses.streamed(*ITEMS, usage=responses.spent(9, 8)), responses.whole(*ITEMS))
    instrumented()
    respond(kind, stand_in.base_url, stream=True)
    respond(kind, stand_in.base_url)
    span, whole = arrived(2)
    assert parts_of(span) == parts_of(whole)
    assert span.attributes["gen_ai.request.stream"] is True
    assert span.attributes["gen_ai.response.finish_reasons"] == ["tool_calls"]
    assert span.attributes["gen_ai.usage.output_tokens"] == 8
    assert span.attributes["gen_ai.response.tool_calls.count"] == 2
    assert span.attributes["gen_ai.response.server_tool_calls.web_search"] == 1
    assert span.status_code == 0


def test_the_events_equal_those_of_an_unpatched_client(kind, stand_in, instrumented):
    answer = responses.streamed(*ITEMS, usage=responses.spent(9, 8))
    stand_in.script(answer, answer)
    plain = respond(kind, stand_in.base_url, stream=True)
    instrumented()
    assert respond(kind, stand_in.base_url, stream=True) == plain


def test_the_stream_is_the_clients_own_object(client, instrumented):
    instrumented()
    with client.responses.create(**ASKED) as events:
        assert type(events) is openai.Stream


def test_a_stream_that_stops_before_its_last_event_is_an_error_with_what_was_said(
    kind, stand_in, instrumented, arrived
):
    stand_in.script(responses.streamed(*ITEMS, finished=False), responses.whole(*ITEMS))
    instrumented()
    respond(kind, stand_in.base_url, stream=True)
    respond(kind, stand_in.base_url)
    span, whole = arrived(2)
    assert span.status_code == 2
    assert span.attributes["error.type"] == "stream_ended_early"
    assert span.attributes["gen_ai.response.finish_reasons"] == ["error"]
    assert span.attributes["gen_ai.response.tool_calls.count"] == 2
    assert parts_of(span) == parts_of(whole)
    assert not [key for key in span.attributes if key.startswith("gen_ai.usage")]


def test_a_call_whose_item_ends_without_its_arguments_keeps_their_pieces(stand_in, instrumented, arrived):
    events = [*responses.events(responses.response(responses.function_call("call_1", "f", '{"a": 1}')))][:-1]
    del events[-1]["item"]["arguments"]
    stand_in.script(events_of(*events))
    instrumented()
    respond("sync", stand_in.base_url, stream=True)
    assert parts_of(arrived(1)[0]) == [{"type": "tool_call", "id": "call_1", "name": "f", "arguments": {"a": 1}}]


def test_a_connection_that_breaks_ends_the_span_as_an_error(kind, stand_in, instrumented, arrived):
    stand_in.script(replace(responses.streamed(responses.text(STORY), finished=False), cut=True))
    instrumented()
    with pytest.raises(Exception) as broken:
        respond(kind, stand_in.base_url, stream=True)
    (span,) = arrived(1)
    assert span.attributes["error.type"] == type(broken.value).__name__
    assert parts_of(span) == [{"type": "text", "content": STORY}]


def test_an_error_event_is_an_error_with_its_code(kind, stand_in, instrumented, arrived):
    """The client hands this event on like any other and raises nothing."""
    begun = list(responses.events(responses.response(responses.text(STORY))))[:6]
    problem = {"type": "error", "code": "rate_limit_exceeded", "message": "Slow down.", "param": None}
    stand_in.script(events_of(*begun, {**problem, "sequence_number": 6}))
    instrumented()
    assert respond(kind, stand_in.base_url, stream=True)[-1].type == "error"
    (span,) = arrived(1)
    assert span.attributes["error.type"] == "rate_limit_exceeded"
    assert span.status_message == "Slow down."


def test_an_error_that_the_client_raises_is_its_exception(kind, stand_in, instrumented, arrived):
    problem = {"type": "error", "error": {"type": "server_error", "code": None, "message": "Sorry."}}
    stand_in.script(events_of(problem))
    instrumented()
    with pytest.raises(openai.APIError, match="Sorry"):
        respond(kind, stand_in.base_url, stream=True)
    assert arrived(1)[0].attributes["error.type"] == "APIError"


def test_openrouters_short_last_event_leaves_what_the_events_said(stand_in, instrumented, arrived):
    document = responses.response(*ITEMS, model="openai/gpt-4o", usage=responses.spent(9, 8, model="openai/gpt-4o"))
    *events, last = responses.events(document)
    short = {name: document[name] for name in ("id", "status", "usage")}
    stand_in.script(events_of(*events, {**last, "type": "response.done", "response": short}), responses.whole(*ITEMS))
    instrumented()
    respond("sync", stand_in.base_url, model="openai/gpt-4o", stream=True)
    respond("sync", stand_in.base_url)
    span, whole = arrived(2)
    assert parts_of(span) == parts_of(whole)
    assert span.attributes["gen_ai.response.finish_reasons"] == ["tool_calls"]
    assert span.attributes["gen_ai.usage.cost.source"] == "response"
    assert span.status_code == 0


@pytest.mark.parametrize(
    "first",
    [responses.text(WORDS), responses.reasoning(WORDS), responses.function_call("c", "f", WORDS)],
    ids=["text", "reasoning", "arguments"],
)
def test_the_time_to_the_first_chunk_ends_with_the_first_word(kind, stand_in, instrumented, arrived, first):
    stand_in.script(responses.streamed(first).slower(delay=0.2, pause=0.02))
    instrumented()
    respond(kind, stand_in.base_url, stream=True)
    (span,) = arrived(1)
    assert 0.2 <= span.attributes["gen_ai.response.time_to_first_chunk"] < span.duration_s - 0.15


def test_a_break_inside_with_ends_the_span_at_once_as_abandoned(client, instrumented, arrived):
    instrumented()
    with client.responses.create(**ASKED) as events:
        for _ in events:
            break
    assert arrived(1)[0].attributes["error.type"] == "abandoned"


def test_close_ends_the_span_at_once(client, instrumented, arrived):
    instrumented()
    events = client.responses.create(**ASKED)
    next(events)
    events.close()
    arrived(1)
    events.close()
    arrived(1)


def test_leaving_at_the_last_event_is_no_error(client, instrumented, arrived):
    instrumented()
    with client.responses.create(**ASKED) as events:
        for event in events:
            if event.type == "response.completed":
                break
    (span,) = arrived(1)
    assert span.status_code == 0


def test_a_dropped_stream_ends_with_garbage_collection(client, instrumented, arrived):
    instrumented()
    events = client.responses.create(**ASKED)
    next(events)
    del events
    collect()
    assert arrived(1)[0].attributes["error.type"] == "abandoned"


def test_a_cancelled_stream_ends_as_cancelled(stand_in, instrumented, arrived):
    stand_in.script(responses.streamed(responses.text(STORY)).slower(pause=0.2))
    instrumented()

    async def call() -> None:
        async with openai.AsyncOpenAI(api_key="sk-test", base_url=stand_in.base_url) as client:
            async for _ in await client.responses.create(**ASKED):
                pass

    async def cancel() -> None:
        task = asyncio.create_task(call())
        await asyncio.sleep(0.3)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert arrived(1)[0].attributes["error.type"] == "CancelledError"


def has_stream(client) -> bool:
    return hasattr(client.responses, "stream")


def test_the_stream_helper_is_one_span(client, instrumented, arrived):
    """`stream()` goes through `create`."""
    if not has_stream(client):
        pytest.skip("the installed client has no such helper")
    instrumented()
    with client.responses.stream(model="gpt-4o", input="Hello!") as events:
        for _ in events:
            pass
        assert events.get_final_response().output_text.startswith("Hello!")
    (span,) = arrived(1)
    assert span.name == "chat gpt-4o"
    assert span.status_code == 0


def test_the_async_stream_helper_is_one_span(stand_in, instrumented, arrived):
    async def call() -> None:
        async with openai.AsyncOpenAI(api_key="sk-test", base_url=stand_in.base_url) as client:
            if not has_stream(client):
                pytest.skip("the installed client has no such helper")
            instrumented()
            async with client.responses.stream(model="gpt-4o", input="Hello!") as events:
                async for _ in events:
                    pass

    asyncio.run(call())
    (span,) = arrived(1)
    assert span.status_code == 0


@pytest.mark.parametrize("parsed", [True, False])
def test_a_raw_stream_is_recorded_when_it_is_parsed_and_ends_when_it_is_not(client, instrumented, arrived, parsed):
    instrumented()
    raw = client.responses.with_raw_response.create(**ASKED)
    if parsed:
        assert list(raw.parse())[-1].type == "response.completed"
    else:
        raw.http_response.close()
    (span,) = arrived(1)
    assert span.attributes.get("error.type") == (None if parsed else "abandoned")


def test_an_async_streaming_response_is_recorded(stand_in, instrumented, arrived):
    instrumented()

    async def call() -> None:
        async with (
            openai.AsyncOpenAI(api_key="sk-test", base_url=stand_in.base_url) as client,
            client.responses.with_streaming_response.create(**ASKED) as response,
        ):
            async for _ in await response.parse():
                pass

    asyncio.run(call())
    assert arrived(1)[0].attributes["gen_ai.response.finish_reasons"] == ["stop"]


def test_usage_is_never_asked_for_where_the_api_states_it_unasked(kind, stand_in, instrumented, arrived):
    """`stream_options.include_usage` is an unknown parameter to the responses API."""
    instrumented(request_stream_usage=True)
    respond(kind, stand_in.base_url, stream=True)
    assert "stream_options" not in stand_in.requests[0].json
    assert arrived(1)[0].attributes["gen_ai.usage.total_tokens"] > 0


def test_an_event_costs_no_context(client, instrumented):
    instrumented()
    before = context.get_current()
    for _ in client.responses.create(**ASKED):
        assert context.get_current() == before
    assert context.get_current() == before


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.output_text.delta", "delta": {"no": "text"}},
        {"type": "response.output_text.delta"},
        {"type": {"no": "text"}},
        {"type": "response.function_call_arguments.delta", "output_index": [], "item_id": {}, "delta": "x"},
        {"type": "response.output_item.added", "item": "text"},
        {"type": "response.completed"},
        {"type": "response.failed", "response": "text"},
        {"type": "response.news_of_tomorrow", "delta": "x"},
        {"no": "type"},
    ],
    ids=lambda event: json.dumps(event)[:50],
)
def test_an_event_that_is_not_to_the_letter_is_recorded_all_the_same(stand_in, instrumented, arrived, event):
    stand_in.script(events_of(event))
    instrumented()
    respond("sync", stand_in.base_url, stream=True)
    arrived(1)
