"""openai-agents: a run is a loop of requests, each in a task of its own when it is streamed; its own tracing is off."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from llm_otel_broadcast.stand_in.answers import completion, message, stream, usage_of
from tests.frameworks.outcomes import (
    FIELDS,
    MODEL,
    assert_broken_off_once,
    assert_each_once,
    assert_failed_once,
    assert_fields_arrive,
    assert_invisible,
)

pytestmark = pytest.mark.framework
CALL = ("call_1", "weather", '{"city": "Zurich"}')


class City(BaseModel):
    """A city."""

    name: str


def agent(base_url, *, settings=None, **about):
    from agents import Agent, ModelSettings, OpenAIChatCompletionsModel
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=base_url, max_retries=0)
    model = OpenAIChatCompletionsModel(model=MODEL, openai_client=client)
    return Agent(name="Helper", model=model, model_settings=ModelSettings(**(settings or {})), **about)


def told_by(run):
    return run.final_output, [response.usage for response in run.raw_responses]


def plain(base_url):
    from agents import Runner

    return told_by(Runner.run_sync(agent(base_url), "Hello!"))


async def in_async(base_url, **about):
    from agents import Runner

    return told_by(await Runner.run(agent(base_url, **about), "Hello!"))


async def streamed(base_url, **about):
    from agents import Runner

    run = Runner.run_streamed(agent(base_url, **about), "Hello!")
    events = [event.type async for event in run.stream_events()]
    return told_by(run), events


async def streamed_with_usage(base_url):
    return await streamed(base_url, settings={"include_usage": True})


@pytest.mark.parametrize("way", [plain, in_async, streamed, streamed_with_usage])
def test_each_request_is_told_once_below_the_apps_span(told, way):
    seen = told(way)
    assert_invisible(seen)
    assert_each_once(seen)


async def with_a_tool(base_url, call=in_async):
    from agents import function_tool

    @function_tool
    def weather(city: str) -> str:
        """Tell the weather."""
        return f"Rain in {city}"

    return await call(base_url, tools=[weather])


async def with_a_tool_streamed(base_url):
    return await with_a_tool(base_url, call=streamed)


@pytest.mark.parametrize("way", [with_a_tool, with_a_tool_streamed])
def test_both_rounds_of_a_tool_call_are_told(told, way):
    answer = stream if way is with_a_tool_streamed else completion
    seen = told(way, answer(message(tool_calls=[CALL]), usage=usage_of(11, 7)))
    assert_invisible(seen)
    assert_each_once(seen)
    assert seen.spans[0].attributes["gen_ai.response.finish_reasons"] == ["tool_calls"]
    assert "Rain in Zurich" in seen.spans[1].attributes["gen_ai.input.messages"]


async def structured(base_url):
    return await in_async(base_url, output_type=City)


def test_structured_output_is_told_once(told):
    seen = told(structured, completion(message('{"name": "Zurich"}'), usage=usage_of(11, 7)))
    assert seen.result[0] == City(name="Zurich")
    assert_invisible(seen)
    assert_each_once(seen)


async def handed_off(base_url):
    return await in_async(base_url, handoffs=[agent(base_url, handoff_description="Knows more")])


def test_a_handoff_between_agents_is_two_calls_side_by_side(told):
    call = ("call_1", "transfer_to_helper", "{}")
    seen = told(handed_off, completion(message(tool_calls=[call]), usage=usage_of(11, 7)))
    assert len(seen.requests) == 2
    assert_invisible(seen)
    assert_each_once(seen)


async def failing(base_url):
    from agents import Runner

    try:
        return await Runner.run(agent(base_url), "trigger error")
    except Exception as error:
        return repr(error)


def test_a_refused_request_is_told_once(told):
    seen = told(failing)
    assert "400" in seen.result
    assert_invisible(seen)
    assert_failed_once(seen)


async def broken_off(base_url):
    from agents import Runner

    run = Runner.run_streamed(agent(base_url), "Hello!")
    async for event in run.stream_events():
        if event.type == "raw_response_event":
            run.cancel()
    return run.final_output


def test_a_run_that_is_cancelled_is_told_once(told):
    seen = told(broken_off, stream(message("All of it.")).slower(pause=0.2))
    assert_invisible(seen)
    assert_broken_off_once(seen, "CancelledError")


@pytest.mark.parametrize("way", [in_async, streamed])
def test_trace_fields_go_in_as_extra_body(told, way):
    assert_fields_arrive(told(lambda base_url: way(base_url, settings={"extra_body": FIELDS})))


def test_the_example_runs(run_example):
    run_example("openai_agents", completion(message(tool_calls=[CALL]), usage=usage_of(11, 7)))
