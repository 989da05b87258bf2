"""How a host uses what a call gives it, written once for the sync and the async client.

Each way notes what it sees at each step, so that two runs can be compared.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import openai

from tests.support.scenarios import Scenario, reach

Note = Callable[..., None]
BASE_URL = "http://127.0.0.1:9/v1"


def client_of(kind: str, base_url: str = BASE_URL, **options: Any) -> Any:
    """Make a client that spends no time on certificates."""
    options = {"api_key": "sk-test", "base_url": base_url, "max_retries": 0, **options}
    if kind == "sync":
        options.setdefault("http_client", openai.DefaultHttpxClient(verify=False))
        return openai.OpenAI(**options)
    options.setdefault("http_client", openai.DefaultAsyncHttpxClient(verify=False))
    return openai.AsyncOpenAI(**options)


def run(kind: str, work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine; with the sync client nothing in it ever waits."""
    if kind == "async":
        return asyncio.run(work)
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    work.close()
    raise AssertionError("the sync client has waited")


async def settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread will make true."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # nobody there can set an event
            await asyncio.sleep(0.002)


@asynccontextmanager
async def entered(manager: Any) -> AsyncIterator[Any]:
    if hasattr(manager, "__aenter__"):
        async with manager as inside:
            yield inside
    else:
        with manager as inside:
            yield inside


async def each(stream: Any) -> AsyncIterator[Any]:
    if hasattr(stream, "__aiter__"):
        async for chunk in stream:
            yield chunk
    else:
        for chunk in stream:
            yield chunk


async def read_all(stream: Any, note: Note) -> None:
    note("stream", type(stream), sorted(vars(stream)))
    async for chunk in each(stream):
        note("chunk", chunk)
    note("closed", getattr(getattr(stream, "response", None), "is_closed", None))


async def call(client: Any, scenario: Scenario, *, via: str | None = None) -> Any:
    """Make the scenario's call, through `with_raw_response` or `with_streaming_response` if so asked."""
    owner, name = scenario.operation.method.rsplit(".", 1)
    target = reach(client, owner)
    method = getattr(getattr(target, via) if via else target, name)
    made = method(**scenario.asked)
    return await made if inspect.isawaitable(made) else made


async def use(client: Any, scenario: Scenario, note: Note) -> None:
    """Make a call and use its result to the end, in the way of the scenario's form."""
    await _FORMS[scenario.form](client, scenario, note)


async def _plain(client: Any, scenario: Scenario, note: Note) -> None:
    note_result(await call(client, scenario), note)


def note_result(result: Any, note: Note) -> None:
    if hasattr(result, "_iterator"):  # a stream that the form does not expect
        note("stream", type(result), sorted(vars(result)))
    elif hasattr(result, "iter_bytes"):  # a file: compared by what is in it
        note("file", type(result), result.content, result.response.headers.get("content-type"))
    else:
        note(
            "result",
            type(result),
            result,
            getattr(result, "_request_id", None),
            sorted(getattr(result, "__dict__", ())),
        )


async def _stream(client: Any, scenario: Scenario, note: Note) -> None:
    await read_all(await call(client, scenario), note)


async def _raw(client: Any, scenario: Scenario, note: Note) -> None:
    raw = await call(client, scenario, via="with_raw_response")
    note_head(raw, note)
    note_result(await settled(raw.parse()), note)
    again = await settled(raw.parse())
    note("again", again is await settled(raw.parse()), raw.text)


async def _raw_stream(client: Any, scenario: Scenario, note: Note) -> None:
    raw = await call(client, scenario, via="with_raw_response")
    note_head(raw, note)
    stream = await settled(raw.parse())
    await read_all(stream, note)
    note("again", stream is await settled(raw.parse()), sorted(vars(raw)))


async def _streaming(client: Any, scenario: Scenario, note: Note) -> None:
    async with entered(await call(client, scenario, via="with_streaming_response")) as response:
        note_head(response, note)
        note_result(await settled(response.parse()), note)
    note("closed", response.is_closed, await settled(response.read()))


async def _streaming_stream(client: Any, scenario: Scenario, note: Note) -> None:
    async with entered(await call(client, scenario, via="with_streaming_response")) as response:
        note_head(response, note)
        await read_all(await settled(response.parse()), note)
    note("closed", response.is_closed)


async def _helper(client: Any, scenario: Scenario, note: Note) -> None:
    async with entered(await call(client, scenario)) as events:
        note("helper", type(events))
        async for event in each(events):
            note("event", type(event), event)


def note_head(response: Any, note: Note) -> None:
    headers = [(name, value) for name, value in response.headers.items() if name != "date"]
    told = (response.status_code, response.retries_taken, response.request_id, response.is_closed, headers)
    note("response", type(response), told, repr(response), inspect.iscoroutinefunction(response.parse))
    note("parse", response.parse.__name__, response.parse.__self__ is response, str(inspect.signature(response.parse)))


_FORMS = {
    "plain": _plain,
    "stream": _stream,
    "raw": _raw,
    "raw_stream": _raw_stream,
    "streaming": _streaming,
    "streaming_stream": _streaming_stream,
    "helper": _helper,
}
