"""A stream stays what it was, and its record ends once, truthfully, whichever way it ends."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from typing import Any

import openai
import pytest

from llm_otel_broadcast.stand_in.answers import message, mid_stream_error, stream, usage_of
from tests.support.client_calls import MESSAGES, chat
from tests.support.garbage import collect
from tests.support.messages import text_of

ASKED = {"model": "gpt-4o-mini", "messages": MESSAGES, "stream": True}
STORY = message("Once upon a time there was a trace.")


def test_a_stream_makes_one_span_with_the_whole_text(kind, stand_in, instrumented, arrived):
    stand_in.script(stream(STORY, usage=usage_of(9, 8)))
    instrumented()
    chat(kind, stand_in.base_url, stream=True)
    (span,) = arrived(1)
    assert text_of(span) == STORY["content"]
    assert span.attributes["gen_ai.request.stream"] is True
    assert span.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert span.attributes["gen_ai.usage.output_tokens"] == 8
    assert span.status_code == 0


def test_the_chunks_equal_those_of_an_unpatched_client(kind, stand_in, instrumented):
    answer = stream(STORY, message("Twice."), usage=usage_of(9, 8))
    stand_in.script(answer, answer)
    plain = chat(kind, stand_in.base_url, stream=True)
    instrumented()
    assert chat(kind, stand_in.base_url, stream=True) == plain


def test_the_stream_is_the_clients_own_object(client, instrumented):
    instrumented()
    with client.chat.completions.create(**ASKED) as chunks:
        assert type(chunks) is openai.Stream


def test_openrouters_repeated_last_choice_is_not_counted_twice(stand_in, instrumented, arrived):
    stand_in.script(stream(STORY, model="openai/gpt-4o", usage=usage_of(9, 8, model="openai/gpt-4o")))
    instrumented()
    chat("sync", stand_in.base_url, model="openai/gpt-4o", stream=True)
    (span,) = arrived(1)
    assert span.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert text_of(span) == STORY["content"]
    assert span.attributes["gen_ai.usage.cost.source"] == "response"
    assert span.attributes["openrouter.provider_name"] == "OpenAI"


def test_without_usage_in_the_stream_the_tokens_are_absent(stand_in, instrumented, arrived):
    instrumented()
    chat("sync", stand_in.base_url, stream=True)
    assert not [key for key in arrived(1)[0].attributes if key.startswith("gen_ai.usage")]
    assert "stream_options" not in stand_in.requests[0].json


def test_usage_that_only_we_asked_for_is_recorded_and_kept_from_the_caller(kind, stand_in, instrumented, arrived):
    plain = chat(kind, stand_in.base_url, stream=True)
    instrumented(request_stream_usage=True)
    chunks = chat(kind, stand_in.base_url, stream=True)
    assert len(chunks) == len(plain)
    assert all(chunk.choices for chunk in chunks)
    assert stand_in.requests[-1].json["stream_options"] == {"include_usage": True}
    assert arrived(1)[0].attributes["gen_ai.usage.input_tokens"] > 0


def test_usage_that_the_caller_asked_for_reaches_him(stand_in, instrumented):
    instrumented(request_stream_usage=True)
    chunks = chat("sync", stand_in.base_url, stream=True, stream_options={"include_usage": True})
    assert chunks[-1].usage.total_tokens > 0


def test_a_caller_who_declines_usage_is_not_overruled(stand_in, instrumented):
    instrumented(request_stream_usage=True)
    chat("sync", stand_in.base_url, stream=True, stream_options={"include_usage": False})
    assert stand_in.requests[0].json["stream_options"] == {"include_usage": False}


def test_the_time_to_the_first_chunk_is_in_seconds(kind, stand_in, instrumented, arrived):
    stand_in.script(stream(STORY).slower(delay=0.2, pause=0.02))
    instrumented()
    chat(kind, stand_in.base_url, stream=True)
    (span,) = arrived(1)
    assert 0.2 <= span.attributes["gen_ai.response.time_to_first_chunk"] < span.duration_s


def test_azures_blank_first_chunk_does_not_hide_id_and_model(stand_in, instrumented, arrived):
    stand_in.script(stream(STORY, azure=True))
    instrumented()
    chat("sync", stand_in.base_url, stream=True)
    attributes = arrived(1)[0].attributes
    assert attributes["gen_ai.response.model"] == "gpt-4o-mini"
    assert attributes["gen_ai.response.id"].startswith("chatcmpl-")


def test_streamed_tool_calls_are_put_together(kind, stand_in, instrumented, arrived):
    calls = [("call_1", "weather", '{"city": "Paris, the one in France"}'), ("call_2", "time", '{"zone": "CET"}')]
    stand_in.script(stream(message(tool_calls=calls)))
    instrumented()
    chat(kind, stand_in.base_url, stream=True)
    (said,) = json.loads(arrived(1)[0].attributes["gen_ai.output.messages"])
    assert [part["arguments"] for part in said["parts"]] == [{"city": "Paris, the one in France"}, {"zone": "CET"}]
    assert said["finish_reason"] == "tool_calls"


def test_choices_that_take_turns_are_kept_apart(stand_in, instrumented, arrived):
    stand_in.script(stream(message("one one one"), message("two two two")))
    instrumented()
    chat("sync", stand_in.base_url, stream=True, n=2)
    said = json.loads(arrived(1)[0].attributes["gen_ai.output.messages"])
    assert [answer["parts"][0]["content"] for answer in said] == ["one one one", "two two two"]


def test_streamed_reasoning_and_refusal_are_put_together(stand_in, instrumented, arrived):
    stand_in.script(stream(message(reasoning="First this, then that.", refusal="I would rather not.")))
    instrumented()
    chat("sync", stand_in.base_url, stream=True)
    (said,) = json.loads(arrived(1)[0].attributes["gen_ai.output.messages"])
    assert [(part["type"], part["content"]) for part in said["parts"]] == [
        ("reasoning", "First this, then that."),
        ("refusal", "I would rather not."),
    ]


def test_an_error_chunk_ends_the_span_as_an_error_and_reaches_the_caller(kind, stand_in, instrumented, arrived):
    stand_in.script(mid_stream_error("Once upon", "Provider disconnected"))
    instrumented()
    with pytest.raises(openai.APIError, match="Provider disconnected"):
        chat(kind, stand_in.base_url, stream=True)
    (span,) = arrived(1)
    assert span.status_code == 2
    assert span.attributes["error.type"] == "APIError"
    assert text_of(span) == "Once upon"
    assert span.attributes["gen_ai.response.finish_reasons"] == ["error"]


def test_a_connection_that_breaks_ends_the_span_as_an_error(kind, stand_in, instrumented, arrived):
    from dataclasses import replace

    stand_in.script(replace(stream(STORY, finished=False), cut=True))
    instrumented()
    with pytest.raises(Exception) as broken:
        chat(kind, stand_in.base_url, stream=True)
    (span,) = arrived(1)
    assert span.attributes["error.type"] == type(broken.value).__name__
    assert span.attributes["gen_ai.response.finish_reasons"] == ["error"]


def test_a_break_inside_with_ends_the_span_at_once_as_abandoned(client, instrumented, arrived):
    instrumented()
    with client.chat.completions.create(**ASKED) as chunks:
        for _ in chunks:
            break
    (span,) = arrived(1)
    assert span.attributes["error.type"] == "abandoned"


def test_close_ends_the_span_at_once(client, instrumented, arrived):
    instrumented()
    chunks = client.chat.completions.create(**ASKED)
    next(chunks)
    chunks.close()
    arrived(1)
    chunks.close()
    arrived(1)


def test_leaving_after_the_finish_reason_is_no_error(client, stand_in, instrumented, arrived):
    stand_in.script(stream(STORY, usage=usage_of(1, 1)))
    instrumented()
    with client.chat.completions.create(**ASKED) as chunks:
        for chunk in chunks:
            if chunk.choices[0].finish_reason:
                break
    (span,) = arrived(1)
    assert span.status_code == 0


def test_a_dropped_stream_ends_with_garbage_collection(client, instrumented, arrived):
    instrumented()
    chunks = client.chat.completions.create(**ASKED)
    next(chunks)
    del chunks
    collect()
    assert arrived(1)[0].attributes["error.type"] == "abandoned"


def test_what_a_dropped_stream_has_said_is_kept(client, stand_in, instrumented, arrived):
    """The collection of garbage closes the buffers of what it collects, before or after the stream that has them ends."""
    instrumented()
    dropped = 10
    for _ in range(dropped):
        stand_in.script(stream(STORY))
        chunks = client.chat.completions.create(**ASKED)
        for _ in range(3):
            next(chunks)
        del chunks
        collect()
    assert [text_of(span) for span in arrived(dropped)] == ["Once upon"] * dropped


def test_a_stream_never_iterated_ends_when_closed(client, instrumented, arrived):
    instrumented()
    client.chat.completions.create(**ASKED).close()
    assert arrived(1)[0].attributes["error.type"] == "abandoned"


def test_a_stream_never_iterated_and_dropped_ends_too(client, instrumented, arrived):
    instrumented()
    client.chat.completions.create(**ASKED)
    collect()
    arrived(1)


def test_an_async_break_inside_async_with_ends_the_span(stand_in, instrumented, arrived):
    instrumented()

    async def call() -> None:
        async with openai.AsyncOpenAI(api_key="sk-test", base_url=stand_in.base_url) as client:
            async with await client.chat.completions.create(**ASKED) as chunks:
                async for _ in chunks:
                    break
            arrived(1)

    asyncio.run(call())


def test_a_dropped_async_stream_ends_before_the_event_loop_closes_anything(stand_in, instrumented, arrived):
    """Nor is a generator of ours left to the event loop, which trio would warn of."""
    instrumented()
    left: list[str] = []

    async def call() -> None:
        async with openai.AsyncOpenAI(api_key="sk-test", base_url=stand_in.base_url) as client:
            chunks = await client.chat.completions.create(**ASKED)
            await chunks.__anext__()
            hooks = sys.get_asyncgen_hooks()

            def finalize(generator: Any) -> None:
                left.append(generator.__qualname__)
                hooks.finalizer(generator)

            sys.set_asyncgen_hooks(firstiter=hooks.firstiter, finalizer=finalize)
            follow_up = await client.chat.completions.create(**ASKED)
            await follow_up.__anext__()
            del chunks, follow_up
            collect()
            assert [span.attributes["error.type"] for span in arrived(2)] == ["abandoned"] * 2

    asyncio.run(call())
    assert left
    assert not [name for name in left if "follow" in name]


def test_a_step_of_an_async_stream_that_is_given_up_ends_the_span(stand_in, instrumented, arrived):
    """The step takes longer than the program waits: the client's own stream is over as well."""
    stand_in.script(stream(STORY).slower(pause=0.5))
    instrumented()

    async def call() -> list[object]:
        async with openai.AsyncOpenAI(api_key="sk-test", base_url=stand_in.base_url) as client:
            chunks = await client.chat.completions.create(**ASKED)
            await chunks.__anext__()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(chunks.__anext__(), 0.05)
            return [chunk async for chunk in chunks]

    assert asyncio.run(call()) == []
    assert arrived(1)[0].attributes["error.type"] == "CancelledError"


