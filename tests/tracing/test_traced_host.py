"""`@traced` and `trace_context(kind=...)` leave the program as it is: results, exceptions and contexts."""

from __future__ import annotations

import asyncio
import logging

import pytest
from opentelemetry import context as otel_context

import llm_otel_broadcast
from llm_otel_broadcast import trace_context, traced
from llm_otel_broadcast.record.function_content import FunctionContent
from llm_otel_broadcast.tracing.scope import current_scope


class Failing(Exception): ...


def plain(work):
    return traced(kind="tool", name="step")(lambda value: value())(work)


def coroutine(work):
    @traced(kind="agent")
    async def step():
        return work()

    return asyncio.run(step())


def generator(work):
    @traced(kind="retriever")
    def step():
        yield "first"
        yield work()

    return list(step())[-1]


def async_generator(work):
    @traced
    async def step():
        yield "first"
        yield work()

    async def read():
        return [piece async for piece in step()][-1]

    return asyncio.run(read())


def block(work):
    with trace_context(kind="tool"):
        return work()


def in_thread(work):
    return asyncio.run(asyncio.to_thread(plain, work))


AROUND = (plain, coroutine, generator, async_generator, block, in_thread)


@pytest.mark.parametrize("around", AROUND, ids=lambda around: around.__name__)
@pytest.mark.parametrize("broken", [None, "add_piece", "has_room"])
def test_the_same_object_and_the_same_exception_come_out_and_nothing_stays(
    instrumented, arrived, around, broken, monkeypatch, caplog
):
    instrumented()
    if broken is not None:
        monkeypatch.setattr(llm_otel_broadcast.host.guard, "raise_again", False)
        monkeypatch.setattr(FunctionContent, broken, property(lambda self: 1 / 0))
    before, result, failure = otel_context.get_current(), object(), Failing("as ever")

    def fail():
        raise failure

    with caplog.at_level(logging.CRITICAL, "llm_otel_broadcast"):
        assert around(lambda: result) is result
        with pytest.raises(Failing) as caught:
            around(fail)
    assert caught.value is failure
    assert (failure.__cause__, failure.__context__) == (None, None)
    assert current_scope() is None
    assert otel_context.get_current() == before
    assert sorted(span.attributes.get("error.type", "") for span in arrived(2)) == ["", "Failing"]
