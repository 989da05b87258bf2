"""`@traced_generation`: a function is a span, and the generation itself when nothing inside is one."""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import get_type_hints

import openai
import pytest
from opentelemetry import context as otel_context

from llm_otel_broadcast import current_generation, trace_context, traced_generation
from llm_otel_broadcast.stand_in.answers import message, stream
from tests.support.client_calls import MESSAGES, chat
from tests.support.garbage import collect
from tests.tracing.trees import by_name


def said(span, key: str) -> str:
    return json.loads(span.attributes[key])[0]["parts"][0]["content"]


def test_a_call_inside_is_the_generation_and_the_function_its_parent(stand_in, instrumented, arrived):
    instrumented()

    @traced_generation(
        generation_name="Generate Response", trace_name="Chat Handler", session_id="s", environment="dev"
    )
    def answer(question: str) -> str:
        chat("sync", stand_in.base_url)
        return "an answer"

    assert answer("why?") == "an answer"
    spans = by_name(arrived(3))
    own = spans[answer.__qualname__]
    assert own.parent_span_id == spans["Chat Handler"].span_id
    assert spans["Generate Response"].parent_span_id == own.span_id
    assert {span.attributes["session.id"] for span in spans.values()} == {"s"}
    assert not [key for key in own.attributes if key.startswith("gen_ai.")]
    assert "why?" not in repr(own)


def test_without_a_call_it_is_the_generation(instrumented, arrived):
    instrumented()

    @traced_generation(generation_name="Generate Response", capture=("question",))
    def answer(question: str, key: str) -> str:
        current_generation().record(
            model="gpt-4o", provider="openai", input_tokens=1000, output_tokens=100, finish_reason="stop"
        )
        return "forty-two"

    answer("why?", key="sk-secret")
    (span,) = arrived(1)
    assert (span.name, span.kind) == ("Generate Response", 3)
    assert span.attributes["gen_ai.request.model"] == "gpt-4o"
    assert span.attributes["gen_ai.usage.input_tokens"] == 1000
    assert span.attributes["gen_ai.usage.cost.source"] == "estimated"
    assert span.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert said(span, "gen_ai.input.messages") == "why?"
    assert said(span, "gen_ai.output.messages") == "forty-two"
    assert "sk-secret" not in repr(span)


def test_a_cost_that_is_given_is_not_looked_up(instrumented, arrived):
    instrumented()

    @traced_generation
    def answer() -> None:
        current_generation().record(model="gpt-4o", input_tokens=1000, output_tokens=1, cost=0.5)

    answer()
    attributes = arrived(1)[0].attributes
    assert attributes["gen_ai.usage.total_cost"] == 0.5
    assert attributes["gen_ai.usage.cost.source"] == "response"


def test_without_a_name_it_is_called_by_its_qualified_name(instrumented, arrived):
    instrumented()

    @traced_generation
    def answer() -> None: ...

    answer()
    assert arrived(1)[0].name == answer.__qualname__


def test_arguments_and_result_are_content(instrumented, arrived):
    instrumented(privacy_mode=True)

    @traced_generation
    def answer(question: str) -> str:
        current_generation().record(model="local", input_tokens=3)
        return "the answer"

    answer("the question")
    (span,) = arrived(1)
    assert span.attributes["gen_ai.usage.input_tokens"] == 3
    assert "the question" not in repr(span)
    assert "the answer" not in repr(span)


def test_several_arguments_and_objects_are_json(instrumented, arrived):
    instrumented()

    @traced_generation
    def answer(question: str, *, temperature: float = 0.5) -> dict[str, int]:
        current_generation().record(model="local")
        return {"answer": 42}

    answer("why?")
    (span,) = arrived(1)
    assert json.loads(said(span, "gen_ai.input.messages")) == {"question": "why?", "temperature": 0.5}
    assert json.loads(said(span, "gen_ai.output.messages")) == {"answer": 42}


def test_a_generators_first_value_is_its_first_chunk_and_its_pieces_its_answer(instrumented, arrived):
    instrumented()

    @traced_generation
    def answer(question: str):
        current_generation().record(model="local")
        yield from ("Once ", "upon ", "a time")

    assert list(answer("tell")) == ["Once ", "upon ", "a time"]
    (span,) = arrived(1)
    assert 0 < span.attributes["gen_ai.response.time_to_first_chunk"] <= span.duration_s
    assert said(span, "gen_ai.output.messages") == "Once upon a time"


def test_an_async_generator_lives_until_it_is_exhausted_and_is_current_only_inside(stand_in, instrumented, arrived):
    instrumented()

    @traced_generation(generation_name="Story")
    async def tell():
        async with openai.AsyncOpenAI(api_key="x", base_url=stand_in.base_url) as client:
            stand_in.script(stream(message("Once upon a time")))
            async for chunk in await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True):
                yield chunk.choices[0].delta.content or ""

    async def read() -> str:
        before = otel_context.get_current()
        text = ""
        async for piece in tell():
            assert otel_context.get_current() is before
            text += piece
        return text

    assert asyncio.run(read()) == "Once upon a time"
    spans = by_name(arrived(2))
    own = spans[tell.__qualname__]
    assert spans["Story"].parent_span_id == own.span_id
    assert own.start_ns <= spans["Story"].start_ns <= spans["Story"].end_ns <= own.end_ns


@pytest.mark.parametrize("leave", ["close", "drop", "throw"])
def test_a_generator_left_early_ends_its_span_once(instrumented, arrived, leave):
    instrumented()
    cleaned = []

    @traced_generation
    def numbers():
        try:
            yield from range(10)
        finally:
            cleaned.append(True)

    made = numbers()
    next(made)
    if leave == "close":
        made.close()
    elif leave == "throw":
        with pytest.raises(KeyError):
            made.throw(KeyError("out"))
    del made
    collect()
    (span,) = arrived(1)
    assert cleaned == [True]
    assert span.attributes.get("error.type") == ("KeyError" if leave == "throw" else None)