def test_two_tasks_that_step_an_async_stream_at_once_get_the_clients_own_error(stand_in, instrumented, arrived):
    stand_in.script(stream(STORY).slower(pause=0.1))
    instrumented()

    async def call() -> None:
        async with openai.AsyncOpenAI(api_key="sk-test", base_url=stand_in.base_url) as client:
            chunks = await client.chat.completions.create(**ASKED)
            await chunks.__anext__()
            steps = (chunks.__anext__(), chunks.__anext__())
            outcomes = await asyncio.gather(*steps, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes].count(RuntimeError) == 1
            async for _ in chunks:
                pass

    asyncio.run(call())
    assert text_of(arrived(1)[0]) == STORY["content"]


def test_what_a_stream_raises_is_an_error_of_its_span_whatever_it_is(client, instrumented, arrived, monkeypatch):
    """Even what Python raises to close a generator, which the program did not do."""

    def broken(stream: Any) -> Any:
        yield from ()
        raise GeneratorExit

    monkeypatch.setattr(openai.Stream, "__stream__", broken)
    instrumented()
    with pytest.raises(GeneratorExit):
        next(client.chat.completions.create(**ASKED))
    assert arrived(1)[0].attributes["error.type"] == "GeneratorExit"


def test_closing_the_iterator_of_a_stream_closes_the_clients_own(client, instrumented, arrived):
    def closings() -> int:
        closed: list[bool] = []
        chunks = client.chat.completions.create(**ASKED)
        iterator = chunks._iterator
        next(chunks)
        close = chunks.response.stream.close

        def noted() -> None:
            closed.append(True)
            close()

        chunks.response.stream.close = noted
        iterator.close()
        return len(closed)

    # One, and none in releases of old.
    plain = closings()
    instrumented()
    assert closings() == plain
    assert arrived(1)[0].attributes["error.type"] == "abandoned"


