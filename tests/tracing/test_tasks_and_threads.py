"""A context is where its own code is: in its tasks and threads, and in nobody else's."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from opentelemetry import context as otel_context

from llm_otel_broadcast import current_generation, propagate, trace_context, traced_generation
from llm_otel_broadcast.tracing.scope import current_scope
from tests.support.client_calls import MESSAGES, chat
from tests.tracing.trees import by_name, totals


async def ask(base_url: str, model: str) -> None:
    async with openai.AsyncOpenAI(api_key="x", base_url=base_url, max_retries=0) as client:
        await client.chat.completions.create(model=model, messages=MESSAGES)


def test_a_task_group_is_inside(stand_in, instrumented, arrived):
    instrumented()

    async def run() -> None:
        async with trace_context(trace_name="Request"), asyncio.TaskGroup() as tasks:
            for number in range(3):
                tasks.create_task(ask(stand_in.base_url, f"model-{number}"))

    asyncio.run(run())
    spans = by_name(arrived(4))
    root = spans.pop("Request")
    assert {span.parent_span_id for span in spans.values()} == {root.span_id}
    assert totals(root)["calls"] == 3


def test_the_error_of_a_task_group_is_the_blocks(instrumented, arrived):
    instrumented()

    async def fail() -> None:
        raise KeyError("lost")

    async def run() -> None:
        async with trace_context(trace_name="Request"), asyncio.TaskGroup() as tasks:
            tasks.create_task(fail())

    with pytest.raises(ExceptionGroup):
        asyncio.run(run())
    assert arrived(1)[0].attributes["error.type"] == "ExceptionGroup"


def test_a_context_opened_in_a_task_is_not_its_parents(quietly):
    quietly()
    seen = []

    async def child() -> None:
        async with trace_context(team="red"):
            await asyncio.sleep(0)
            seen.append(current_scope() is not None)

    async def run() -> None:
        task = asyncio.create_task(child())
        await asyncio.sleep(0)
        seen.append(current_scope() is None)
        await task

    asyncio.run(run())
    assert seen == [True, True]


def test_a_decorated_function_is_inside_in_to_thread(stand_in, instrumented, arrived):
    instrumented()

    @traced_generation(span_name="work")
    def work() -> None:
        chat("sync", stand_in.base_url)

    async def run() -> None:
        async with trace_context(trace_name="Request"):
            await asyncio.to_thread(work)

    asyncio.run(run())
    spans = by_name(arrived(3))
    assert spans["work"].parent_span_id == spans["Request"].span_id
    assert spans["chat gpt-4o-mini"].parent_span_id == spans["work"].span_id


def test_propagate_carries_functions_coroutines_and_generators_into_threads(stand_in, instrumented, arrived):
    instrumented()

    def plain(model: str) -> str:
        chat("sync", stand_in.base_url, model=model)
        return model

    async def coroutine(model: str) -> str:
        await ask(stand_in.base_url, model)
        return model

    def generator(model: str):
        chat("sync", stand_in.base_url, model=model)
        yield model

    async def async_generator(model: str):
        await ask(stand_in.base_url, model)
        yield model

    async def all_of(made):
        return [one async for one in made]

    with trace_context(trace_name="Request", session_id="s"):
        inside = [propagate(one) for one in (plain, coroutine, generator, async_generator)]
    with ThreadPoolExecutor(1) as pool:
        for bound, drive in zip(inside, (str, asyncio.run, list, lambda made: asyncio.run(all_of(made))), strict=True):
            pool.submit(lambda bound=bound, drive=drive: drive(bound(bound.__name__))).result()
            assert pool.submit(current_scope).result() is None
            assert pool.submit(otel_context.get_current).result() == {}
    spans = by_name(arrived(5))
    root = spans.pop("Request")
    assert {span.parent_span_id for span in spans.values()} == {root.span_id}
    assert {span.attributes["session.id"] for span in spans.values()} == {"s"}


def test_a_propagated_function_may_run_in_many_threads_at_once_and_call_itself(instrumented):
    together = threading.Barrier(4, timeout=5)
    number = contextvars.ContextVar("number", default=0)

    with trace_context(team="red"):
        number.set(7)

        @propagate
        def meet(depth: int) -> int:
            together.wait()
            assert current_scope() is not None
            return number.get() + (bound(depth - 1) if depth else 0)

        bound = propagate(lambda depth: depth + 1)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(meet, [1] * 4)) == [8] * 4


def test_one_context_object_is_shared_by_tasks_and_threads(stand_in, instrumented, arrived):
    instrumented()
    shared = trace_context(trace_name="Shared", team="red")

    async def task(number: int) -> None:
        async with shared as handle:
            handle.set(number=number)
            await asyncio.sleep(0.001 * (5 - number))  # they leave in another order than they came
            await ask(stand_in.base_url, f"task-{number}")

    async def run() -> None:
        await asyncio.gather(*(task(number) for number in range(5)))

    def thread(number: int) -> None:
        with shared as handle:
            handle.set(number=number)
            chat("sync", stand_in.base_url, model=f"task-{number}")

    asyncio.run(run())
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(thread, range(5, 10)))
    spans = arrived(20)
    roots = {span.span_id: span for span in spans if span.name == "Shared"}
    calls = [span for span in spans if span.name != "Shared"]
    assert len(roots) == len(calls) == 10
    for call in calls:
        root = roots[call.parent_span_id]
        assert root.start_ns <= call.start_ns <= call.end_ns <= root.end_ns
        assert call.name == f"chat task-{root.attributes['trace.metadata.number']}"
        assert call.attributes["trace.metadata.number"] == root.attributes["trace.metadata.number"]
        assert totals(root)["calls"] == 1


def test_one_context_object_may_be_entered_again_inside_itself(stand_in, instrumented, arrived):
    instrumented()
    again = trace_context(trace_name="Again")
    with again as outer, again as inner:
        chat("sync", stand_in.base_url)
    spans = {span.span_id: span for span in arrived(3)}
    assert spans[inner.span_id].parent_span_id == outer.span_id
    assert current_scope() is None


def test_leaving_more_often_than_entering_is_harmless():
    context = trace_context(team="red")
    with context:
        pass
    context.__exit__(None, None, None)


def test_many_tasks_leave_one_object_without_searching_long(instrumented):
    shared = trace_context(team="red")

    async def one(everybody_is_in: asyncio.Event) -> None:
        async with shared:
            await everybody_is_in.wait()

    async def run() -> None:
        event = asyncio.Event()
        tasks = [asyncio.create_task(one(event)) for _ in range(3_000)]
        await asyncio.sleep(0)
        event.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())
    assert not shared._open


def test_current_generation_is_each_tasks_own(instrumented, arrived):
    instrumented()

    @traced_generation
    async def answer(number: int) -> None:
        await asyncio.sleep(0)
        current_generation().record(model=f"model-{number}", input_tokens=number)
        await asyncio.sleep(0)

    async def run() -> None:
        await asyncio.gather(*(answer(number) for number in range(10)))

    asyncio.run(run())
    for span in arrived(10):
        assert span.attributes["gen_ai.request.model"] == f"model-{span.attributes['gen_ai.usage.input_tokens']}"


def test_a_task_that_outlives_its_block_still_lands_below_it(stand_in, instrumented, arrived):
    instrumented()

    async def run() -> None:
        async with trace_context(trace_name="Request"):
            task = asyncio.create_task(ask(stand_in.base_url, "late"))
        await task

    asyncio.run(run())
    spans = by_name(arrived(2))
    assert spans["chat late"].parent_span_id == spans["Request"].span_id


def test_generators_that_take_turns_do_not_see_each_other(quietly):
    quietly()

    @trace_context(trace_name="turn")
    def turn():
        while True:
            yield current_scope()

    one, two = turn(), turn()
    seen = [next(one), next(two), next(one), next(two)]
    assert seen[0] is seen[2] is not seen[1] is seen[3]
    assert current_scope() is None
    two.close()
    assert next(one) is seen[0]
    one.close()
