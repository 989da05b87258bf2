"""`trace_context`: a request is named once, and every call in it lands in the right place."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from opentelemetry import context as otel_context

import llm_otel_broadcast
from llm_otel_broadcast import current_trace_fields, derive_trace_id, propagate, trace_context
from llm_otel_broadcast.fields.ids import root_span_id
from llm_otel_broadcast.stand_in.answers import completion, message, stream, usage_of
from llm_otel_broadcast.tracing.scope import current_scope
from tests.support.client_calls import MESSAGES, chat
from tests.tracing.trees import by_name


def test_a_trace_name_opens_a_root_that_spans_the_block(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(trace_name="Chat Handler", environment="staging", session_id="s", user="u"):
        chat("sync", stand_in.base_url)
        chat("sync", stand_in.base_url, model="gpt-4o")
    spans = by_name(arrived(3))
    root = spans["Chat Handler"]
    assert (root.parent_span_id, root.kind) == ("", 1)
    for name in ("chat gpt-4o-mini", "chat gpt-4o"):
        call = spans[name]
        assert (call.trace_id, call.parent_span_id) == (root.trace_id, root.span_id)
        assert root.start_ns <= call.start_ns <= call.end_ns <= root.end_ns
    for span in spans.values():
        assert span.attributes["session.id"] == "s"
        assert span.attributes["user.id"] == "u"
        assert span.attributes["trace.name"] == "Chat Handler"
        assert span.attributes["trace.metadata.environment"] == "staging"


def test_a_span_name_opens_a_span_below_the_root(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(trace_name="Root", span_name="Step", generation_name="Call"):
        chat("sync", stand_in.base_url)
    spans = by_name(arrived(3))
    assert spans["Step"].parent_span_id == spans["Root"].span_id
    assert spans["Call"].parent_span_id == spans["Step"].span_id


def test_contexts_nest_and_the_inner_ones_are_stronger_key_by_key(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(trace_name="Outer", team="red", tier="one"), trace_context(span_name="Inner", team="blue"):
        chat("sync", stand_in.base_url, extra_body={"trace": {"tier": "two"}})
    spans = by_name(arrived(3))
    call = spans["chat gpt-4o-mini"]
    assert call.attributes["trace.metadata.team"] == "blue"
    assert call.attributes["trace.metadata.tier"] == "two"
    assert spans["Outer"].attributes["trace.metadata.team"] == "red"
    assert spans["Inner"].parent_span_id == spans["Outer"].span_id
    assert call.parent_span_id == spans["Inner"].span_id


def test_a_nested_trace_name_is_a_span_below_the_outer_one(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(trace_name="Outer"), trace_context(trace_name="Inner"):
        chat("sync", stand_in.base_url)
    spans = by_name(arrived(3))
    assert spans["Inner"].parent_span_id == spans["Outer"].span_id


def test_given_ids_are_those_that_arrive(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(trace_id="order-1", trace_name="Order") as handle:
        chat("sync", stand_in.base_url)
    spans = by_name(arrived(2))
    root = spans["Order"]
    assert root.trace_id == f"{derive_trace_id('order-1'):032x}" == handle.trace_id
    assert root.span_id == f"{root_span_id(derive_trace_id('order-1'), 'Order'):016x}" == handle.span_id
    assert spans["chat gpt-4o-mini"].parent_span_id == root.span_id
    assert spans["chat gpt-4o-mini"].attributes["trace.id"] == "order-1"


def test_a_second_block_of_the_same_trace_and_name_has_a_root_of_its_own(stand_in, instrumented, arrived):
    instrumented()
    for _ in range(2):
        with trace_context(trace_id="order-2", trace_name="Order"):
            chat("sync", stand_in.base_url)
    roots = [span for span in arrived(4) if span.name == "Order"]
    assert len({root.span_id for root in roots}) == 2
    assert len({root.trace_id for root in roots}) == 1


def test_a_given_parent_needs_no_root(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(trace_id="a" * 32, parent_span_id="b" * 16, trace_name="Never a span"):
        chat("sync", stand_in.base_url)
    (call,) = arrived(1)
    assert (call.trace_id, call.parent_span_id) == ("a" * 32, "b" * 16)
    assert call.attributes["trace.name"] == "Never a span"


def test_a_traceparent_gives_trace_and_parent(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(traceparent=f"00-{'a' * 32}-{'b' * 16}-01", span_name="Worker"):
        chat("sync", stand_in.base_url)
    spans = by_name(arrived(2))
    assert (spans["Worker"].trace_id, spans["Worker"].parent_span_id) == ("a" * 32, "b" * 16)
    assert spans["chat gpt-4o-mini"].parent_span_id == spans["Worker"].span_id


def test_a_calls_own_ids_leave_the_block(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(trace_name="Block"):
        chat("sync", stand_in.base_url, extra_body={"trace": {"trace_id": "c" * 32}})
        chat("sync", stand_in.base_url, model="gpt-4o")
    spans = by_name([span for span in arrived() if span.kind == 3])
    assert spans["chat gpt-4o-mini"].trace_id == "c" * 32
    assert spans["chat gpt-4o"].trace_id != "c" * 32


def test_without_names_calls_are_traces_of_their_own_with_the_fields(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(session_id="s", team="red") as handle:
        chat("sync", stand_in.base_url)
        chat("sync", stand_in.base_url)
    first, second = arrived(2)
    assert first.trace_id != second.trace_id
    assert (handle.trace_id, handle.span_id) == (None, None)
    assert {span.attributes["session.id"] for span in (first, second)} == {"s"}


def test_an_exception_that_leaves_makes_the_block_an_error_and_goes_on(stand_in, instrumented, arrived):
    instrumented()
    with pytest.raises(KeyError, match="lost"), trace_context(trace_name="Block"):
        chat("sync", stand_in.base_url)
        raise KeyError("lost")
    enclosing_span = by_name(arrived(2))["Block"]
    assert (enclosing_span.status_code, enclosing_span.attributes["error.type"]) == (2, "KeyError")
    assert enclosing_span.status_message == "'lost'"


def test_the_text_of_an_exception_is_content(stand_in, instrumented, arrived):
    instrumented(privacy_mode=True)
    with pytest.raises(KeyError), trace_context(trace_name="Block"):
        chat("sync", stand_in.base_url)
        raise KeyError("the launch code")
    assert "launch code" not in repr(arrived(2))


def test_metadata_known_later_is_on_the_block_and_on_later_calls(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(trace_name="Block") as handle:
        chat("sync", stand_in.base_url)
        handle.set(customer=42)
        chat("sync", stand_in.base_url, model="gpt-4o")
    spans = by_name(arrived(3))
    assert spans["Block"].attributes["trace.metadata.customer"] == 42
    assert spans["chat gpt-4o"].attributes["trace.metadata.customer"] == 42
    assert "trace.metadata.customer" not in spans["chat gpt-4o-mini"].attributes


def test_a_list_of_a_block_is_on_each_call_as_it_is_at_that_call(stand_in, instrumented, arrived):
    """Fields are merged once for a block, but not where the program may change them meanwhile."""
    tags = ["first"]
    default_tags = ["one"]
    instrumented(trace_defaults={"default_tags": default_tags})
    with trace_context(session_id="s", tags=tags):
        chat("sync", stand_in.base_url, model="early")
        tags.append("second")
        default_tags.append("two")
        chat("sync", stand_in.base_url, model="late")
    chat("sync", stand_in.base_url, model="outside")
    spans = by_name(arrived(3))
    early, late, outside = (spans[f"chat {model}"].attributes for model in ("early", "late", "outside"))
    assert early["trace.metadata.tags"] == '["first"]'
    assert late["trace.metadata.tags"] == '["first","second"]'
    assert early["trace.metadata.default_tags"] == '["one"]'
    assert late["trace.metadata.default_tags"] == outside["trace.metadata.default_tags"] == '["one","two"]'


def test_a_calls_own_session_and_user_win_over_the_blocks(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(session_id="s", user="u", team="red"):
        chat("sync", stand_in.base_url, model="mine", user="me", extra_body={"session_id": "mine"})
        chat("sync", stand_in.base_url, model="theirs", user="", extra_headers={"x-session-id": ""})
    spans = by_name(arrived(2))
    for model, session, user in (("mine", "mine", "me"), ("theirs", "s", "u")):
        attributes = spans[f"chat {model}"].attributes
        assert [attributes[name] for name in ("session.id", "user.id", "trace.metadata.team")] == [session, user, "red"]


def test_the_outermost_span_has_the_totals_and_nothing_of_gen_ai(stand_in, instrumented, arrived):
    model = "openai/gpt-4o"
    answer = completion(message("Yes."), model=model, usage=usage_of(100, 10, model=model))
    stand_in.script(answer, answer)
    instrumented()
    with trace_context(trace_name="Block", span_name="Step"):
        chat("sync", stand_in.base_url, model=model, extra_body={"trace": {"generation_name": "One"}})
        chat("sync", stand_in.base_url, model=model, extra_body={"trace": {"generation_name": "Two"}})
    spans = by_name(arrived(4))
    told = spans["Block"].attributes
    assert told["trace.totals.calls"] == 2
    assert told["trace.totals.input_tokens"] == 200
    assert told["trace.totals.output_tokens"] == 20
    assert told["trace.totals.cost"] == pytest.approx(2 * (100 * 2.5e-6 + 10 * 1e-5))
    assert not [key for key in told if key.startswith("gen_ai.")]
    assert not [key for key in spans["Step"].attributes if key.startswith("trace.totals")]


def test_privacy_once_asked_for_cannot_be_taken_back(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(privacy=True), trace_context(privacy=False):
        chat("sync", stand_in.base_url, extra_body={"trace": {"privacy": False}})
    assert not [key for key in arrived(1)[0].attributes if key.endswith(".messages")]


def test_it_travels_through_tasks_and_to_thread(stand_in, instrumented, arrived):
    instrumented()

    async def deep(model: str) -> None:
        async with openai.AsyncOpenAI(api_key="x", base_url=stand_in.base_url) as client:
            await client.chat.completions.create(model=model, messages=MESSAGES)

    async def handle() -> None:
        async with trace_context(trace_name="Request", session_id="s"):
            await asyncio.gather(*(asyncio.create_task(deep(f"model-{number}")) for number in range(3)))
            await asyncio.to_thread(chat, "sync", stand_in.base_url)

    asyncio.run(handle())
    spans = by_name(arrived(5))
    root = spans.pop("Request")
    assert {span.parent_span_id for span in spans.values()} == {root.span_id}
    assert {span.attributes["session.id"] for span in spans.values()} == {"s"}


def test_propagate_carries_it_into_threads(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(trace_name="Request"), ThreadPoolExecutor(2) as pool:
        models = [f"model-{number}" for number in range(4)]
        list(pool.map(propagate(lambda model: chat("sync", stand_in.base_url, model=model)), models))
        list(pool.map(lambda model: chat("sync", stand_in.base_url, model=model), ["elsewhere"]))
    spans = by_name(arrived(6))
    root = spans["Request"]
    assert {span.name for span in spans.values() if span.parent_span_id == root.span_id} == {
        f"chat {model}" for model in models
    }


def test_tasks_side_by_side_do_not_see_each_other(stand_in, instrumented, arrived):
    instrumented()

    async def one(name: str) -> None:
        async with openai.AsyncOpenAI(api_key="x", base_url=stand_in.base_url) as client:
            async with trace_context(trace_name=name, who=name):
                await asyncio.sleep(0)
                await client.chat.completions.create(model=name, messages=MESSAGES)
                await asyncio.sleep(0)

    async def all_of_them() -> None:
        await asyncio.gather(*(one(f"t{number}") for number in range(20)))

    asyncio.run(all_of_them())
    spans = by_name(arrived(40))
    for number in range(20):
        root, call = spans[f"t{number}"], spans[f"chat t{number}"]
        assert call.parent_span_id == root.span_id
        assert call.attributes["trace.metadata.who"] == f"t{number}"


def test_nothing_is_current_after_the_block(instrumented):
    instrumented()
    before = otel_context.get_current()
    with trace_context(trace_name="Block", span_name="Step"):
        assert current_scope() is not None
    assert current_scope() is None
    assert otel_context.get_current() == before


def test_a_block_left_in_another_task_leaves_no_word_in_the_log(instrumented, caplog):
    instrumented()

    async def crossed() -> None:
        context = trace_context(trace_name="Block")
        await asyncio.create_task(context.__aenter__())
        await asyncio.create_task(context.__aexit__(None, None, None))

    with caplog.at_level(logging.DEBUG, "opentelemetry"):
        asyncio.run(crossed())
    assert caplog.records == []


def test_a_stream_read_after_the_block_brings_the_block_along(client, stand_in, instrumented, arrived):
    stand_in.script(stream(message("Later.")))
    instrumented()
    with trace_context(trace_name="Block"):
        chunks = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
    assert list(chunks)
    spans = by_name(arrived(2))
    assert spans["chat gpt-4o"].parent_span_id == spans["Block"].span_id


def test_a_block_without_a_call_is_a_span_all_the_same(instrumented, arrived):
    instrumented()
    with trace_context(trace_name="Cached answer"):
        pass
    assert arrived(1)[0].name == "Cached answer"


def test_without_instrument_it_is_harmless(client, stand_in):
    with trace_context(trace_name="Block", team="red") as handle:
        assert len(handle.trace_id) == 32
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert "trace" not in stand_in.requests[0].json


@pytest.mark.parametrize("value", [5, b"bytes", object(), ["list"]], ids=["number", "bytes", "object", "list"])
def test_odd_values_never_raise(stand_in, instrumented, arrived, value):
    instrumented()
    with trace_context(trace_name=value, session_id=value, odd=value):
        chat("sync", stand_in.base_url)
    arrived(2)


def test_it_decorates_every_kind_of_function(stand_in, instrumented, arrived):
    instrumented()

    @trace_context(trace_name="plain")
    def plain(model: str) -> str:
        chat("sync", stand_in.base_url, model=model)
        return model

    @trace_context(trace_name="coroutine")
    async def coroutine(model: str) -> str:
        async with openai.AsyncOpenAI(api_key="x", base_url=stand_in.base_url) as client:
            await client.chat.completions.create(model=model, messages=MESSAGES)
        return model

    @trace_context(trace_name="generator")
    def generator(model: str):
        chat("sync", stand_in.base_url, model=model)
        yield model

    assert plain("a") == "a"
    assert asyncio.run(coroutine("b")) == "b"
    assert list(generator("c")) == ["c"]
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isgeneratorfunction(generator)
    spans = by_name(arrived(6))
    for root, call in (("plain", "chat a"), ("coroutine", "chat b"), ("generator", "chat c")):
        assert spans[call].parent_span_id == spans[root].span_id


def test_the_trace_fields_can_be_passed_on_by_hand(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(trace_name="Request", session_id="s", team="red"):
        carried = current_trace_fields()
        chat("sync", stand_in.base_url)
    with trace_context(**carried):
        chat("sync", stand_in.base_url, model="gpt-4o")
    spans = by_name(arrived(3))
    root, far = spans["Request"], spans["chat gpt-4o"]
    assert (far.trace_id, far.parent_span_id) == (root.trace_id, root.span_id)
    assert far.attributes["session.id"] == "s"
    assert far.attributes["trace.metadata.team"] == "red"


def test_outside_of_everything_there_is_nothing_to_pass_on():
    assert current_trace_fields() == {}


def test_baggage_keys_that_are_listed_become_metadata(stand_in, instrumented, arrived):
    from opentelemetry import baggage

    instrumented(baggage_metadata=["tenant"])
    token = otel_context.attach(baggage.set_baggage("tenant", "acme", baggage.set_baggage("secret", "x")))
    try:
        chat("sync", stand_in.base_url)
    finally:
        otel_context.detach(token)
    attributes = arrived(1)[0].attributes
    assert attributes["trace.metadata.tenant"] == "acme"
    assert "trace.metadata.secret" not in attributes


def test_wrong_baggage_settings_are_refused():
    with pytest.raises(llm_otel_broadcast.ConfigError, match="baggage_metadata"):
        llm_otel_broadcast.instrument(destinations=[], baggage_metadata="tenant")


def test_a_block_encloses_its_calls_though_the_clock_is_set_back_meanwhile(
    stand_in, instrumented, arrived, monkeypatch
):
    instrumented()
    with trace_context(trace_name="Block", span_name="Step"):
        chat("sync", stand_in.base_url)
        earlier = time.time_ns() - 3_600_000_000_000
        monkeypatch.setattr(time, "time_ns", lambda: earlier)
    with trace_context(trace_name="Empty"):
        monkeypatch.setattr(time, "time_ns", lambda: earlier - 1_000)
    monkeypatch.undo()
    spans = by_name(arrived(4))
    assert spans["chat gpt-4o-mini"].end_ns <= spans["Step"].end_ns <= spans["Block"].end_ns
    assert spans["Empty"].start_ns <= spans["Empty"].end_ns
