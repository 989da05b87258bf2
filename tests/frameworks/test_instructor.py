"""instructor: wraps a client's bound `create`, asks again when the answer does not fit, and makes partial objects of streams."""

from __future__ import annotations

import openai
import pytest
from pydantic import BaseModel, field_validator

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
ASKED = {"model": MODEL, "messages": [{"role": "user", "content": "Which city?"}]}


class City(BaseModel):
    """A city."""

    name: str

    @field_validator("name")
    @classmethod
    def is_known(cls, name: str) -> str:
        if name == "Atlantis":
            raise ValueError("no such city")
        return name


def said(name, *, many=False):
    arguments = f'{{"name": "{name}"}}'
    if many:
        return message(tool_calls=[("call_1", "IterableCity", f'{{"tasks": [{arguments}, {arguments}]}}')])
    return message(tool_calls=[("call_1", "City", arguments)])


def whole(name):
    return completion(said(name), usage=usage_of(11, 7))


def in_pieces(name, *, many=False):
    return stream(said(name, many=many), usage=usage_of(11, 7))


def made(base_url, **settings):
    import instructor

    return instructor.from_openai(openai.OpenAI(base_url=base_url, max_retries=0), **settings)


def made_async(base_url):
    import instructor

    return instructor.from_openai(openai.AsyncOpenAI(base_url=base_url, max_retries=0))


def plain(base_url, **more):
    return made(base_url).create(response_model=City, **ASKED, **more).model_dump()


def with_completion(base_url):
    city, raw = made(base_url).create_with_completion(response_model=City, **ASKED)
    return city.model_dump(), raw.model_dump()


async def in_async(base_url):
    return (await made_async(base_url).create(response_model=City, **ASKED)).model_dump()


@pytest.mark.parametrize("way", [plain, with_completion, in_async])
def test_structured_output_is_told_once_below_the_apps_span(told, way):
    seen = told(way, whole("Zurich"))
    assert {"name": "Zurich"} in (seen.result, *seen.result)
    assert_invisible(seen)
    assert_each_once(seen)


def without_a_model(base_url):
    return made(base_url).create(response_model=None, **ASKED).model_dump()


def as_json(base_url):
    import instructor

    return made(base_url, mode=instructor.Mode.JSON).create(response_model=City, **ASKED).model_dump()


@pytest.mark.parametrize("way", [without_a_model, as_json])
def test_text_is_told_once(told, way):
    seen = told(way, completion(message('{"name": "Zurich"}'), usage=usage_of(11, 7)))
    assert_invisible(seen)
    assert_each_once(seen)


def partial(base_url, **more):
    return list(made(base_url).create_partial(response_model=City, **ASKED, **more))


async def partial_async(base_url):
    return [city async for city in made_async(base_url).create_partial(response_model=City, **ASKED)]


@pytest.mark.parametrize("way", [partial, partial_async])
def test_a_partial_object_is_told_once_when_its_stream_ends(told, way):
    seen = told(way, in_pieces("Zurich"))
    assert seen.result[-1].name == "Zurich"
    assert_invisible(seen)
    assert_each_once(seen)


def several(base_url):
    return list(made(base_url).create_iterable(response_model=City, **ASKED))


async def several_async(base_url):
    return [city async for city in made_async(base_url).create_iterable(response_model=City, **ASKED)]


@pytest.mark.parametrize("way", [several, several_async])
def test_a_stream_of_objects_is_told_once(told, way):
    seen = told(way, in_pieces("Zurich", many=True))
    assert seen.result == [City(name="Zurich")] * 2
    assert_invisible(seen)
    assert_each_once(seen)


def patient(base_url):
    return plain(base_url, max_retries=2)


def test_asking_again_is_one_more_generation_beside_the_first(told):
    seen = told(patient, whole("Atlantis"), whole("Zurich"))
    assert len(seen.requests) == 2
    assert_invisible(seen)
    assert_each_once(seen)


def failing(base_url):
    try:
        return made(base_url).create(
            model=MODEL, response_model=City, messages=[{"role": "user", "content": "trigger error"}]
        )
    except Exception as error:
        return repr(error)


def test_a_refused_request_is_told_once(told):
    seen = told(failing)
    assert "400" in seen.result
    assert_invisible(seen)
    assert_failed_once(seen)


async def broken_off(base_url):
    cities = made_async(base_url).create_partial(response_model=City, **ASKED)
    first = await anext(cities)
    await cities.aclose()
    return first.model_dump()


def test_a_stream_that_is_left_is_told_once(told):
    seen = told(broken_off, in_pieces("New York City"))
    assert_invisible(seen)
    assert_broken_off_once(seen)


@pytest.mark.parametrize(("way", "answer"), [(plain, whole), (partial, in_pieces)])
def test_trace_fields_go_in_as_extra_body(told, way, answer):
    assert_fields_arrive(told(lambda base_url: way(base_url, extra_body=FIELDS), answer("Zurich")))


def test_the_example_runs(run_example):
    run_example("instructor", whole("Zurich"))
