"""Every kind of function, under `@traced_generation`, `trace_context` as a decorator, and `propagate`."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import multiprocessing
import pickle
import weakref
from typing import get_type_hints

import pytest
from opentelemetry import context as otel_context

from llm_otel_broadcast import current_generation, propagate, trace_context, traced_generation
from llm_otel_broadcast.tracing.scope import current_scope
from tests.tracing.trees import by_name

WRAPPERS = {
    "bare": traced_generation,
    "with parentheses": traced_generation(),
    "with fields": traced_generation(span_name="own", team="red"),
    "context": trace_context(trace_name="own", team="red"),
    "propagate": propagate,
}
ASK = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction, inspect.isfunction)


@pytest.fixture(params=WRAPPERS)
def wrap(request):
    return WRAPPERS[request.param]


def plain(a: int, *more: int, b: str = "x", **rest: float) -> str:
    """Say what it does."""
    return f"{a}{more}{b}{rest}"


async def coroutine(a: int, *, b: str = "x") -> str:
    await asyncio.sleep(0)
    return f"{a}{b}"


def generator(a: int):
    got = yield a
    yield got
    return "end"


async def async_generator(a: int):
    got = yield a
    await asyncio.sleep(0)
    yield got


@traced_generation
def by_its_name(a: int) -> int:
    return a + 1


@trace_context(trace_name="Named")
def in_a_context_by_its_name(a: int) -> int:
    return a + 2


class Caller:
    """An object that is called like a function."""

    def __call__(self, a: int) -> int:
        return a * 2


class AsyncCaller:
    async def __call__(self, a: int) -> int:
        await asyncio.sleep(0)
        return a * (2 if current_scope() else 3)


def test_name_signature_hints_and_kind_stay(wrap):
    for function in (plain, coroutine, generator, async_generator):
        made = wrap(function)
        assert made.__wrapped__ is function
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            assert getattr(made, name) == getattr(function, name)
        assert inspect.signature(made) == inspect.signature(function)
        assert get_type_hints(made) == get_type_hints(function)
        assert [ask(made) for ask in ASK] == [ask(function) for ask in ASK]


def test_arguments_and_results_pass_through(wrap, quietly):
    quietly()
    assert wrap(plain)(1, 2, 3, b="y", c=0.5) == plain(1, 2, 3, b="y", c=0.5)
    assert asyncio.run(wrap(coroutine)(1, b="z")) == "1z"
    result = object()
    assert wrap(lambda: result)() is result


def test_methods_of_every_sort_are_bound_as_ever(wrap, quietly):
    quietly()

    class Service:
        name = "service"

        @wrap
        def method(self, a: int) -> str:
            return f"{self.name}{a}"

        @classmethod
        @wrap
        def of_class(cls, a: int) -> str:
            return f"{cls.name}{a}"

        @staticmethod
        @wrap
        def static(a: int) -> str:
            return f"static{a}"

        @property
        @wrap
        def read(self) -> str:
            return self.name

        @wrap
        async def later(self, a: int) -> str:
            return f"{self.name}{a}"

    class Special(Service):
        name = "special"

        def method(self, a: int) -> str:
            return super().method(a) + "!"

    made = Special()
    assert (made.method(1), made.of_class(2), made.static(3), made.read) == (
        "special1!",
        "special2",
        "static3",
        "special",
    )
    assert Special.of_class(4) == "special4"
    assert asyncio.run(made.later(5)) == "special5"
    assert inspect.iscoroutinefunction(made.later)
    assert inspect.ismethod(made.method)


def test_partials_and_callable_objects_work(wrap, quietly):
    quietly()
    assert wrap(functools.partial(plain, 1, b="p"))() == plain(1, b="p")
    assert asyncio.run(wrap(functools.partial(coroutine, 1))(b="q")) == "1q"
    assert wrap(Caller())(4) == 8
    assert wrap(len)("abc") == 3
    assert wrap(max)(1, 2) == 2  # a function that does not tell its signature


def test_an_object_with_an_asynchronous_call_is_followed_to_its_end(instrumented, arrived):
    instrumented()
    made = traced_generation(span_name="own")(AsyncCaller())
    assert not inspect.iscoroutinefunction(made)  # nor is the object
    assert asyncio.run(made(1)) == 2
    assert current_scope() is None
    assert by_name(arrived(1)).keys() == {"own"}


def test_propagate_follows_an_object_with_an_asynchronous_call(instrumented):
    with trace_context(team="red"):
        bound = propagate(AsyncCaller())
    assert asyncio.run(bound(1)) == 2


def test_partials_and_callable_objects_are_called_by_a_name_of_their_own(instrumented, arrived):
    instrumented()
    traced_generation(functools.partial(plain, 1))()
    traced_generation(Caller())(1)
    assert by_name(arrived(2)).keys() == {"partial", "Caller"}


def test_a_decorated_function_is_pickled_by_its_name():
    for made in (by_its_name, in_a_context_by_its_name):
        assert pickle.loads(pickle.dumps(made)) is made
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(by_its_name, (1,)) == 2


def test_recursion_and_threads_share_a_decorated_function(instrumented, arrived):
    instrumented()

    @traced_generation
    def count(left: int) -> int:
        current_generation().record(model=f"depth-{left}")
        return left and 1 + count(left - 1)

    assert count(5) == 5
    spans = {span.attributes.get("gen_ai.request.model", "above"): span for span in arrived(6)}
    assert len({span.trace_id for span in spans.values()}) == 1


def test_a_generator_keeps_what_is_sent_thrown_and_returned(wrap, quietly):
    quietly()
    made = wrap(generator)(1)
    assert (next(made), made.send("sent")) == (1, "sent")
    with pytest.raises(StopIteration) as end:
        next(made)
    assert end.value.value == "end"

    @wrap
    def stubborn():
        try:
            yield 1
        except KeyError as error:
            yield error

    thrown = KeyError("in")
    made = stubborn()
    next(made)
    assert made.throw(thrown) is thrown
    made.close()


def test_an_async_generator_keeps_what_is_sent_and_thrown(wrap, quietly):
    quietly()

    @wrap
    async def stubborn():
        try:
            yield 1
        except KeyError as error:
            yield error

    async def run() -> None:
        made = wrap(async_generator)(1)
        assert (await anext(made), await made.asend("sent")) == (1, "sent")
        with pytest.raises(StopAsyncIteration):
            await anext(made)
        thrown = KeyError("in")
        made = stubborn()
        await anext(made)
        assert await made.athrow(thrown) is thrown
        await made.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("leave", ["break", "aclose", "athrow", "collect"])
def test_an_async_generator_left_early_cleans_up_and_ends_its_span_once(instrumented, arrived, leave):
    instrumented()
    cleaned, over = [], asyncio.Event()

    @traced_generation(span_name="numbers")
    async def numbers():
        try:
            for number in range(10):
                yield number
        finally:
            await asyncio.sleep(0)
            cleaned.append(current_scope() is not None)
            over.set()

    async def run() -> None:
        before = otel_context.get_current()
        made = numbers()
        async for _ in made:
            assert otel_context.get_current() is before
            assert current_scope() is None
            break
        if leave == "aclose":
            await made.aclose()
        elif leave == "athrow":
            with pytest.raises(KeyError):
                await made.athrow(KeyError("out"))
        del made
        gc.collect()
        await over.wait()

    asyncio.run(asyncio.wait_for(run(), 5))
    assert cleaned == [True]
    (span,) = arrived(1)
    assert span.attributes.get("error.type") == ("KeyError" if leave == "athrow" else None)


def test_a_generator_that_is_never_begun_is_no_span(instrumented, arrived):
    instrumented()
    traced_generation(generator)(1)
    gc.collect()
    arrived(0)


def test_a_generator_that_swallows_its_end_is_told_off_as_ever(wrap, quietly):
    quietly()

    @wrap
    def rude():
        while True:
            try:
                yield 1
            except GeneratorExit:
                yield 2

    made = rude()
    next(made)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        made.close()


def test_an_exception_thrown_into_a_generator_is_not_kept_alive(wrap, quietly):
    quietly()

    class Thrown(Exception): ...

    def throw() -> weakref.ref[Thrown]:
        made = wrap(generator)(1)
        next(made)
        try:
            made.throw(Thrown())
        except Thrown as caught:
            return weakref.ref(caught)

    gc.disable()
    try:
        assert throw()() is None
    finally:
        gc.enable()
