"""Contexts in an app that has tracing of its own."""

from __future__ import annotations

import asyncio

import openai
import pytest
from opentelemetry import baggage, context, trace

from llm_otel_broadcast import current_generation, trace_context, traced_generation
from llm_otel_broadcast.stand_in.answers import error
from tests.support.app import App
from tests.support.client_calls import MESSAGES, chat


@pytest.fixture
def app():
    made = App()
    yield made
    made.provider.shutdown()


def sent(arrived, count):
    return {span.name: span for span in arrived(count)}


def test_a_block_hangs_below_the_apps_span_and_is_in_its_trace_too(stand_in, app, instrumented, arrived):
    instrumented(tracer_provider=app.provider)
    with app.tracer.start_as_current_span("request"), trace_context(trace_name="Block", team="red"):
        with app.tracer.start_as_current_span("inside"):
            chat("sync", stand_in.base_url)
    spans, own = sent(arrived, 2), app.spans
    request = own["request"].context
    assert spans["Block"].trace_id == f"{request.trace_id:032x}"
    assert spans["Block"].parent_span_id == f"{request.span_id:016x}"
    assert own["Block"].kind is trace.SpanKind.INTERNAL
    assert own["inside"].parent.span_id == own["Block"].context.span_id
    assert own["chat gpt-4o-mini"].parent.span_id == own["inside"].context.span_id
    assert own["Block"].attributes["trace.metadata.team"] == "red"
    assert f"{own['Block'].context.span_id:016x}" == spans["Block"].span_id


def test_given_ids_hold_for_what_is_sent_and_the_courtesy_spans_stay_in_the_apps_trace(
    stand_in, app, instrumented, arrived
):
    instrumented(tracer_provider=app.provider)
    with app.tracer.start_as_current_span("request"), trace_context(trace_id="a" * 32, trace_name="Block"):
        chat("sync", stand_in.base_url)
    spans, own = sent(arrived, 2), app.spans
    assert {span.trace_id for span in spans.values()} == {"a" * 32}
    assert spans["chat gpt-4o-mini"].parent_span_id == spans["Block"].span_id
    assert len({span.context.trace_id for span in own.values()}) == 1
    assert own["chat gpt-4o-mini"].parent.span_id == own["Block"].context.span_id


def test_the_spans_made_for_a_call_fail_with_it_in_the_apps_traces_too_without_its_text(stand_in, app, instrumented):
    instrumented(tracer_provider=app.provider)
    stand_in.script(error(400, "the launch code"))
    with pytest.raises(openai.BadRequestError):
        chat("sync", stand_in.base_url, extra_body={"trace": {"trace_name": "Root", "span_name": "Step"}})
    for name in ("Root", "Step"):
        own = app.spans[name]
        assert own.status.status_code is trace.StatusCode.ERROR
        assert own.attributes["error.type"] == "BadRequestError"
        assert "launch code" not in f"{own.status.description}{own.attributes}"


def test_a_failed_block_is_an_error_in_the_apps_trace_without_its_text(app, instrumented):
    instrumented(tracer_provider=app.provider)
    with pytest.raises(KeyError), trace_context(trace_name="Block"):
        raise KeyError("the launch code")
    own = app.spans["Block"]
    assert own.status.status_code is trace.StatusCode.ERROR
    assert not own.status.description
    assert own.attributes["error.type"] == "KeyError"


def test_without_joining_every_trace_has_its_own_root(stand_in, app, instrumented, arrived):
    instrumented(tracer_provider=app.provider, join_app_traces=False)
    with app.tracer.start_as_current_span("request"):
        with trace_context(trace_name="Block"), app.tracer.start_as_current_span("inside"):
            chat("sync", stand_in.base_url)
        chat("sync", stand_in.base_url, model="gpt-4o")
    spans, own = sent(arrived, 3), app.spans
    apps = f"{own['request'].context.trace_id:032x}"
    assert apps not in {span.trace_id for span in spans.values()}
    assert spans["Block"].parent_span_id == ""
    assert spans["chat gpt-4o-mini"].parent_span_id == spans["Block"].span_id
    assert spans["chat gpt-4o"].parent_span_id == ""
    assert own["chat gpt-4o-mini"].parent.span_id == own["inside"].context.span_id


def test_without_destinations_the_blocks_are_in_the_apps_trace(stand_in, app):
    import llm_otel_broadcast

    llm_otel_broadcast.instrument(destinations=[], tracer_provider=app.provider)
    with trace_context(trace_name="Block", span_name="Step"):
        chat("sync", stand_in.base_url)
    own = app.spans
    assert own["Step"].parent.span_id == own["Block"].context.span_id
    assert own["chat gpt-4o-mini"].parent.span_id == own["Step"].context.span_id


