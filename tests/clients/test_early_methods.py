"""Methods that the program got hold of before recording was switched on: each call is recorded, however it is kept.

The client caches `with_raw_response` and `with_streaming_response`, which keep the bound method; LangChain calls that way.
"""

from __future__ import annotations

import asyncio
import inspect
from operator import attrgetter
from typing import Any

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast.clients.openai.targets import ROUTES
from llm_otel_broadcast.stand_in.answers import message, stream, usage_of
from tests.support.client_calls import KINDS, MESSAGES
from tests.support.operations import OPERATIONS

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
CALLS: dict[str, dict[str, Any]] = {
    **OPERATIONS,
    "embeddings.create": {**OPERATIONS["embeddings.create"], "encoding_format": "float"},
    "chat.completions.create": {"model": "gpt-4o-mini", "messages": MESSAGES},
    "responses.create": {"model": "gpt-4o-mini", "input": "Hello!"},
    "responses.retrieve": {"response_id": "resp_1"},
    "responses.compact": {"model": "gpt-4o-mini", "input": "Hello!"},
    "decisions.create": {"model": "m", "input": "Hi", "questions": [{"type": "predicate", "question": "Is it spam?"}]},
    "beta.responses.create": {"model": "gpt-4o-mini", "input": "Hello!"},
    "beta.responses.retrieve": {"response_id": "resp_1"},
    "beta.responses.compact": {"model": "gpt-4o-mini", "input": "Hello!"},
}
CHAT = CALLS["chat.completions.create"]
WAYS = (
    "method",
    "with_raw_response",
    "with_streaming_response",
    "client.with_raw_response",
    "client.with_streaming_response",
)
CHANGING = ("gen_ai.response.id", "gen_ai.response.time_to_first_chunk", "server.port")


class Client:
    """A client of one kind, and calls with whatever the caller has got of it."""

    def __init__(self, kind: str, base_url: str) -> None:
        maker = openai.OpenAI if kind == "sync" else openai.AsyncOpenAI
        http = (openai.DefaultHttpxClient if kind == "sync" else openai.DefaultAsyncHttpxClient)(verify=False)
        self.client = maker(api_key="sk-test", base_url=base_url, max_retries=0, http_client=http)
        self._runner = asyncio.Runner() if kind == "async" else None

    def method(self, operation: str, way: str = "method") -> Any:
        """Return what calls an operation in one of the ways; look it up, which is when the client caches it."""
        resource, _, name = operation.rpartition(".")
        if way.startswith("client."):
            found = attrgetter(f"{way.removeprefix('client.')}.{resource}")(self.client)
        else:
            found = attrgetter(resource)(self.client)
            found = found if way == "method" else getattr(found, way)
        return getattr(found, name)

    def call(self, method: Any, **asked: Any) -> Any:
        return self._runner.run(self._call(method, asked)) if self._runner else _drive(self._call(method, asked))

    async def _call(self, method: Any, asked: dict[str, Any]) -> Any:
        result = method(**asked)
        if hasattr(result, "__aenter__"):
            async with result as response:
                return await self._parsed(response)
        if hasattr(result, "__enter__"):
            with result as response:
                return await self._parsed(response)
        result = await result if inspect.isawaitable(result) else result
        return await self._parsed(result) if hasattr(result, "http_response") else result

    async def _parsed(self, response: Any) -> Any:
        parsed = response.parse()
        parsed = await parsed if inspect.isawaitable(parsed) else parsed
        if hasattr(parsed, "__anext__"):
            return [chunk async for chunk in parsed]
        return list(parsed) if hasattr(parsed, "__next__") else parsed

    def close(self) -> None:
        if self._runner:
            self._runner.run(self.client.close())
            self._runner.close()
        else:
            self.client.close()


def _drive(coroutine: Any) -> Any:
    """Run what never really waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the synchronous client waited")


@pytest.fixture(params=KINDS)
def made(request, stand_in):
    client = Client(request.param, stand_in.base_url)
    yield client
    client.close()


def facts(span):
    return span.name, {key: value for key, value in span.attributes.items() if key not in CHANGING}


def test_every_endpoint_of_the_table_is_tried():
    assert {f"{route.resource}" for route in ROUTES} == {name.rpartition(".")[0] for name in CALLS}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("operation", CALLS)
def test_a_method_from_before_is_recorded_as_one_from_after(made, instrumented, arrived, operation, way):
    try:
        early = made.method(operation, way)
    except AttributeError:
        pytest.skip(f"openai {openai.__version__} has no {operation}")
    instrumented()
    made.call(early, **CALLS[operation])
    fresh = made.client.with_options()
    made.client, before = fresh, made.client
    made.call(made.method(operation, way), **CALLS[operation])
    made.client = before
    first, second = map(facts, arrived(2))
    assert first == second
    assert first[1]["gen_ai.provider.name"] == "127.0.0.1"


@pytest.mark.parametrize("way", ["with_raw_response", "with_streaming_response"])
def test_a_stream_of_an_early_wrapper_is_recorded_when_it_ends(made, stand_in, instrumented, arrived, way):
    stand_in.script(stream(message("Early words."), usage=usage_of(3, 2)))
    early = made.method("chat.completions.create", way)
    instrumented()
    assert len(made.call(early, **CHAT, stream=True)) > 2
    (span,) = arrived(1)
    assert "Early words." in span.attributes["gen_ai.output.messages"]
    assert span.attributes["gen_ai.usage.input_tokens"] == 3


def test_an_early_wrapper_counts_for_the_client_it_belongs_to(made, stand_in, instrumented, arrived):
    early = made.method("chat.completions.create", "with_raw_response")
    other = openai.OpenAI(api_key="sk-test", base_url=stand_in.base_url)
    elsewhere = other.chat.completions.with_raw_response.create
    instrumented(client=made.client)
    made.call(early, **CHAT)
    elsewhere(**CHAT)
    other.close()
    arrived(1)


def test_an_early_wrapper_is_recorded_once_after_recording_was_off_for_a_while(made, instrumented, arrived):
    early = made.method("chat.completions.create", "with_raw_response")
    instrumented()
    during = made.method("chat.completions.create", "client.with_raw_response")
    made.call(early, **CHAT)
    arrived(1)
    llm_otel_broadcast.uninstrument()
    made.call(early, **CHAT)
    made.call(during, **CHAT)
    arrived(1)
    instrumented()
    made.call(early, **CHAT)
    made.call(during, **CHAT)
    arrived(3)


def test_trace_fields_of_an_early_wrapper_are_read_and_stay_out_of_the_request(made, stand_in, instrumented, arrived):
    early = made.method("chat.completions.create", "with_raw_response")
    instrumented()
    made.call(early, **CHAT, extra_body={"trace": {"generation_name": "Early"}, "session_id": "s-1", "top_k": 3})
    (span,) = arrived(1)
    assert (span.name, span.attributes["session.id"]) == ("Early", "s-1")
    assert stand_in.requests[0].json == {**CHAT, "top_k": 3}


def test_an_error_of_an_early_wrapper_leaves_as_it_would(made, instrumented, arrived):
    asked = {**CHAT, "messages": [{"role": "user", "content": "trigger error"}]}
    early = made.method("chat.completions.create", "with_raw_response")
    instrumented()
    with pytest.raises(openai.BadRequestError) as caught:
        made.call(early, **asked)
    frames = []
    trace = caught.value.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame.f_globals.get("__name__", ""))
        trace = trace.tb_next
    assert not [name for name in frames if name.startswith("llm_otel_broadcast")]
    assert arrived(1)[0].attributes["http.response.status_code"] == 400
