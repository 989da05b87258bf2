"""Nothing of ours is current while control is with the host, and each call keeps to its own task and thread."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.parity.memory import http_client
from tests.parity.observation import changes, observe
from tests.support.client_calls import MESSAGES
from tests.support.host_usage import call, client_of, each, entered, run, settled, use
from tests.support.scenarios import CHAT, OPERATIONS, SCENARIOS, Scenario

PARSE = [operation for operation in OPERATIONS if operation.name == "parse"]
ASKED = {"model": "gpt-4o-mini", "messages": MESSAGES}


@pytest.fixture
def app():
    """The app's own tracing: a provider, and what it has exported."""
    memory, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    yield provider, memory
    provider.shutdown()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_with_a_provider_of_the_apps_a_host_sees_the_same_too(kind, scenario, app, stand_in, same):
    """P5: nothing is current that was not current before."""
    provider, memory = app
    answers = (scenario.answer,)
    spans = same(
        lambda: observe(stand_in, kind, lambda client, note: use(client, scenario, note), answers),
        tracer_provider=provider,
    )
    courtesy = memory.get_finished_spans()
    assert [f"{span.context.span_id:016x}" for span in courtesy] == [span.span_id for span in spans]


@pytest.mark.parametrize("operation", PARSE, ids=lambda operation: operation.name)
def test_no_context_variable_of_ours_is_left_behind(kind, operation, stand_in, same):
    """`parse` keeps what it goes through from being counted: with a variable that is taken back."""

    async def host(client, note):
        before = contextvars.copy_context()
        await use(client, Scenario(operation, "plain"), note)
        note(changes(before))

    same(lambda: observe(stand_in, kind, host, (operation.whole,)))


@pytest.mark.parametrize("with_provider", [False, True])
@pytest.mark.parametrize("ending", ["read", "close", "drop"])
def test_a_stream_travels_between_tasks_without_a_word(
    ending, with_provider, app, stand_in, instrumented, arrived, caplog
):
    """P4: made in task A, read in B, closed or dropped in C."""
    provider = app[0]
    instrumented(**({"tracer_provider": provider} if with_provider else {}))

    async def work() -> None:
        client = client_of("async", stand_in.base_url)
        box = []

        async def make() -> None:
            with provider.get_tracer("app").start_as_current_span("A"):
                box.append(await client.chat.completions.create(**ASKED, stream=True))

        async def read() -> None:
            with provider.get_tracer("app").start_as_current_span("B"):
                before = context.get_current()
                await box[0].__anext__()
                assert context.get_current() == before

        async def end() -> None:
            stream = box.pop()
            if ending == "read":
                async for _ in stream:
                    pass
            elif ending == "close":
                await stream.close()
            del stream
            gc.collect()

        for step in (make, read, end):
            await asyncio.create_task(step())
        await client.close()

    with caplog.at_level(logging.DEBUG, "opentelemetry"):
        asyncio.run(work())
        gc.collect()
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]
    assert len(arrived()) == 1


@pytest.mark.parametrize("with_provider", [False, True])
def test_a_stream_travels_between_threads_without_a_word(with_provider, app, stand_in, instrumented, arrived, caplog):
    instrumented(**({"tracer_provider": app[0]} if with_provider else {}))
    client = client_of("sync", stand_in.base_url)
    box = []

    def make() -> None:
        box.append(client.chat.completions.create(**ASKED, stream=True))

    def read() -> None:
        next(box[0])

    def close() -> None:
        box.pop().close()

    with caplog.at_level(logging.DEBUG, "opentelemetry"):
        for step in (make, read, close):
            thread = threading.Thread(target=contextvars.copy_context().run, args=(step,))
            thread.start()
            thread.join()
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]
    assert len(arrived(1)) == 1
    client.close()


def test_later_calls_do_not_hang_below_a_stream_that_is_open(kind, stand_in, app, instrumented, arrived):
    """P5."""
    provider = app[0]
    instrumented(tracer_provider=provider)

    async def work() -> None:
        client = client_of(kind, stand_in.base_url)
        with provider.get_tracer("app").start_as_current_span("request"):
            stream = await call(client, CHAT["stream"])
            await call(client, CHAT["plain"])
            async for _ in each(stream):
                await call(client, CHAT["plain"])
        await settled(client.close())

    run(kind, work())
    spans = arrived()
    assert len(spans) > 3
    assert len({span.parent_span_id for span in spans}) == 1


def test_a_context_that_somebody_leaves_behind_in_the_call_is_kept_without_our_span(kind, stand_in, app, same):
    """A host's hook that attaches baggage and never takes it back: later calls are not to hang below this one."""

    async def host(client, note):
        def leave_baggage(_request) -> None:
            context.attach(baggage.set_baggage("tenant", "blue"))

        async def leave_baggage_async(request) -> None:
            leave_baggage(request)

        hook = leave_baggage if kind == "sync" else leave_baggage_async
        client._client.event_hooks = {"request": [hook], "response": []}
        await use(client, CHAT["plain"], note)
        note(baggage.get_all(), trace.get_current_span().get_span_context())
        client._client.event_hooks = {"request": [], "response": []}

    def observed():
        return contextvars.copy_context().run(observe, stand_in, kind, host, (CHAT["plain"].answer,))

    same(observed)
    same(observed, tracer_provider=app[0])


def test_500_calls_at_once_keep_their_fields_and_parents_apart(app, instrumented, arrived):
    """Each call's parent is the span of its own task, each span's metadata that of its own call."""
    provider = app[0]

    def answer(request):
        return CHAT["stream" if json.loads(request.content).get("stream") else "plain"].answer

    instrumented()
    expected = {}

    async def ask(client, number) -> None:
        with provider.get_tracer("app").start_as_current_span(f"task {number}") as span:
            expected[number] = f"{span.get_span_context().span_id:016x}"
            before = context.get_current()
            body = {"trace": {"number": number}, "session_id": f"session {number}"}
            made = await client.chat.completions.create(**ASKED, stream=number % 2 == 0, extra_body=body)
            assert context.get_current() == before
            if number % 2 == 0:
                async with entered(made):
                    async for _ in made:
                        assert context.get_current() == before
            assert trace.get_current_span() is span

    async def work() -> None:
        async with client_of("async", http_client=http_client("async", answer)) as client:
            await asyncio.gather(*(ask(client, number) for number in range(500)))

    asyncio.run(work())
    spans = arrived(500)
    assert {span.attributes["trace.metadata.number"]: span.parent_span_id for span in spans} == expected
    assert all(span.attributes["session.id"] == f"session {span.attributes['trace.metadata.number']}" for span in spans)


def test_50_threads_keep_their_fields_and_parents_apart(stand_in, app, instrumented, arrived):
    provider = app[0]
    instrumented()
    expected = {}
    together = threading.Barrier(50)

    def ask(number: int) -> None:
        with client_of("sync", stand_in.base_url) as client:
            together.wait(20)
            for turn in range(4):
                with provider.get_tracer("app").start_as_current_span("thread") as span:
                    expected[number, turn] = f"{span.get_span_context().span_id:016x}"
                    body = {"trace": {"number": number, "turn": turn}}
                    made = client.chat.completions.create(**ASKED, stream=turn % 2 == 0, extra_body=body)
                    if turn % 2 == 0:
                        list(made)
                    assert trace.get_current_span() is span

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(ask, range(50)))
    facts = [(span.attributes, span.parent_span_id) for span in arrived(200)]
    found = {(said["trace.metadata.number"], said["trace.metadata.turn"]): parent for said, parent in facts}
    assert found == expected
