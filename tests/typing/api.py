"""The public types as a user meets them. Never run: `mypy --strict` reads it (`test_api.py`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, assert_type

from llm_otel_broadcast import (
    BroadcastSpanProcessor,
    Destination,
    GenerationHandle,
    Handle,
    Status,
    TraceHandle,
    current_generation,
    current_trace_fields,
    derive_span_id,
    derive_trace_id,
    flush,
    instrument,
    propagate,
    status,
    trace_context,
    traced,
    traced_generation,
)


class Request:
    session: str = "s"


class Ask(Protocol):
    """What every decorated function below still is: its parameters, their names and kinds are checked by mypy."""

    def __call__(self, question: str, /, times: int = 1, *, request: Request) -> str: ...


class AskLater(Protocol):
    def __call__(self, question: str, /, times: int = 1, *, request: Request) -> Coroutine[Any, Any, str]: ...


@traced_generation
def bare(question: str, /, times: int = 1, *, request: Request) -> str:
    return question * times


@traced
def step(question: str, /, times: int = 1, *, request: Request) -> str:
    return question * times


@traced(kind="tool", name="ask", session_id=lambda request: request.session, capture=("question",), tier=3)
def tool(question: str, /, times: int = 1, *, request: Request) -> str:
    return question * times


@traced_generation(
    generation_name="Generate Response",
    trace_name="Chat Handler",
    session_id=lambda request: request.session,
    user="u",
    capture=("question",),
    environment="staging",
    tier=3,
)
def with_fields(question: str, /, times: int = 1, *, request: Request) -> str:
    return question * times


@trace_context(trace_name="Chat Handler", environment="staging")
def in_context(question: str, /, times: int = 1, *, request: Request) -> str:
    return question * times


@propagate
def carried(question: str, /, times: int = 1, *, request: Request) -> str:
    return question * times


@traced_generation(span_name="later")
@trace_context(session_id="s")
async def later(question: str, /, times: int = 1, *, request: Request) -> str:
    return question * times


@traced_generation
def pieces(question: str) -> Iterator[str]:
    yield question


@traced_generation()
async def async_pieces(question: str) -> AsyncIterator[str]:
    yield question


ask: Ask = bare
ask = with_fields
ask = in_context
ask = carried
ask_later: AskLater = later
ask_later = propagate(later)


class Service:
    @traced_generation
    def method(self, question: str) -> int:
        return len(question)

    @classmethod
    @traced_generation(span_name="of class")
    def of_class(cls, question: str) -> int:
        return len(question)

    @staticmethod
    @traced_generation
    def static(question: str) -> int:
        return len(question)

    @property
    @traced_generation
    def read(self) -> int:
        return 1


assert_type(bare("a", 2, request=Request()), str)
assert_type(step("a", 2, request=Request()), str)
assert_type(tool("a", 2, request=Request()), str)
assert_type(pieces("a"), Iterator[str])
assert_type(async_pieces("a"), AsyncIterator[str])
assert_type(Service().method("a"), int)
assert_type(Service.of_class("a"), int)
assert_type(Service.static("a"), int)
assert_type(Service().read, int)

bare("a", "2", request=Request())  # type: ignore[arg-type]
with_fields("a")  # type: ignore[call-arg]
step("a")  # type: ignore[call-arg]
traced(kind="tol")  # type: ignore[call-overload]
in_context(question="a", request=Request())  # type: ignore[call-arg]
Service().method(1)  # type: ignore[arg-type]
trace_context("Chat Handler")  # type: ignore[call-arg]
trace_context(trace_name=5)  # type: ignore[arg-type]
traced_generation(capture=5)  # type: ignore[call-overload]


def with_handles() -> None:
    with trace_context(trace_name="Chat Handler", session_id="s", privacy=True, anything=object()) as handle:
        assert_type(handle, TraceHandle)
        assert_type(handle.trace_id, str | None)
        assert_type(handle.span_id, str | None)
        handle.set(customer=42)
        handle.record(model="m", input_tokens=1, cost=0.5, output={"any": "thing"})
        handle.record(model=5)  # type: ignore[arg-type]
        handle.record(tokens=5)  # type: ignore[call-arg]
    assert_type(current_generation(), GenerationHandle)
    current_generation().record(finish_reason="stop")
    assert_type(current_trace_fields(), dict[str, Any])


def an_exception_in_a_block_goes_on() -> int:
    """mypy would complain of a missing return if the context could swallow it."""
    with trace_context():
        return 1


async def an_exception_in_an_async_block_goes_on() -> int:
    async with trace_context() as handle:
        assert_type(handle, TraceHandle)
        return 1


async def kinds() -> None:
    assert_type(await later("a", request=Request()), str)
    async for piece in async_pieces("a"):
        assert_type(piece, str)
    awaitable: Awaitable[str] = later("a", request=Request())
    await awaitable


def in_an_executor(pool: ThreadPoolExecutor, work: Callable[[int], str]) -> None:
    assert_type(pool.submit(propagate(work), 1).result(), str)
    assert_type(list(pool.map(propagate(work), [1, 2])), list[str])


def around_it() -> None:
    made = instrument(destinations=[Destination(endpoint="http://localhost:4318")], trace_defaults={"a": 1})
    assert_type(made, Handle)
    assert_type(flush(), bool)
    assert_type(status(), Status)
    assert_type(derive_trace_id("a"), int)
    assert_type(derive_span_id("a"), int)


def instrumenting() -> None:
    assert_type(instrument(endpoint="http://localhost:4318", sampling_rate=0.5, exit_timeout=1.0), Handle)
    settings: dict[str, Any] = {"endpoint": "http://localhost:4318"}
    instrument(**settings)
    instrument(endpoint=None, headers={"x": "y"}, hide={"inputs"}, hash_user=True)
    instrument(endpont="http://localhost:4318")  # type: ignore[call-arg]
    instrument(sampling_rate="all")  # type: ignore[arg-type]
    instrument(encoding="xml")  # type: ignore[arg-type]
    instrument("http://localhost:4318")  # type: ignore[call-arg, arg-type]
    BroadcastSpanProcessor(endpoint="http://localhost:4318", certificate="ca.pem", all_spans=True)
    BroadcastSpanProcessor(name="mine")  # type: ignore[call-arg]
