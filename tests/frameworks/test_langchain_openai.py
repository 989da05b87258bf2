"""langchain-openai: `ChatOpenAI` takes the client's raw responses and parses them itself, but streams as they are."""

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


class City(BaseModel):
    """A city."""

    name: str


def chat(base_url, **settings):
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=MODEL, base_url=base_url, max_retries=0, **settings)


def told_by(made):
    return made.content, made.tool_calls, made.usage_metadata, made.response_metadata


def plain(base_url, **settings):
    return told_by(chat(base_url, **settings).invoke("Hello!"))


def streamed(base_url, **settings):
    return [told_by(chunk) for chunk in chat(base_url, **settings).stream("Hello!")]


def streamed_raw(base_url):
    return [chunk.content for chunk in chat(base_url, include_response_headers=True).stream("Hello!")]


def several(base_url):
    """LangChain's own threads."""
    return [told_by(made) for made in chat(base_url).batch(["Hello!"] * 3, {"max_concurrency": 1})]


async def in_async(base_url):
    return told_by(await chat(base_url).ainvoke("Hello!"))


async def streamed_async(base_url):
    return [told_by(chunk) async for chunk in chat(base_url).astream("Hello!")]


def in_a_chain(base_url):
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate

    chain = ChatPromptTemplate.from_messages([("user", "{said}")]) | chat(base_url) | StrOutputParser()
    return chain.invoke({"said": "Hello!"})


@pytest.mark.parametrize("way", [plain, streamed, streamed_raw, several, in_async, streamed_async, in_a_chain])
def test_each_request_is_told_once_below_the_apps_span(told, way):
    seen = told(way)
    assert_invisible(seen)
    assert_each_once(seen)


def structured(base_url):
    return chat(base_url).with_structured_output(City).invoke("Which city?")


async def structured_async(base_url):
    return await chat(base_url).with_structured_output(City).ainvoke("Which city?")


def structured_streamed(base_url):
    return list(chat(base_url).with_structured_output(City).stream("Which city?"))


@pytest.mark.parametrize("way", [structured, structured_async, structured_streamed])
def test_structured_output_is_told_once(told, way):
    answer = stream if way is structured_streamed else completion
    seen = told(way, answer(message('{"name": "Zurich"}'), usage=usage_of(11, 7)))
    assert City(name="Zurich") in (seen.result, *seen.result)
    assert_invisible(seen)
    assert_each_once(seen)


def calls_a_tool(base_url):
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool

    @tool
    def weather(city: str) -> str:
        """Tell the weather."""
        return f"Rain in {city}"

    model = chat(base_url).bind_tools([weather])
    asked = [HumanMessage("How is the weather?")]
    answer = model.invoke(asked)
    (call,) = answer.tool_calls
    back = ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])
    return told_by(answer), told_by(model.invoke([*asked, answer, back]))


def test_both_rounds_of_a_tool_call_are_told(told):
    call = ("call_1", "weather", '{"city": "Zurich"}')
    seen = told(calls_a_tool, completion(message(tool_calls=[call]), usage=usage_of(11, 7)))
    assert_invisible(seen)
    assert_each_once(seen)
    assert seen.spans[0].attributes["gen_ai.response.finish_reasons"] == ["tool_calls"]
    assert "Rain in Zurich" in seen.spans[1].attributes["gen_ai.input.messages"]


def failing(base_url):
    try:
        return chat(base_url).invoke("trigger error")
    except Exception as error:
        return repr(error)


def test_a_refused_request_is_told_once(told):
    seen = told(failing)
    assert "400" in seen.result
    assert_invisible(seen)
    assert_failed_once(seen)


def broken_off(base_url):
    chunks = chat(base_url).stream("Hello!")
    first = next(chunks).content
    chunks.close()
    return first


def test_a_stream_that_is_left_is_told_once(told):
    seen = told(broken_off)
    assert_invisible(seen)
    assert_broken_off_once(seen)


@pytest.mark.parametrize("way", [plain, streamed])
def test_trace_fields_go_in_as_extra_body(told, way):
    assert_fields_arrive(told(lambda base_url: way(base_url, extra_body=FIELDS)))


def test_the_example_runs(run_example):
    run_example("langchain_openai")
