"""`trace.totals.*`: the outermost span of a block says what everything below it took, and nothing is counted twice."""

from __future__ import annotations

import asyncio
import gc

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination, current_generation, trace_context, traced_generation
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.record.totals import Spent, Totals
from llm_otel_broadcast.record.usage import UnreadUsage, Usage
from llm_otel_broadcast.stand_in.answers import completion, error, message, stream, usage_of
from tests.support.client_calls import MESSAGES, chat
from tests.tracing.trees import by_name, totals

MODEL = "openai/gpt-4o"
COST = 100 * 2.5e-6 + 10 * 1e-5


def several(calls):
    """Return the totals of several of the answers below."""
    return {
        "calls": calls,
        "input_tokens": 100 * calls,
        "output_tokens": 10 * calls,
        "cost": pytest.approx(COST * calls),
    }


def answer():
    return completion(message("Yes."), model=MODEL, usage=usage_of(100, 10, model=MODEL))


def streamed():
    return stream(message("Yes."), model=MODEL, usage=usage_of(100, 10, model=MODEL))


def start_stream(client):
    return client.chat.completions.create(
        model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )


def test_only_the_outermost_span_of_nested_blocks_has_them(client, stand_in, instrumented, arrived):
    stand_in.script(answer(), answer())
    instrumented()
    with trace_context(trace_name="Outer", span_name="Step"):
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
        with trace_context(trace_name="Inner", span_name="Inner step", generation_name="inner call"):
            client.chat.completions.create(model=MODEL, messages=MESSAGES)
    spans = by_name(arrived(6))
    assert totals(spans["Outer"]) == several(2)
    assert not [name for name, span in spans.items() if totals(span) and name != "Outer"]


def test_tokens_and_costs_are_under_gen_ai_once_for_each_call(client, stand_in, instrumented, arrived):
    stand_in.script(answer())
    instrumented()

    @traced_generation
    def ask() -> str:
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
        current_generation().record(model=MODEL, input_tokens=100, output_tokens=10, response_id="again")
        return "Yes."

    with trace_context(trace_name="Request"):
        ask()
    spans = arrived(3)
    (call,) = [span for span in spans if any(key.startswith("gen_ai.") for key in span.attributes)]
    assert call.name == f"chat {MODEL}"
    assert totals(by_name(spans)["Request"]) == several(1)


def test_every_destination_gets_the_same(client, stand_in, receiver):
    stand_in.script(answer(), answer())
    with OtlpReceiver() as other:
        llm_otel_broadcast.instrument(
            destinations=[
                Destination(name="a", endpoint=receiver.endpoint),
                Destination(name="b", endpoint=other.endpoint, encoding="protobuf", privacy_mode=True),
            ]
        )
        with trace_context(trace_name="Request"):
            for _ in range(2):
                client.chat.completions.create(model=MODEL, messages=MESSAGES)
        assert llm_otel_broadcast.flush(5.0)
        for each in (receiver, other):
            (root,) = [span for span in each.store.spans() if span.name == "Request"]
            assert totals(root) == several(2)


def test_a_stream_that_ends_after_the_block_is_in_them(client, stand_in, instrumented, arrived):
    stand_in.script(answer(), streamed(), streamed())
    instrumented()
    with trace_context(trace_name="Request") as handle:
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
        late = [start_stream(client), start_stream(client)]
    assert {span.name for span in arrived()} == {f"chat {MODEL}"}  # the root is not complete yet
    for chunks in late:
        assert list(chunks)
    spans = arrived(4)
    (root,) = [span for span in spans if span.name == "Request"]
    assert root.span_id == handle.span_id
    assert totals(root) == several(3)


def test_a_stream_that_nobody_reads_to_its_end_does_not_keep_the_root_back(client, stand_in, instrumented, arrived):
    stand_in.script(streamed())
    instrumented()
    with trace_context(trace_name="Request"):
        late = start_stream(client)
    next(iter(late))
    del late
    gc.collect()
    assert totals(by_name(arrived(2))["Request"])["calls"] == 1


