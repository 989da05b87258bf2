"""The demo: real calls of the real client to a stand-in, received, drawn and counted; no network but loop-back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast

from rich.console import Console
from rich.text import Text

from llm_otel_broadcast.cli.views.status import status_table
from llm_otel_broadcast.cli.views.traces import trace_trees
from llm_otel_broadcast.delivery.ledger import UNANSWERED
from llm_otel_broadcast.instrumentation import Handle, instrument
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.stand_in.answers import completion, error, message, stream, usage_of
from llm_otel_broadcast.stand_in.server import StandIn

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionMessageParam

# Enough to see that calls of one moment stay apart, few enough for one screen.
_BURST_CALLS: Final = 5
_RUN_ID: Final = secrets.token_hex(3)
"""Part of each trace id, as a second run would otherwise be added to the traces of the first."""
_SERVICE_NAME: Final = "llm-otel-broadcast-demo"
_FIRST_WAIT_S: Final = 2.0
"""For delivery before the traces are drawn: `--endpoint` may name a backend that is slow or dead."""
_FAILING_WAIT_S: Final = 4.0
_LATE_WAIT_S: Final = 1.0
"""Beyond the request's own timeout, for a backend that has not answered yet (MLflow's first answer takes 7 s)."""
_LAST_WAIT_S: Final = 0.5
_WEATHER: Final = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def run(console: Console, endpoint: str | None, headers: Mapping[str, str]) -> bool:
    """Make the calls, draw what arrived, and end with the figures of `status()`.

    Args:
        console: where to print.
        endpoint: a backend that gets the same traces, besides the embedded receiver.
        headers: HTTP headers for that backend.

    Returns:
        Whether every destination got everything.

    Raises:
        ConfigError: `endpoint` or `headers` are wrong.
    """
    backends = [Destination(name="your backend", endpoint=endpoint, headers=headers)] if endpoint else []
    # The destination in the demo is a real OTLP receiver in this process: what is drawn has been encoded, sent and decoded.
    with OtlpReceiver() as receiver, StandIn() as stand_in:
        embedded = Destination(name="embedded receiver", endpoint=receiver.endpoint)
        with instrument(
            # No spans in an app's own tracing, whatever this interpreter has set up: there is no app.
            destinations=[embedded, *backends],
            service_name=_SERVICE_NAME,
            app_spans=False,
            exit_timeout=_LAST_WAIT_S,
        ) as handle:
            console.print(
                Text.assemble(
                    ("Real calls of the openai client, and the traces that arrived\n", "bold"),
                    ("  the client calls    ", "dim"),
                    f"{stand_in.base_url}, a stand-in for the API\n",
                    ("  traces are sent to  ", "dim"),
                    f"{receiver.endpoint}, an OTLP receiver\n",
                )
            )
            with _without_proxy():
                _make_calls(stand_in)
                handle.flush(_FIRST_WAIT_S)
            for tree in trace_trees(receiver.store.traces()):
                console.print(tree)
                console.print()
            if any(lane.queued_records for lane in handle.status().destinations):
                console.print("waiting for your backend ...\n", style="dim")
                _wait_for_backend(handle, backends)
    status = handle.status()
    delivered = all(lane.delivered == lane.produced for lane in status.destinations)
    console.print(status_table(status))
    # A backend that has not answered in time may have everything: that is not called a loss.
    lost = any(set(lane.dropped) - {UNANSWERED} for lane in status.destinations)
    console.print(_closing(endpoint, delivered=delivered, lost=lost))
    return delivered


def _wait_for_backend(handle: Handle, backends: Sequence[Destination]) -> None:
    """Wait as long as a request may take; not so long for a backend whose request has failed."""
    started = time.monotonic()
    timeout = max((backend.timeout for backend in backends), default=0.0) + _LATE_WAIT_S
    while (elapsed := time.monotonic() - started) < timeout:
        waiting = [lane for lane in handle.status().destinations if lane.queued_records]
        if not waiting or (elapsed > _FAILING_WAIT_S and all(lane.last_error for lane in waiting)):
            return
        # Half a second at a time, to stop as soon as there is an answer or an error.
        handle.flush(0.5)


def _closing(endpoint: str | None, *, delivered: bool, lost: bool) -> Text:
    if not delivered:
        if not lost:
            return Text("\nYour backend has not answered in time; it may have everything.", "yellow")
        return Text("\nNot everything has arrived.", "red")
    if endpoint is not None:
        return Text(f"\nYour backend has the same now: look for the service {_SERVICE_NAME}.")
    command = "llm-otel-broadcast demo --endpoint URL --header KEY=VALUE"
    return Text.assemble("\nThe same into your backend:\n  ", (command, "bold"))


def _make_calls(stand_in: StandIn) -> None:
    from openai import APIStatusError, OpenAI

    # No retries: the call that is refused on purpose would be made three times.
    with OpenAI(api_key="demo", base_url=stand_in.base_url, max_retries=0) as client:
        # OpenRouter's own example of the `trace` object.
        client.chat.completions.create(
            model="openai/gpt-4o",
            messages=[{"role": "user", "content": "Hello!"}],
            user="user_12345",
            extra_body={
                "session_id": "session_abc",
                "trace": {
                    "trace_id": f"app_trace_{_RUN_ID}",
                    "trace_name": "Chat Handler",
                    "generation_name": "Generate Response",
                    "environment": "staging",
                    "deployment": "us-east-1",
                },
            },
        )
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello!"}])
        story = message("Once upon a time there was a trace that arrived in time.")
        # Words come with a pause, or time to the first chunk and duration would be the same.
        answer = stream(story, model="gpt-4o-mini", usage=usage_of(14, 13))
        stand_in.script(answer.slower(delay=0.12, pause=0.02))
        chunks = client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": "Tell me a story."}],
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"trace": {"generation_name": "Tell a story"}},
        )
        for _ in chunks:
            pass
        _agent(client, stand_in)
        # A failure belongs in the picture: it is the trace that people look for.
        stand_in.script(error(429, "Rate limit reached for gpt-4o", code="rate_limit_exceeded"))
        with contextlib.suppress(APIStatusError):
            client.chat.completions.create(
                model="gpt-4o",
                messages=[{"role": "user", "content": "Too many of us."}],
                extra_body={"trace": {"trace_name": "Rate limited"}},
            )

    asyncio.run(_burst(stand_in))


def _agent(client: OpenAI, stand_in: StandIn) -> None:
    """Have a tool called and an answer made from its result: two generations below one root."""
    # A name of OpenRouter's: its answers state the real cost, where the others' is estimated from list prices.
    model = "anthropic/claude-sonnet-4.5"
    tool_call = message(tool_calls=[("call_1", "get_weather", '{"city": "Paris"}')])
    first_usage = usage_of(412, 21, model=model, cached_tokens=256)
    answer = message("It is 21 degrees and sunny in Paris.")
    second_usage = usage_of(455, 12, model=model, cached_tokens=256)
    stand_in.script(
        completion(tool_call, model=model, usage=first_usage, provider="Anthropic").slower(delay=0.05),
        completion(answer, model=model, usage=second_usage, provider="Anthropic").slower(delay=0.04),
    )
    question: ChatCompletionMessageParam = {"role": "user", "content": "What is the weather in Paris?"}
    fields = {"trace_id": f"weather-{_RUN_ID}", "trace_name": "Weather agent"}
    first = client.chat.completions.create(
        model=model,
        messages=[question],
        tools=[_WEATHER],  # type: ignore[list-item]
        extra_body={"session_id": "session_weather", "trace": {**fields, "generation_name": "Choose a tool"}},
    )
    # The client takes its own answers back, which its types do not say.
    call = cast("ChatCompletionMessageParam", first.choices[0].message)
    result: ChatCompletionMessageParam = {"role": "tool", "tool_call_id": "call_1", "content": "21 degrees, sunny"}
    client.chat.completions.create(
        model=model,
        messages=[question, call, result],
        tools=[_WEATHER],  # type: ignore[list-item]
        extra_body={"session_id": "session_weather", "trace": {**fields, "generation_name": "Answer"}},
    )


async def _burst(stand_in: StandIn) -> None:
    from openai import AsyncOpenAI

    # Answered one after another, so that the spans of the tree can be told apart.
    answer = completion(message("A summary."), usage=usage_of(950, 40))
    stand_in.script(*(answer.slower(delay=0.03 * (number + 1)) for number in range(_BURST_CALLS)))
    async with AsyncOpenAI(api_key="demo", base_url=stand_in.base_url, max_retries=0) as client:
        await asyncio.gather(
            *(
                client.chat.completions.create(
                    model="gpt-4o-mini",
                    messages=[{"role": "user", "content": f"Summarise page {number}."}],
                    extra_body={
                        "trace": {
                            "trace_id": f"burst-{_RUN_ID}",
                            "trace_name": "Summarise five pages at once",
                            "generation_name": f"Page {number}",
                        }
                    },
                )
                for number in range(1, _BURST_CALLS + 1)
            )
        )


@contextlib.contextmanager
def _without_proxy() -> Iterator[None]:
    """Keep a proxy of the environment away from calls on the loop-back address."""
    # A company's HTTP_PROXY would get the calls to 127.0.0.1, and answer them with an error of its own.
    names = ("NO_PROXY", "no_proxy")
    values = {name: os.environ.get(name) for name in names}
    for name in names:
        os.environ[name] = ",".join(filter(None, [values[name], "127.0.0.1"]))
    try:
        yield
    finally:
        for name, value in values.items():
            # As before, also where there was no such variable: the program goes on after the demo.
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
