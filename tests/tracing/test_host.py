"""The host comes first: whatever happens to us, the program runs as it would without us."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import subprocess
import sys
import traceback

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

import llm_otel_broadcast
from llm_otel_broadcast import (
    Destination,
    current_generation,
    current_trace_fields,
    propagate,
    trace_context,
    traced_generation,
)
from llm_otel_broadcast.host import guard
from llm_otel_broadcast.record.function_content import FunctionContent
from llm_otel_broadcast.runtime import observer
from llm_otel_broadcast.runtime.observer import CallObserver
from llm_otel_broadcast.tracing import context_spans, placement
from llm_otel_broadcast.tracing import scope as scopes
from llm_otel_broadcast.tracing.reported import Facts
from llm_otel_broadcast.tracing.scope import current_scope
from tests.support.client_calls import chat

RESULT = object()


class Failing(Exception): ...


def in_block(work):
    with trace_context(trace_name="Request", span_name="Step", team="red") as handle:
        handle.set(late=1)
        handle.record(model="llama")
        return work()


def in_function(work):
    return traced_generation(trace_name="Root", session_id=lambda given: given)(lambda given: work())("session")


def in_coroutine(work):
    @traced_generation
    async def made():
        async with trace_context(trace_name="Request"):
            await asyncio.sleep(0)
            return work()

    return asyncio.run(made())


def in_generator(work):
    @traced_generation
    def made():
        yield "first"
        yield work()

    return list(made())[-1]


def in_async_generator(work):
    @traced_generation
    async def made():
        yield "first"
        yield work()

    async def read():
        return [one async for one in made()][-1]

    return asyncio.run(read())


def propagated(work):
    with trace_context(trace_name="Request"):
        return propagate(work)()


ROUND = (in_block, in_function, in_coroutine, in_generator, in_async_generator, propagated)


@pytest.fixture(params=ROUND, ids=lambda one: one.__name__)
def around(request):
    return request.param


@pytest.fixture
def as_in_production(monkeypatch):
    """Errors of ours are swallowed, as they are for users."""
    monkeypatch.setattr(guard, "raise_again", False)


def break_(monkeypatch, owner, name):
    def broken(*_args, **_kwargs):
        raise RuntimeError(f"{name} is broken")

    monkeypatch.setattr(owner, name, broken)


BROKEN = [
    (observer, "merge"),
    (context_spans, "parent_ids"),
    (context_spans, "new_span_id"),
    (context_spans, "EnclosingSpan"),
    (context_spans.ContextSpans, "hand_over"),
    (CallObserver, "fields_within"),
    (CallObserver, "enclosing_span_opened"),
    (CallObserver, "enclosing_span_closed"),
    (CallObserver, "reported"),
    (FunctionContent, "add_piece"),
    (Facts, "generation"),
]


@pytest.mark.usefixtures("as_in_production")
@pytest.mark.parametrize("broken", BROKEN, ids=lambda one: one[1])
def test_an_error_of_ours_reaches_nobody_and_leaves_nothing_behind(monkeypatch, instrumented, broken, caplog):
    instrumented()
    before = otel_context.get_current()
    break_(monkeypatch, *broken)
    with caplog.at_level(logging.CRITICAL, "llm_otel_broadcast"):
        for around in ROUND:
            assert around(lambda: RESULT) is RESULT, around
            with pytest.raises(Failing):
                around(fail)
            assert current_scope() is None
            assert otel_context.get_current() == before
    assert guard.errors


def fail():
    raise Failing("as ever")


@pytest.mark.parametrize("on", [True, False], ids=["instrumented", "not instrumented"])
def test_the_same_result_and_the_same_exception_come_out_and_nothing_stays(quietly, around, on):
    if on:
        quietly()
    before, contextvars_before = otel_context.get_current(), scopes._current.get()
    assert around(lambda: RESULT) is RESULT
    error = Failing("as ever")
    error.__cause__ = cause = KeyError("cause")

    def raise_it():
        raise error

    with pytest.raises(Failing) as caught:
        around(raise_it)
    assert caught.value is error
    assert (error.__cause__, error.__context__) == (cause, None)
    assert scopes._current.get() is contextvars_before
    assert otel_context.get_current() == before


def test_the_traceback_of_an_exception_that_leaves_a_block_has_no_frame_of_ours(quietly):
    quietly()
    with pytest.raises(Failing) as caught, trace_context(trace_name="Request"):
        fail()
    assert [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)] == [
        inspect.currentframe().f_code.co_name,
        "fail",
    ]
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_what_is_no_exception_leaves_too(instrumented, arrived, error):
    instrumented()
    with pytest.raises(error), trace_context(trace_name="Request"):
        raise error
    assert arrived(1)[0].attributes.get("error.type") == (None if error is GeneratorExit else error.__qualname__)


def test_a_span_that_the_program_leaves_current_stays_current(quietly):
    quietly()
    theirs = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))
    token = otel_context.attach({})
    try:
        with trace_context(trace_name="Request"):
            otel_context.attach(trace.set_span_in_context(theirs))
        assert trace.get_current_span() is theirs
        otel_context.attach({})
        with trace_context(trace_name="Request"):
            otel_context.attach(otel_context.set_value("theirs", 1))
        assert otel_context.get_value("theirs") == 1
        assert not trace.get_current_span().get_span_context().is_valid
    finally:
        otel_context.detach(token)


class Odd:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __eq__ = __bool__ = __len__ = __str__
    __hash__ = object.__hash__

    @property
    def __float__(self):
        raise RuntimeError("no number")


@pytest.mark.usefixtures("as_in_production")
def test_the_oddest_objects_pass_through(instrumented, arrived):
    instrumented()
    odd, error = Odd(), Failing(Odd())

    @traced_generation(session_id=lambda value: value, user=odd, odd=odd)
    def echo(value, more=()):
        with trace_context(trace_name=odd, span_name=odd, trace_id=odd, privacy=odd, odd=odd) as handle:
            handle.set(odder=odd)
            handle.record(input=odd, output=odd)
            current_trace_fields()
        current_generation().record(output=odd)
        return value

    @traced_generation
    def lament(value):
        yield value
        raise error

    assert echo(odd, more={odd: odd}) is odd
    made = lament(odd)
    assert next(made) is odd
    with pytest.raises(Failing) as caught:
        next(made)
    assert caught.value is error
    assert arrived()
    assert not guard.errors


@pytest.mark.usefixtures("as_in_production")
def test_an_app_provider_that_fails_costs_the_courtesy_span_only(stand_in, instrumented, arrived, around, caplog):
    class Provider:
        resource = None

        def get_tracer(self, *_args, **_kwargs):
            raise RuntimeError("no tracer")

    instrumented(tracer_provider=Provider())
    with caplog.at_level(logging.CRITICAL, "llm_otel_broadcast"):
        assert around(lambda: (chat("sync", stand_in.base_url), RESULT)[1] if around is in_block else RESULT) is RESULT
    assert arrived()
    assert current_scope() is None


def test_a_fields_function_that_fails_is_said_once_without_its_text(instrumented, caplog):
    instrumented()

    def reveal(question):
        raise ValueError(question)

    @traced_generation(session_id=reveal)
    def answer(question):
        return question

    with caplog.at_level(logging.WARNING, "llm_otel_broadcast"):
        assert [answer("the launch code") for _ in range(3)] == ["the launch code"] * 3
    (told,) = caplog.records
    assert "session_id= of @traced_generation on" in told.getMessage()
    assert "launch code" not in caplog.text


class Nowhere(SpanExporter):
    def export(self, spans):
        return SpanExportResult.SUCCESS


def test_thousands_of_decorated_calls_leave_no_memory_behind():
    llm_otel_broadcast.instrument(destinations=[Destination(exporter=Nowhere())])

    @traced_generation(generation_name="local", session_id=lambda number: f"session-{number}")
    def work(number: int) -> str:
        current_generation().record(model="llama", input_tokens=number, output_tokens=1)
        return "x" * 1_000

    def held_after(calls: int) -> int:
        for number in range(calls):
            work(number)
            if not number % 1_000:
                assert llm_otel_broadcast.flush(10.0)
        assert llm_otel_broadcast.flush(10.0)
        # the thread holds its last batch until the next, and on a busy machine that may be a thousand
        work(calls)
        assert llm_otel_broadcast.flush(10.0)
        gc.collect()
        return sys.getallocatedblocks()

    with trace_context(trace_name="An endless block"):
        before = held_after(1_000)
        assert held_after(10_000) - before < 5_000
    assert llm_otel_broadcast.status().destinations[0].delivered == 11_002


def test_roots_of_their_own_are_remembered_up_to_a_bound(monkeypatch):
    placement.roots.clear()
    monkeypatch.setattr(placement.roots._enclosing_spans, "max_entries", 10)
    for number in range(50):
        with trace_context(trace_id=f"trace-{number}", trace_name="Request"):
            pass
    assert len(placement.roots._enclosing_spans) == 10


def test_importing_the_public_names_imports_neither_the_client_nor_anything_heavy():
    program = (
        "import sys\n"
        "import opentelemetry.baggage, opentelemetry.propagate, opentelemetry.trace\n"
        "before = set(sys.modules)\n"  # some versions of OpenTelemetry's API import asyncio themselves
        "from llm_otel_broadcast import current_generation, current_trace_fields, propagate, trace_context, traced_generation\n"
        "f = traced_generation(trace_context(trace_name='x')(lambda: 1))\n"
        "assert f() == 1\n"
        "heavy = {'openai', 'genai_prices', 'click', 'rich', 'urllib3', 'httpx', 'opentelemetry.sdk', 'asyncio'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


def test_calls_are_what_they_were_inside_all_of_it(stand_in, instrumented):
    without = chat("sync", stand_in.base_url)
    instrumented()
    with trace_context(trace_name="Request"):
        answer = traced_generation(lambda: chat("sync", stand_in.base_url))()
    assert type(answer) is type(without)
    assert stand_in.requests[0].json == stand_in.requests[1].json


def test_a_filter_of_the_hosts_log_that_fails_fails_no_decorated_call(instrumented, arrived):
    def refuse(_record):
        raise ZeroDivisionError

    def fail():
        raise ValueError

    instrumented()
    log = logging.getLogger("llm_otel_broadcast")
    log.addFilter(refuse)
    try:
        assert traced_generation(user=fail)(lambda: 5)() == 5
    finally:
        log.removeFilter(refuse)
    arrived(1)