def test_an_async_stream_that_outlives_its_block_is_in_them(stand_in, instrumented, arrived):
    stand_in.script(streamed())
    instrumented()

    async def run() -> None:
        async with openai.AsyncOpenAI(api_key="x", base_url=stand_in.base_url) as client:
            async with trace_context(trace_name="Request"):
                chunks = await start_stream(client)
            assert [chunk async for chunk in chunks]

    asyncio.run(run())
    assert totals(by_name(arrived(2))["Request"]) == several(1)


def test_a_coroutine_that_is_never_awaited_is_no_call(client, stand_in, instrumented, arrived):
    instrumented(link_gateway=True)
    with trace_context(trace_name="Request"):
        chat("sync", stand_in.base_url)
        asynchronous = openai.AsyncOpenAI(api_key="x", base_url=stand_in.base_url)
        asynchronous.chat.completions.create(model="never", messages=MESSAGES).close()
    assert totals(by_name(arrived(2))["Request"])["calls"] == 1


def test_a_call_that_its_own_ids_take_elsewhere_is_not_in_them(client, stand_in, instrumented, arrived):
    instrumented()
    with trace_context(trace_name="Request"):
        chat("sync", stand_in.base_url, model="here")
        chat(
            "sync", stand_in.base_url, model="there", extra_body={"trace": {"trace_id": "c" * 32, "trace_name": "Far"}}
        )
    assert totals(by_name(arrived(4))["Request"])["calls"] == 1


def test_calls_of_a_client_with_settings_of_its_own_are_in_them_too(client, stand_in, instrumented, receiver):
    stand_in.script(answer(), answer())
    with OtlpReceiver() as other:
        instrumented()
        own = llm_otel_broadcast.instrument(endpoint=other.endpoint, client=client)
        with trace_context(trace_name="Request"):
            client.chat.completions.create(model=MODEL, messages=MESSAGES)
            chat("sync", stand_in.base_url, model=MODEL)
        assert llm_otel_broadcast.flush(5.0)
        for each in (receiver, other):
            root = by_name(each.store.spans())["Request"]
            assert (totals(root)["calls"], totals(root)["input_tokens"]) == (2, 200)
        own.shutdown()


def test_a_failed_call_is_a_call(client, stand_in, instrumented, arrived):
    stand_in.script(error(400, "no"))
    instrumented()
    with pytest.raises(openai.BadRequestError), trace_context(trace_name="Request"):
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert totals(by_name(arrived(2))["Request"]) == {"calls": 1}


def test_an_endless_block_takes_no_more_memory_for_every_call():
    sums = Totals()
    for _ in range(1_000):
        sums.add(Spent(1, None, 0.5))
    assert sums.sums() == {"calls": 1_000, "input_tokens": 1_000, "cost": 500.0}
    assert len(sums._new) == 0


def test_adding_in_a_finalizer_on_top_of_another_addition_loses_nothing():
    sums = Totals()
    assert sums._adding.acquire(blocking=False)  # as if this very thread were in the middle of an addition
    sums.add(Spent(1, 1, None))
    sums._adding.release()
    assert sums.sums() == {"calls": 1, "input_tokens": 1, "output_tokens": 1}


def test_counts_are_read_once_and_only_when_the_sums_are_asked_for():
    """Reading them takes longer than all else at the end of a call: that is left to the background."""
    read = []

    def read_counts(stated):
        read.append(stated)
        return Usage(input_tokens=stated["input"], output_tokens=2, cost=0.5)

    counts = [UnreadUsage(read_counts, {"input": number}) for number in (1, 10)]
    sums = Totals()
    for unread in counts:
        sums.add(unread)
    assert (sums.calls, read) == (2, [])
    assert counts[0].usage().input_tokens == 1
    assert sums.sums() == {"calls": 2, "input_tokens": 11, "output_tokens": 4, "cost": 1.0}
    assert sums.sums()["calls"] == 2
    assert read == [{"input": 1}, {"input": 10}]


def test_unread_counts_are_bounded():
    sums = Totals()
    for _ in range(1_200):
        sums.add(UnreadUsage(lambda _stated: Usage(input_tokens=1), {}))
    assert len(sums._unread) == 1_000
    assert sums.sums() == {"calls": 1_200, "input_tokens": 1_200}
