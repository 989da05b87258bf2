"""A call that we recorded is not sent twice; what others made round it, or of their own, is one tree with the same rules."""

from __future__ import annotations

import pytest
from opentelemetry.trace import SpanKind

import llm_otel_broadcast
from llm_otel_broadcast import BroadcastSpanProcessor, instrument, trace_context
from llm_otel_broadcast.delivery.selection import is_sampled
from llm_otel_broadcast.receiver import OtlpReceiver
from tests.support.client_calls import MESSAGES
from tests.support.foreign_spans import CONVENTIONS, OPENINFERENCE, SEMCONV, TRACELOOP


def test_the_apps_own_span_of_our_call_is_not_sent_as_well(client, beside):
    client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    (span,) = beside(1).values()
    assert span.scope_name == "llm_otel_broadcast"
    assert "gen_ai.input.messages" in span.attributes


@pytest.mark.parametrize(
    "attributes", [SEMCONV, OPENINFERENCE, TRACELOOP], ids=["semconv", "openinference", "traceloop"]
)
@pytest.mark.parametrize("kind", [SpanKind.CLIENT, SpanKind.INTERNAL])
def test_a_span_round_our_call_that_tells_of_the_same_call_is_not_sent_and_leaves_no_gap(
    client, beside, tracer, attributes, kind
):
    with tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
        with tracer.start_as_current_span("theirs", kind=kind, attributes=attributes):
            client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    spans = beside(2)
    assert spans["chat gpt-4o-mini"].parent_span_id == spans["agent"].span_id


def test_several_spans_that_tell_of_the_same_call_are_all_left_out(client, beside, tracer):
    """A framework's, below it that of an instrumentation of the client, below that ours."""
    with tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
        with tracer.start_as_current_span("framework's", attributes=SEMCONV):
            with tracer.start_as_current_span("instrumentation's", kind=SpanKind.CLIENT, attributes=SEMCONV):
                client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    spans = beside(2)
    assert spans["chat gpt-4o-mini"].parent_span_id == spans["agent"].span_id


def test_a_root_that_a_call_names_leaves_no_gap_either(client, beside, tracer):
    with tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
        with tracer.start_as_current_span("theirs", kind=SpanKind.INTERNAL, attributes=SEMCONV):
            client.chat.completions.create(
                model="gpt-4o-mini", messages=MESSAGES, extra_body={"trace": {"trace_name": "Work"}}
            )
    spans = beside(3)
    assert spans["Work"].parent_span_id == spans["agent"].span_id
    assert spans["chat gpt-4o-mini"].parent_span_id == spans["Work"].span_id


@pytest.mark.parametrize("stream", [False, True])
def test_a_span_made_inside_our_call_is_not_sent_as_well(client, beside, tracer, stream):
    """Another instrumentation that patches below ours; the client's own HTTP hooks stand for it."""
    spans = []

    def hook(_request):
        spans.append(tracer.start_span("theirs", kind=SpanKind.CLIENT, attributes=SEMCONV))

    client._client.event_hooks["request"].append(hook)
    result = client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=stream)
    if stream:
        list(result)
    spans[0].end()
    assert list(beside(1)) == ["chat gpt-4o-mini"]


def test_a_span_with_the_id_of_an_answer_that_we_recorded_is_not_sent_as_well(client, beside, tracer):
    """Frameworks that trace by callbacks make no span current."""
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    beside(1)
    tracer.start_span("theirs", attributes={**SEMCONV, "gen_ai.response.id": answer.id}).end()
    tracer.start_span("another", attributes={**SEMCONV, "gen_ai.response.id": "resp-2"}).end()
    assert set(beside(2)) == {"chat gpt-4o-mini", "another"}
    (books,) = llm_otel_broadcast.status().destinations
    assert books.left_out == {"recorded": 1}


@pytest.mark.parametrize("same", [True, False])
def test_a_processor_with_its_own_destinations_leaves_out_what_instrument_sends_to_the_same_place(
    client, provider, tracer, receiver, same
):
    with OtlpReceiver() as other:
        handle = instrument(endpoint=receiver.endpoint, app_spans=False)
        provider.add_span_processor(BroadcastSpanProcessor(endpoint=receiver.endpoint if same else other.endpoint))
        with tracer.start_as_current_span("theirs", attributes=SEMCONV):
            client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
        assert provider.force_flush(5_000)
        assert handle.flush()
        assert [span.name for span in receiver.store.spans()] == ["chat gpt-4o-mini"]
        assert [span.name for span in other.store.spans()] == ([] if same else ["theirs"])


