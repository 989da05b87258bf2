"""Cancellation at every await, interrupts and odd exceptions from below: they pass through us as if we were not there."""

from __future__ import annotations

import asyncio
import types
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.parity.observation import described, observe
from tests.support.host_usage import call, each, entered, until, use
from tests.support.scenarios import CHAT, OPERATIONS, Scenario

FORMS = list(CHAT)
MOST_STEPS = 60


@types.coroutine
def cancelled_after(work: Any, steps: int) -> Any:
    """Run a coroutine, and have its task cancelled while it waits for the step of this number."""
    taken = 0
    answer, error = None, None
    while True:
        try:
            waits_for = work.throw(error) if error is not None else work.send(answer)
        except StopIteration as end:
            return end.value
        if taken == steps:
            asyncio.get_running_loop().call_soon(asyncio.current_task().cancel, "enough")
        taken += 1
        answer, error = None, None
        try:
            answer = yield waits_for
        except BaseException as thrown:
            error = thrown


def host_cancelled_after(steps: int, scenario: Scenario):
    """Return a host whose call is cancelled at a step, and which notes whether the step was ever taken."""

    async def host(client, note):
        async def inside() -> None:
            try:
                await cancelled_after(use(client, scenario, note), steps)
            except asyncio.CancelledError as error:
                note("cancelled", described(error))
                raise

        task = asyncio.create_task(inside())
        await asyncio.wait([task])
        note("task", task.cancelled())
        if not task.cancelled():
            await task

    return host


@pytest.mark.parametrize("form", FORMS)
def test_a_call_is_cancelled_at_any_await_as_it_is_without_us(form, stand_in, same, arrived, receiver):
    """P14: the span has ended, `CancelledError` reaches the task unchanged."""
    scenario = CHAT[form]
    for steps in range(MOST_STEPS):
        receiver.store.clear()
        host = host_cancelled_after(steps, scenario)
        seen = []

        def observed(host=host, seen=seen):
            seen.append(observe(stand_in, "async", host, memory=scenario.answer))
            return seen[-1]

        spans = same(observed)
        cancelled = ("task", True) in seen[-1].notes
        assert len(spans) == 1
        if not cancelled:
            assert steps > 2
            return
        assert spans[0].attributes.get("error.type") in (None, "CancelledError")
    pytest.fail("the call takes more steps than expected")


@pytest.mark.parametrize("form", ["plain", "stream"])
def test_a_timeout_of_the_host_works_as_without_us(form, stand_in, same):
    async def host(client, note):
        try:
            async with asyncio.timeout(0.1):
                await use(client, CHAT[form], note)
        except TimeoutError as error:
            note("timeout", type(error.__cause__))
        await asyncio.sleep(0)
        note("goes on")

    slow = CHAT[form].answer.slower(**({"pause": 0.5} if form == "stream" else {"delay": 0.5}))
    (span,) = same(lambda: observe(stand_in, "async", host, (slow,)))
    assert span.attributes["error.type"] == "CancelledError"


@dataclass(frozen=True)
class FrozenError(Exception):
    """An exception whose attributes cannot be assigned, its traceback neither."""

    reason: str


class Hostile(Exception):
    """An exception that answers every question with another one."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked for by the logging of some versions of the client
            raise AttributeError(name)
        raise RuntimeError(f"no {name}")


ERRORS = [KeyboardInterrupt("ctrl-c"), SystemExit(3), GeneratorExit(), FrozenError("cold"), MemoryError("full")]
FROM_BELOW = [
    *ERRORS,
    asyncio.CancelledError("from below"),
    RecursionError("deep"),
    ExceptionGroup("two", [ValueError(1)]),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("error", FROM_BELOW, ids=lambda error: type(error).__name__)
def test_an_error_from_below_leaves_as_it_came(kind, form, error, stand_in, same):
    """P14: ... and its span names it, unless the client wraps it into one of its own."""

    def host():
        BaseException.with_traceback(error, None)
        return observe(stand_in, kind, lambda client, note: use(client, CHAT[form], note), memory=error)

    (span,) = same(host)
    assert span.status_code == 2


@pytest.mark.parametrize("form", ["stream", "raw_stream", "streaming_stream"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_in_the_middle_of_a_stream_leaves_as_it_came(kind, form, error, stand_in, same):
    pieces = [*CHAT[form].answer.events[:2], error]

    def host():
        BaseException.with_traceback(error, None)
        return observe(stand_in, kind, lambda client, note: use(client, CHAT[form], note), memory=pieces)

    (span,) = same(host)
    assert span.status_code == 2


def test_a_hostile_exception_leaves_as_it_came(kind, stand_in, same):
    left = []

    async def host(client, note):
        try:
            await use(client, CHAT["plain"], note)
        except Exception as error:  # openai before 3 wraps it
            note(error.args)
            left.append(type(error).__name__)

    (span,) = same(lambda: observe(stand_in, kind, host, memory=Hostile("at all")))
    assert span.attributes["error.type"] == left[-1]


def test_the_context_of_an_error_is_the_hosts(kind, stand_in, same):
    """An error that is raised while the host handles another one names that one, and nothing of ours."""

    async def host(client, note):
        try:
            raise KeyError("first")
        except KeyError:
            await use(client, replace(CHAT["plain"], more={"no_such_argument": 1}), note)

    same(lambda: observe(stand_in, kind, host))


def test_a_coroutine_that_nobody_awaits_is_announced_once_by_its_name(stand_in, same):
    async def host(client, note):
        client.chat.completions.create(**CHAT["plain"].asked)

    assert same(lambda: observe(stand_in, "async", host)) == []


def test_a_coroutine_may_be_closed_or_thrown_into_before_it_starts(stand_in, same):
    async def host(client, note):
        made = client.chat.completions.create(**CHAT["plain"].asked)
        note(type(made), made.__name__, made.__qualname__)
        made.close()
        made = client.chat.completions.create(**CHAT["plain"].asked)
        try:
            made.throw(ValueError("no"))
        except ValueError as error:
            note(error.args)

    same(lambda: observe(stand_in, "async", host))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_task_group_cancels_its_calls(operation, stand_in, same):
    scenario = Scenario(operation, operation.forms[0])

    async def host(client, note):
        asked = len(stand_in.requests)

        async def ask() -> None:
            await use(client, scenario, lambda *_: None)

        async def fail() -> None:
            await until(lambda: len(stand_in.requests) == asked + 3)
            raise ValueError("one of them failed")

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(ask())
                group.create_task(fail())
        except* ValueError as errors:
            note(repr(errors.exceptions))

    slow = scenario.answer.slower(delay=5)
    same(lambda: observe(stand_in, "async", host, (slow, slow, slow)))


async def read_in_another_task(stream, note):
    async def read() -> None:
        async with entered(stream):
            async for chunk in each(stream):
                note(chunk)

    await asyncio.create_task(read())


def test_a_stream_may_be_read_by_another_task_that_is_cancelled(stand_in, same):
    async def host(client, note):
        stream = await call(client, CHAT["stream"])
        chunks = []
        task = asyncio.create_task(read_in_another_task(stream, chunks.append))
        await until(lambda: chunks)
        task.cancel()
        await asyncio.wait([task])
        note(chunks, task.cancelled(), stream.response.is_closed)

    slow = CHAT["stream"].answer.slower(pause=5)
    (span,) = same(lambda: observe(stand_in, "async", host, (slow,)))
    assert span.attributes["error.type"] == "CancelledError"