def test_what_is_sent_and_thrown_into_a_generator_reaches_it(instrumented):
    instrumented()

    @traced_generation
    def echo():
        got = yield "ready"
        while True:
            try:
                got = yield got
            except ValueError as error:
                got = f"caught {error}"

    made = echo()
    assert next(made) == "ready"
    assert made.send("a") == "a"
    assert made.throw(ValueError("b")) == "caught b"
    made.close()


def test_a_generators_return_value_stays(instrumented):
    instrumented()

    @traced_generation
    def counted():
        yield 1
        return "done"

    def outer():
        result = yield from counted()
        yield result

    assert list(outer()) == [1, "done"]


def test_methods_classmethods_and_staticmethods_work_either_way_round(instrumented, arrived):
    instrumented()

    class Service:
        @traced_generation
        def plain(self, question: str) -> str:
            return question

        @traced_generation
        @classmethod
        def above(cls, question: str) -> str:
            return question + cls.__name__

        @classmethod
        @traced_generation
        def below(cls, question: str) -> str:
            return question

        @traced_generation
        @staticmethod
        def static(question: str) -> str:
            return question

    assert (Service().plain("a"), Service.above("b"), Service.below("c"), Service.static("d")) == (
        "a",
        "bService",
        "c",
        "d",
    )
    spans = by_name(arrived(4))
    assert spans[f"{Service.__qualname__}.plain"].attributes["input.value"] == "a"


def test_kind_name_signature_and_hints_stay(instrumented):
    def plain(a: int, *, b: str = "x") -> float:
        """Say what it does."""

    async def coroutine(a: int) -> float: ...

    def generator(a: int):
        yield a

    async def async_generator(a: int):
        yield a

    for function in (plain, coroutine, generator, async_generator):
        made = traced_generation(generation_name="x")(function)
        assert made.__wrapped__ is function
        assert (made.__name__, made.__qualname__, made.__doc__) == (
            function.__name__,
            function.__qualname__,
            function.__doc__,
        )
        assert inspect.signature(made) == inspect.signature(function)
        assert get_type_hints(made) == get_type_hints(function)
        for ask in (
            inspect.iscoroutinefunction,
            inspect.isgeneratorfunction,
            inspect.isasyncgenfunction,
        ):
            assert ask(made) == ask(function)


def test_a_field_may_be_a_function_of_the_arguments(stand_in, instrumented, arrived):
    instrumented()

    class Request:
        session = "session-7"

    @traced_generation(session_id=lambda request: request.session, tier=lambda **all_of_them: len(all_of_them))
    def handle(request: Request, question: str) -> None:
        chat("sync", stand_in.base_url)

    handle(Request(), "why?")
    for span in arrived(2):
        assert span.attributes["session.id"] == "session-7"
        assert span.attributes["trace.metadata.tier"] == 2


def test_a_fields_function_that_fails_leaves_the_field_out(instrumented, arrived):
    instrumented()

    @traced_generation(session_id=lambda request: request.no_such_thing)
    def handle(request: object) -> str:
        return "done"

    assert handle(object()) == "done"
    assert "session.id" not in arrived(1)[0].attributes


def test_capture_of_an_unknown_argument_is_refused_at_once():
    with pytest.raises(TypeError, match="no argument 'question'"):

        @traced_generation(capture=("question",))
        def handle(request: object) -> None: ...


def test_a_fields_function_of_an_unknown_argument_is_refused_at_once():
    with pytest.raises(TypeError, match="'elsewhere'"):

        @traced_generation(session_id=lambda elsewhere: elsewhere)
        def handle(request: object) -> None: ...


def test_the_functions_own_error_leaves_as_it_is(instrumented, arrived):
    instrumented()
    wrong = KeyError("wrong")

    @traced_generation
    def fail() -> None:
        raise wrong

    with pytest.raises(KeyError) as caught:
        fail()
    assert caught.value is wrong
    (span,) = arrived(1)
    assert (span.status_code, span.attributes["error.type"]) == (2, "KeyError")


def test_a_call_with_wrong_arguments_fails_as_ever(instrumented):
    instrumented()

    @traced_generation
    def answer(question: str) -> str:
        return question

    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        answer()


def test_decorated_calls_nest(instrumented, arrived):
    instrumented()

    @traced_generation(span_name="inner")
    def inner() -> None:
        current_generation().record(model="local")

    @traced_generation(span_name="outer")
    def outer() -> None:
        inner()

    outer()
    spans = by_name(arrived(2))
    assert spans["inner"].parent_span_id == spans["outer"].span_id
    assert (spans["inner"].kind, spans["outer"].kind) == (3, 1)


def test_it_works_inside_a_context_and_counts_there(instrumented, arrived):
    instrumented()

    @traced_generation
    def answer() -> None:
        current_generation().record(model="local", input_tokens=5)

    with trace_context(trace_name="Request"):
        answer()
    spans = by_name(arrived(2))
    assert spans["Request"].attributes["trace.totals.input_tokens"] == 5


def test_outside_of_any_decorated_call_recording_does_nothing():
    current_generation().record(model="x")
    current_generation().set(a=1)


def test_cancellation_reaches_the_function_and_ends_the_span(instrumented, arrived):
    instrumented()

    @traced_generation
    async def wait() -> None:
        await asyncio.sleep(60)

    async def cancel() -> None:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert arrived(1)[0].attributes["error.type"] == "CancelledError"
