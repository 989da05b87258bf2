"""The app's own span of a raw response has what the answer says, and ends when the call did, parsed by the caller or not."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import subprocess
import sys
import time
import weakref

import openai
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import llm_otel_broadcast
from llm_otel_broadcast.stand_in.server import StandIn
from tests.support.client_calls import MESSAGES

ASKED = {"model": "gpt-4o-mini", "messages": MESSAGES}
WAYS = ("with_raw_response", "with_streaming_response")


@pytest.fixture
def memory():
    return InMemorySpanExporter()


@pytest.fixture
def provider(memory):
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(memory))
    yield made
    made.shutdown()


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


def call(kind, base_url, way, use):
    """Make a call in one of the ways and use the response: returns what `use` does, and when the call was over."""

    async def settle(value):
        return await value if inspect.isawaitable(value) else value

    async def work():
        maker = openai.OpenAI if kind == "sync" else openai.AsyncOpenAI
        client = maker(api_key="sk-test", base_url=base_url, max_retries=0)
        try:
            made = getattr(client.chat.completions, way).create(**ASKED)
            if way == "with_raw_response":
                return await settle(use(await settle(made))), time.time_ns()
            if kind == "sync":
                with made as response:
                    return use(response), time.time_ns()
            async with made as response:
                return await settle(use(response)), time.time_ns()
        finally:
            await settle(client.close())

    return asyncio.run(work())


def ended(memory, count=1):
    deadline = time.monotonic() + 10
    while len(memory.get_finished_spans()) < count and time.monotonic() < deadline:
        time.sleep(0.005)
    return memory.get_finished_spans()


def assert_whole(span):
    assert span.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert span.attributes["gen_ai.response.model"] == "gpt-4o-mini"
    assert span.attributes["gen_ai.usage.total_tokens"] > 0


def test_a_caller_who_parses_has_the_facts_on_the_span_at_once(kind, way, stand_in, provider, memory, instrumented):
    instrumented(tracer_provider=provider)
    seen = []

    async def later(parsed):
        return look(await parsed)

    def look(parsed):
        seen.extend(memory.get_finished_spans())
        return parsed

    def parse(response):
        parsed = response.parse()
        return later(parsed) if inspect.isawaitable(parsed) else look(parsed)

    answer, returned_ns = call(kind, stand_in.base_url, way, parse)
    assert answer.choices[0].message.content.startswith("Hello!")
    (span,) = seen
    assert_whole(span)
    assert span.start_time < span.end_time <= returned_ns


def test_a_caller_who_never_parses_has_them_soon_after_with_the_time_of_the_call(
    kind, way, stand_in, provider, memory, instrumented
):
    instrumented(tracer_provider=provider)
    read = (lambda response: None) if way == "with_raw_response" else (lambda response: response.read())
    _, returned_ns = call(kind, stand_in.base_url, way, read)
    (span,) = ended(memory)
    assert_whole(span)
    assert span.end_time <= time.time_ns()
    assert span.end_time - returned_ns < 50_000_000


def test_an_answer_parsed_into_a_type_of_the_callers_own_has_all_the_facts(client, provider, memory, instrumented):
    instrumented(tracer_provider=provider)
    raw = client.chat.completions.with_raw_response.create(**ASKED)
    kind = type("Own", (openai.BaseModel,), {"__annotations__": {"id": str}})
    assert raw.parse(to=kind).id
    assert_whole(ended(memory)[0])


def test_parsing_again_gives_the_very_same_answer(client, provider, instrumented):
    instrumented(tracer_provider=provider)
    raw = client.chat.completions.with_raw_response.create(**ASKED)
    assert raw.parse() is raw.parse()
    assert type(raw._parsed_by_type) is dict


def test_what_is_broadcast_is_the_same_whether_parsed_or_not(client, provider, instrumented, arrived):
    instrumented(tracer_provider=provider)
    client.chat.completions.with_raw_response.create(**ASKED).parse()
    client.chat.completions.with_raw_response.create(**ASKED)
    parsed, unparsed = [
        {name: value for name, value in span.attributes.items() if name != "gen_ai.response.id"} for span in arrived(2)
    ]
    assert parsed == unparsed
    assert "Hello!" in parsed["gen_ai.output.messages"]


def test_a_response_that_is_dropped_unparsed_goes_at_once(client, provider, instrumented):
    instrumented(tracer_provider=provider)
    gone = weakref.ref(client.chat.completions.with_raw_response.create(**ASKED))
    assert gone() is None


def test_no_destination_is_needed(client, provider, memory):
    llm_otel_broadcast.instrument(destinations=[], tracer_provider=provider)
    client.chat.completions.with_raw_response.create(**ASKED)
    assert llm_otel_broadcast.flush(5)
    assert_whole(memory.get_finished_spans()[0])


def test_a_destination_that_hangs_does_not_hold_the_span(client, provider, memory):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces"
        destination = llm_otel_broadcast.Destination(endpoint=endpoint, batch_delay=0.0, timeout=3)
        llm_otel_broadcast.instrument(destinations=[destination], tracer_provider=provider, exit_timeout=0.1)
        client.chat.completions.create(**ASKED)
        with silent.accept()[0]:
            client.chat.completions.with_raw_response.create(**ASKED)
            assert_whole(ended(memory, 2)[1])


def test_spans_of_very_many_responses_that_nobody_parses_all_end(client, provider, memory, instrumented):
    instrumented(tracer_provider=provider)
    responses = [client.chat.completions.with_raw_response.create(**ASKED) for _ in range(300)]
    assert llm_otel_broadcast.flush(10)
    assert len(ended(memory, 300)) == len(responses) == 300


def test_settings_that_are_replaced_leave_no_span_open(client, provider, memory, instrumented):
    instrumented(tracer_provider=provider)
    client.chat.completions.with_raw_response.create(**ASKED)
    instrumented(tracer_provider=provider, service_name="another")
    client.chat.completions.with_raw_response.create(**ASKED)
    llm_otel_broadcast.shutdown(5)
    for span in ended(memory, 2):
        assert_whole(span)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_process_does_not_end_its_parents_span(client, provider, memory, instrumented):
    instrumented(tracer_provider=provider)
    client.chat.completions.with_raw_response.create(**ASKED)
    child = os.fork()
    if child == 0:
        before = len(memory.get_finished_spans())
        llm_otel_broadcast.shutdown(1)
        os._exit(len(memory.get_finished_spans()) - before)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert_whole(ended(memory)[0])


PROGRAM = """
import sys
import openai, llm_otel_broadcast
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
trace.set_tracer_provider(provider)
llm_otel_broadcast.instrument(destinations=[])
client = openai.OpenAI(api_key="sk-test", base_url=sys.argv[1])
client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello!"}])
"""


def test_a_program_that_ends_at_once_exports_the_span_whole():
    """The app's provider is shut down when the program ends: the span has to be ended before."""
    with StandIn() as stand_in:
        command = [sys.executable, "-c", PROGRAM, stand_in.base_url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert '"gen_ai.usage.total_tokens"' in done.stdout
    assert done.stderr == ""
