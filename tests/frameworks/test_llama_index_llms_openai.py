"""llama-index-llms-openai: passes streams on as they come, and never asks for their usage itself."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from llm_otel_broadcast.stand_in.answers import completion, message, stream, usage_of
from tests.frameworks.outcomes import (
    FIELDS,
    HELLO,
    MODEL,
    assert_broken_off_once,
    assert_each_once,
    assert_failed_once,
    assert_fields_arrive,
    assert_invisible,
)

pytestmark = pytest.mark.framework
WEATHER = message(tool_calls=[("call_1", "weather", '{"city": "Zurich"}')])
CITY = message('{"name": "Zurich"}')


class City(BaseModel):
    """A city."""

    name: str


def weather(city: str) -> str:
    """Tell the weather."""
    return f"Rain in {city}"


def llm(base_url, **settings):
    from llama_index.llms.openai import OpenAI

    return OpenAI(model=MODEL, api_base=base_url, max_retries=0, additional_kwargs=settings)


def asked(text="Hello!"):
    from llama_index.core.llms import ChatMessage

    return [ChatMessage(role="user", content=text)]


def plain(base_url, **settings):
    return llm(base_url, **settings).chat(asked()).model_dump()


def completed(base_url):
    return llm(base_url).complete("Hello!").model_dump()


def streamed(base_url, **settings):
    return [made.delta for made in llm(base_url, **settings).stream_chat(asked())]


async def in_async(base_url):
    return (await llm(base_url).achat(asked())).model_dump()


async def streamed_async(base_url):
    return [made.delta async for made in await llm(base_url).astream_chat(asked())]


@pytest.mark.parametrize("way", [plain, completed, streamed, in_async, streamed_async])
def test_each_request_is_told_once_below_the_apps_span(told, way):
    seen = told(way)
    assert_invisible(seen)
    assert_each_once(seen)


@pytest.mark.parametrize("way", [streamed, streamed_async])
def test_usage_can_be_asked_for_in_its_place(told, way):
    seen = told(way, request_stream_usage=True)
    assert "".join(seen.result) == "".join(seen.plain) == HELLO
    assert_each_once(seen)
    assert seen.spans[0].attributes["gen_ai.usage.total_tokens"] > 0


def with_a_tool(base_url):
    from llama_index.core.tools import FunctionTool

    model = llm(base_url)
    tool = FunctionTool.from_defaults(weather)
    answer = model.chat_with_tools([tool], user_msg="How is the weather?")
    (call,) = model.get_tool_calls_from_response(answer)
    return call.tool_name, tool(**call.tool_kwargs).content


async def structured(base_url):
    from llama_index.core.prompts import PromptTemplate

    made = await llm(base_url).astructured_predict(City, PromptTemplate("Which city?"))
    return made.name


@pytest.mark.parametrize(("way", "said"), [(with_a_tool, WEATHER), (structured, CITY)])
def test_a_tool_call_and_structured_output_are_told_once(told, way, said):
    seen = told(way, completion(said, usage=usage_of(11, 7)))
    assert "Zurich" in str(seen.result)
    assert_invisible(seen)
    assert_each_once(seen)


def failing(base_url):
    try:
        return llm(base_url).chat(asked("trigger error"))
    except Exception as error:
        return repr(error)


def test_a_refused_request_is_told_once(told):
    seen = told(failing)
    assert "400" in seen.result
    assert_invisible(seen)
    assert_failed_once(seen)


def broken_off(base_url):
    pieces = llm(base_url).stream_chat(asked())
    first = next(pieces).delta
    pieces.close()
    return first


def test_a_stream_that_is_left_is_told_once(told):
    seen = told(broken_off, stream(message("All of it.")))
    assert_invisible(seen)
    assert_broken_off_once(seen)


@pytest.mark.parametrize("way", [plain, streamed])
def test_trace_fields_go_in_as_extra_body(told, way):
    assert_fields_arrive(told(lambda base_url: way(base_url, extra_body=FIELDS)))


def test_the_example_runs(run_example):
    run_example("llama_index_llms_openai")
