"""litellm, OpenAI route: posts to the path by hand and asks for raw responses; its threads know no span of the app."""

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
    assert_each_once_alone,
    assert_failed_once,
    assert_fields_arrive,
    assert_invisible,
)

pytestmark = pytest.mark.framework
MESSAGES = [{"role": "user", "content": "Hello!"}]
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
WEATHER = message(tool_calls=[("call_1", "weather", '{"city": "Zurich"}')])


class City(BaseModel):
    """A city."""

    name: str


def call(base_url, method="completion", **asked):
    import litellm

    asked = {"model": f"openai/{MODEL}", "messages": MESSAGES, "num_retries": 0, **asked}
    return getattr(litellm, method)(api_base=base_url, api_key="sk-test", **asked)


def text(chunks):
    return [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]


def plain(base_url, **asked):
    return call(base_url, **asked).model_dump()


def streamed(base_url, **asked):
    return text(call(base_url, stream=True, **asked))


def streamed_with_usage(base_url):
    return text(call(base_url, stream=True, stream_options={"include_usage": True}))


async def in_async(base_url):
    return (await call(base_url, "acompletion")).model_dump()


async def streamed_async(base_url):
    return text([chunk async for chunk in await call(base_url, "acompletion", stream=True)])


def by_router(base_url):
    import litellm

    parameters = {"model": f"openai/{MODEL}", "api_base": base_url, "api_key": "sk-test"}
    router = litellm.Router(model_list=[{"model_name": "mine", "litellm_params": parameters}])
    return router.completion(model="mine", messages=MESSAGES).choices[0].message.content


@pytest.mark.parametrize("way", [plain, streamed, streamed_with_usage, in_async, streamed_async, by_router])
def test_each_request_is_told_once_below_the_apps_span(told, way):
    seen = told(way)
    assert_invisible(seen)
    assert_each_once(seen)


def test_usage_can_be_asked_for_in_its_place(told):
    seen = told(streamed, request_stream_usage=True)
    assert "".join(seen.result) == "".join(seen.plain) == HELLO
    assert_each_once(seen)
    assert seen.spans[0].attributes["gen_ai.usage.total_tokens"] > 0


def several(base_url):
    made = call(base_url, "batch_completion", messages=[MESSAGES] * 3)
    return [answer.choices[0].message.content for answer in made]


def test_calls_in_threads_of_its_own_are_told_once_each(told):
    seen = told(several)
    assert_invisible(seen)
    assert_each_once_alone(seen)


def with_a_tool(base_url):
    return plain(base_url, tools=[TOOL])


def structured(base_url):
    return plain(base_url, response_format=City)


@pytest.mark.parametrize(("way", "said"), [(with_a_tool, WEATHER), (structured, message('{"name": "Zurich"}'))])
def test_a_tool_call_and_structured_output_are_told_once(told, way, said):
    seen = told(way, completion(said, usage=usage_of(11, 7)))
    assert "Zurich" in str(seen.result)
    assert_invisible(seen)
    assert_each_once(seen)


def failing(base_url):
    try:
        return call(base_url, messages=[{"role": "user", "content": "trigger error"}])
    except Exception as error:
        return repr(error)


def test_a_refused_request_is_told_once(told):
    seen = told(failing)
    assert "BadRequestError" in seen.result
    assert_invisible(seen)
    assert_failed_once(seen)


def broken_off(base_url):
    chunks = call(base_url, stream=True)
    first = next(chunks).choices[0].delta.content
    chunks.close()
    return first


def test_a_stream_that_is_left_is_told_once(told):
    seen = told(broken_off, stream(message("All of it, word by word.")))
    assert_invisible(seen)
    assert_broken_off_once(seen)


@pytest.mark.parametrize("way", [plain, streamed])
def test_trace_fields_go_in_as_extra_body(told, way):
    assert_fields_arrive(told(lambda base_url: way(base_url, extra_body=FIELDS)))


def test_the_example_runs(run_example):
    run_example("litellm")