def test_agents_and_tools_round_our_calls_are_sent_in_one_tree(client, beside, tracer):
    with tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
        client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
        with tracer.start_as_current_span("tool", attributes={"gen_ai.operation.name": "execute_tool"}):
            client.chat.completions.create(
                model="gpt-4o-mini", messages=MESSAGES, extra_body={"trace": {"generation_name": "inner"}}
            )
    spans = beside(4)
    assert spans["chat gpt-4o-mini"].parent_span_id == spans["tool"].parent_span_id == spans["agent"].span_id
    assert spans["inner"].parent_span_id == spans["tool"].span_id
    assert len({span.trace_id for span in spans.values()}) == 1


# -- selection --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "operator", "value"),
    [
        ("model", "equals", "gpt-4o"),
        ("provider", "equals", "openai"),
        ("prompt_tokens", "equals", 10),
        ("completion_tokens", "lt", 6),
        ("total_tokens", "equals", 15),
        ("finish_reason", "not_equals", "length"),
        ("input", "contains", "question"),
        ("output", "contains", "answer"),
        ("user_id", "not_equals", "bob"),
        ("total_cost", "not_exists", None),
    ],
)
@pytest.mark.parametrize("convention", ["semconv", "openinference", "traceloop"])
def test_rules_read_every_convention(own, tracer, convention, field, operator, value):
    rules = {"groups": [{"rules": [{"field": field, "operator": operator, "value": value}]}]}
    read = own(filter_rules=rules)
    facts, content = CONVENTIONS[convention]
    tracer.start_span("theirs", attributes={**facts, **content}).end()
    tracer.start_span("other", attributes={"gen_ai.operation.name": "chat", "user.id": "bob"}).end()
    assert "theirs" in [span.name for span in read()]


def test_agents_go_where_the_generations_of_their_trace_go(own, tracer):
    read = own(filter_rules={"groups": [{"rules": [{"field": "model", "operator": "equals", "value": "gpt-4o"}]}]})
    for model in ("gpt-4o", "o1"):
        with tracer.start_as_current_span(f"agent of {model}", attributes={"gen_ai.agent.name": "helper"}):
            tracer.start_span(
                model, attributes={**SEMCONV, "gen_ai.request.model": model, "gen_ai.response.model": model}
            ).end()
    assert {span.name for span in read()} == {"gpt-4o", "agent of gpt-4o"}
    (books,) = read.processor.status()
    assert books.left_out == {"filtered": 1, "with_its_trace": 1}


def test_sessions_are_sampled_whole_as_our_own_are(own, tracer):
    read = own(sampling_rate=0.5)
    sessions = [f"session {number}" for number in range(16)]
    for session in sessions:
        with tracer.start_as_current_span("agent", attributes={"gen_ai.agent.name": "helper"}):
            tracer.start_span("chat", attributes={**SEMCONV, "session.id": session}).end()
    spans = read()
    kept = {span.attributes["session.id"] for span in spans if span.name == "chat"}
    assert kept == {session for session in sessions if is_sampled("mine", session, 0.5)}
    assert len(spans) == 2 * len(kept)


def test_errors_always_holds_for_them_too(own, tracer):
    read = own(sampling_rate=0.0001, errors_always=True)
    tracer.start_span("fine", attributes=SEMCONV).end()
    with pytest.raises(ZeroDivisionError), tracer.start_as_current_span("broken", attributes=SEMCONV):
        _ = 1 / 0
    assert [span.name for span in read()] == ["broken"]


# -- what is said around ----------------------------------------------------------------------------------------------


def test_what_a_context_says_is_on_them_too(own, tracer, receiver):
    read = own()
    with trace_context(user="ann", session_id="s9", environment="test"):
        tracer.start_span("theirs", attributes=SEMCONV).end()
        tracer.start_span("stronger", attributes={**SEMCONV, "user.id": "bob"}).end()
    spans = {span.name: span.attributes for span in read(2)}
    said = {"user.id": "ann", "session.id": "s9", "trace.metadata.environment": "test"}
    assert said.items() <= spans["theirs"].items()
    assert spans["stronger"]["user.id"] == "bob"


def test_a_private_context_keeps_their_content_back_as_well(own, tracer, receiver):
    read = own()
    facts, content = CONVENTIONS["semconv"]
    with trace_context(privacy=True):
        tracer.start_span("theirs", attributes={**facts, **content}).end()
    read(1)
    assert b"canary" not in b"".join(request.body for request in receiver.requests)


# -- the host comes first ---------------------------------------------------------------------------------------------
