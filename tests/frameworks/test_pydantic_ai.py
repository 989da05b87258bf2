"""pydantic-ai: a run is a loop of requests; its own OpenTelemetry spans, if wanted, enclose ours and are not doubled."""

from __future__ import annotations

import pytest
from opentelemetry.trace import SpanKind
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
WEATHER = message(tool_calls=[("call_1", "weather", '{"city": "Zurich"}')])


class City(BaseModel):
    """A city."""

    name: str


def weather(city: str) -> str:
    """Tell the weather."""
    return f"Rain in {city}"


def agent(base_url, **about):
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return Agent(OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=base_url)), **about)


def told_by(run):
    usage = run.usage if not callable(run.usage) else run.usage()
    return usage.input_tokens, usage.output_tokens, usage.requests


def plain(base_url, **about):
    run = agent(base_url, **about).run_sync("Hello!")
    return run.output, told_by(run)


async def in_async(base_url, **about):
    run = await agent(base_url, **about).run("Hello!")
    return run.output, told_by(run)


async def streamed(base_url, **about):
    async with agent(base_url, **about).run_stream("Hello!") as run:
        pieces = [piece async for piece in run.stream_text(delta=True, debounce_by=None)]
        return pieces, told_by(run)


async def step_by_step(base_url):
    async with agent(base_url).iter("Hello!") as run:
        return [type(node).__name__ async for node in run], run.result.output


@pytest.mark.parametrize("way", [plain, in_async, streamed, step_by_step])
def test_each_request_is_told_once_below_the_apps_span(told, way):
    seen = told(way)
    assert_invisible(seen)
    assert_each_once(seen)


def with_a_tool(base_url):
    return plain(base_url, tools=[weather])


async def with_a_tool_streamed(base_url):
    return await streamed(base_url, tools=[weather])


@pytest.mark.parametrize("way", [with_a_tool, with_a_tool_streamed])
def test_both_rounds_of_a_tool_call_are_told(told, way):
    answer = stream if way is with_a_tool_streamed else completion
    seen = told(way, answer(WEATHER, usage=usage_of(11, 7)))
    assert_invisible(seen)
    assert_each_once(seen)
    assert seen.spans[0].attributes["gen_ai.response.finish_reasons"] == ["tool_calls"]
    assert "Rain in Zurich" in seen.spans[1].attributes["gen_ai.input.messages"]


def structured(base_url):
    return plain(base_url, output_type=City)


def test_structured_output_is_told_once(told):
    said = message(tool_calls=[("call_1", "final_result", '{"name": "Zurich"}')])
    seen = told(structured, completion(said, usage=usage_of(11, 7)))
    assert seen.result[0] == City(name="Zurich")
    assert_invisible(seen)
    assert_each_once(seen)


@pytest.mark.parametrize("call", [plain, in_async, streamed])
def test_its_own_span_of_the_call_encloses_ours_and_is_the_only_one_in_the_app(told, app, call):
    from pydantic_ai.capabilities import Instrumentation
    from pydantic_ai.models.instrumented import InstrumentationSettings

    settings = InstrumentationSettings(tracer_provider=app.provider)

    def instrumented(base_url):
        app.memory.clear()  # its spans of the call without us
        return call(base_url, capabilities=[Instrumentation(settings=settings)])

    seen = told(instrumented)
    assert_invisible(seen)
    (theirs,) = seen.courtesy
    assert theirs.instrumentation_scope.name == "pydantic-ai"
    (span,) = seen.spans
    assert span.parent_span_id == f"{theirs.context.span_id:016x}"
    assert span.trace_id == f"{seen.handler.context.trace_id:032x}"
    own = [made for made in seen.own if made.kind is SpanKind.INTERNAL and made.name != "handler"]
    assert {made.context.trace_id for made in own} == {theirs.context.trace_id}


def failing(base_url):
    try:
        return agent(base_url).run_sync("trigger error")
    except Exception as error:
        return repr(error)


def test_a_refused_request_is_told_once(told):
    seen = told(failing)
    assert "400" in seen.result
    assert_invisible(seen)
    assert_failed_once(seen)


async def broken_off(base_url):
    async with agent(base_url).run_stream("Hello!") as run:
        return await anext(aiter(run.stream_text(delta=True, debounce_by=None)))


def test_a_stream_that_is_left_is_told_once(told):
    seen = told(broken_off, stream(message("All of it, word by word.")).slower(pause=0.05))
    assert_invisible(seen)
    assert_broken_off_once(seen)


@pytest.mark.parametrize("way", [plain, streamed])
def test_trace_fields_go_in_as_extra_body(told, way):
    assert_fields_arrive(told(lambda base_url: way(base_url, model_settings={"extra_body": FIELDS})))


def test_the_example_runs(run_example):
    run_example("pydantic_ai", completion(WEATHER, usage=usage_of(11, 7)))