def test_a_decorated_function_that_is_the_generation_is_so_in_the_apps_trace_without_content(
    app, instrumented, arrived
):
    instrumented(tracer_provider=app.provider)

    @traced_generation(generation_name="Local model")
    def answer(question: str) -> str:
        assert trace.get_current_span().get_span_context().is_valid
        current_generation().record(model="llama", input_tokens=3, cost=0.5)
        return "forty-two"

    with app.tracer.start_as_current_span("request"):
        answer("why?")
    (span,) = arrived(1)
    own = app.spans["Local model"]
    assert f"{own.context.span_id:016x}" == span.span_id
    assert own.parent.span_id == app.spans["request"].context.span_id
    assert own.attributes["gen_ai.request.model"] == "llama"
    assert own.attributes["gen_ai.usage.input_tokens"] == 3
    assert "why?" not in own.to_json()
    assert "forty-two" not in own.to_json()
    assert "why?" in span.attributes["gen_ai.input.messages"]
    assert len(app.spans) == 2


def test_a_decorated_function_with_a_call_is_its_parent_in_the_apps_trace(stand_in, app, instrumented, arrived):
    instrumented(tracer_provider=app.provider)

    @traced_generation(span_name="own", trace_name="Root")
    async def answer() -> None:
        await asyncio.to_thread(chat, "sync", stand_in.base_url)

    asyncio.run(answer())
    spans, own = sent(arrived, 3), app.spans
    for name, above in (("chat gpt-4o-mini", "own"), ("own", "Root")):
        assert own[name].parent.span_id == own[above].context.span_id
        assert spans[name].parent_span_id == spans[above].span_id == f"{own[above].context.span_id:016x}"
    assert own["Root"].attributes["trace.totals.calls"] == 1
    assert not [key for key in own["own"].attributes if key.startswith("gen_ai.")]


def test_the_apps_spans_in_a_decorated_generator_are_below_it_and_nothing_is_current_between(app, instrumented):
    instrumented(tracer_provider=app.provider)

    @traced_generation(span_name="own")
    def pieces():
        for number in range(2):
            with app.tracer.start_as_current_span(f"inside {number}"):
                pass
            yield number

    with app.tracer.start_as_current_span("request") as request:
        for _ in pieces():
            assert trace.get_current_span() is request
    own = app.spans
    assert {own[f"inside {number}"].parent.span_id for number in range(2)} == {own["own"].context.span_id}


def test_the_apps_span_of_a_block_ends_with_it_though_a_stream_goes_on(client, stand_in, app, instrumented, arrived):
    instrumented(tracer_provider=app.provider)
    with trace_context(trace_name="Block"):
        late = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
    assert app.spans.keys() == {"Block"}
    assert list(late)
    assert sent(arrived, 2)["Block"].attributes["trace.totals.calls"] == 1
    assert app.spans["chat gpt-4o"].parent.span_id == app.spans["Block"].context.span_id


def test_settings_replaced_inside_a_block_end_the_apps_span_once(stand_in, app, instrumented, arrived):
    instrumented(tracer_provider=app.provider, name="old")
    with trace_context(trace_name="Block"):
        instrumented(tracer_provider=app.provider, name="new")
        chat("sync", stand_in.base_url)
    sent(arrived, 2)
    assert sorted(span.name for span in app.memory.get_finished_spans()) == ["Block", "chat gpt-4o-mini"]


def test_app_spans_switched_off_leave_the_apps_trace_alone(stand_in, app, instrumented, arrived):
    instrumented(tracer_provider=app.provider, app_spans=False)
    with app.tracer.start_as_current_span("request"), trace_context(trace_name="Block"):
        with app.tracer.start_as_current_span("inside"):
            chat("sync", stand_in.base_url)
    spans, own = sent(arrived, 2), app.spans
    assert own.keys() == {"request", "inside"}
    assert own["inside"].parent.span_id == own["request"].context.span_id
    assert spans["chat gpt-4o-mini"].parent_span_id == spans["Block"].span_id
    assert spans["Block"].parent_span_id == f"{own['request'].context.span_id:016x}"


def test_a_traceparent_given_by_a_call_wins_over_the_apps_span(stand_in, app, instrumented, arrived):
    instrumented(tracer_provider=app.provider)
    given = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    with app.tracer.start_as_current_span("request"):
        chat("sync", stand_in.base_url, extra_body={"trace": given})
    (span,) = arrived(1)
    assert (span.trace_id, span.parent_span_id) == ("a" * 32, "b" * 16)
    assert app.spans["chat gpt-4o-mini"].parent.span_id == app.spans["request"].context.span_id


def test_baggage_is_on_blocks_and_below_what_is_said(stand_in, app, instrumented, arrived):
    instrumented(tracer_provider=app.provider, baggage_metadata=["tenant", "region"], trace_defaults={"region": "none"})
    token = context.attach(baggage.set_baggage("tenant", "acme", baggage.set_baggage("region", "eu")))
    try:
        with trace_context(trace_name="Block", tenant="said"):
            chat("sync", stand_in.base_url)
    finally:
        context.detach(token)
    for span in arrived(2):
        assert span.attributes["trace.metadata.tenant"] == "said"
        assert span.attributes["trace.metadata.region"] == "eu"