def test_a_cancelled_stream_ends_as_cancelled(stand_in, instrumented, arrived):
    stand_in.script(stream(STORY).slower(pause=0.2))
    instrumented()

    async def call() -> None:
        async with openai.AsyncOpenAI(api_key="sk-test", base_url=stand_in.base_url) as client:
            chunks = await client.chat.completions.create(**ASKED)
            async for _ in chunks:
                pass

    async def cancel() -> None:
        task = asyncio.create_task(call())
        await asyncio.sleep(0.3)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert arrived(1)[0].attributes["error.type"] == "CancelledError"


def test_next_works_as_on_the_clients_own_stream(client, stand_in, instrumented, arrived):
    stand_in.script(stream(STORY))
    instrumented()
    chunks = client.chat.completions.create(**ASKED)
    first = next(chunks)
    assert first.choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == STORY["content"]
    with pytest.raises(StopIteration):
        next(chunks)
    arrived(1)


def test_the_stream_helper_goes_through_create_and_makes_one_span(client, instrumented, arrived):
    """`stream()` is the client's own helper round `create` (in 1.40 below `beta`)."""
    instrumented()
    helper = getattr(client.chat.completions, "stream", None) or client.beta.chat.completions.stream
    with helper(model="gpt-4o-mini", messages=MESSAGES) as events:
        for _ in events:
            pass
    arrived(1)


def test_a_chunk_costs_no_context(client, instrumented):
    """Nothing of ours is current while control is with the caller."""
    from opentelemetry import context

    instrumented()
    before = context.get_current()
    for _ in client.chat.completions.create(**ASKED):
        assert context.get_current() == before
    assert context.get_current() == before
