"""Spans that others made in the app's own provider, and which of them arrive where."""

from __future__ import annotations

import pytest
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

import llm_otel_broadcast
from llm_otel_broadcast import BroadcastSpanProcessor, Destination, instrument, trace_context
from llm_otel_broadcast.receiver import OtlpReceiver
from tests.support.client_calls import MESSAGES
from tests.support.foreign_spans import OPENINFERENCE, SEMCONV, TRACELOOP


def plain(attributes):
    return {key: list(value) if isinstance(value, tuple) else value for key, value in attributes.items()}


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_a_span_arrives_as_it_is_with_its_own_scope_and_resource(own, tracer, encoding):
    read = own(encoding=encoding)
    link = Link(SpanContext(0xAB, 0xCD, is_remote=True), {"why": "retry"})
    with tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}) as agent:
        with tracer.start_as_current_span(
            "chat gpt-4o", kind=SpanKind.CLIENT, attributes=SEMCONV, links=[link]
        ) as span:
            span.add_event("gen_ai.choice", {"index": 0}, timestamp=span.start_time + 5)
            span.set_status(Status(StatusCode.ERROR, "it broke"))
    chat, above = sorted(read(2), key=lambda one: one.name != "chat gpt-4o")
    assert plain(chat.attributes) == SEMCONV
    assert chat.kind == 3
    assert int(chat.span_id, 16) == span.context.span_id
    assert (int(chat.parent_span_id, 16), int(chat.trace_id, 16)) == (agent.context.span_id, agent.context.trace_id)
    assert (chat.start_ns, chat.end_ns) == (span.start_time, span.end_time)
    assert (chat.status_code, chat.status_message) == (2, "it broke")
    (event,) = chat.events
    assert (event.name, event.time_ns, event.attributes) == ("gen_ai.choice", span.start_time + 5, {"index": 0})
    assert (chat.scope_name, chat.scope_version) == ("their.instrumentation", "4.2")
    assert chat.resource["service.name"] == "their-app"
    assert chat.resource["host.name"] == "h1"
    assert above.kind == 1


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_a_destinations_own_resource_attributes_and_aliases_are_on_theirs_too(own, tracer, encoding):
    aliases = {"wandb.thread_id": "session_id", "operation.cost": "total_cost", "gen_ai.agent.name": "session_id"}
    read = own(encoding=encoding, resource_attributes={"wandb.project": "p", "host.name": "h2"}, aliases=aliases)
    with trace_context(session_id="s-1"):
        tracer.start_span("chat gpt-4o", attributes=SEMCONV).end()
    (chat,) = read(1)
    assert (chat.resource["service.name"], chat.resource["host.name"]) == ("their-app", "h2")
    assert chat.resource["wandb.project"] == "p"
    assert plain(chat.attributes) == {**SEMCONV, "session.id": "s-1", "wandb.thread_id": "s-1"}


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_ours_and_theirs_go_in_one_request_each_with_its_origin(client, provider, tracer, receiver, encoding):
    handle = instrument(
        destinations=[Destination(endpoint=receiver.endpoint, encoding=encoding, batch_delay=0.2)], app_spans=False
    )
    provider.add_span_processor(BroadcastSpanProcessor())
    client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    tracer.start_span("theirs", attributes=SEMCONV).end()
    assert handle.flush()
    spans = {span.name: (span.scope_name, span.resource["service.name"]) for span in receiver.store.spans()}
    assert spans["theirs"] == ("their.instrumentation", "their-app")
    assert spans["chat gpt-4o-mini"][0] == "llm_otel_broadcast"
    assert spans["chat gpt-4o-mini"][1] != "their-app"
    assert len(receiver.requests) == 1


GENAI = {
    "semconv": SEMCONV,
    "openinference": {"openinference.span.kind": "CHAIN"},
    "openinference llm": OPENINFERENCE,
    "traceloop": TRACELOOP,
    "traceloop task": {"traceloop.span.kind": "task", "traceloop.entity.name": "step"},
    "old semconv": {"gen_ai.system": "openai"},
    "agent": {"gen_ai.agent.name": "helper"},
    "tool": {"gen_ai.tool.name": "look"},
    "langfuse": {"langfuse.observation.type": "generation"},
}
PLAIN = {
    "nothing": {},
    "http": {"http.request.method": "POST", "url.full": "https://api.openai.com/v1/chat/completions"},
    "database in a workflow": {"db.statement": "SELECT 1", "traceloop.workflow.name": "work"},
    "baggage": {"http.route": "/", "gen_ai.conversation.id": "c1"},
}


@pytest.mark.parametrize("name", [*GENAI, *PLAIN])
def test_spans_about_a_model_an_agent_or_a_tool_are_taken_and_no_others(own, tracer, name):
    read = own()
    tracer.start_span(name, attributes={**GENAI, **PLAIN}[name]).end()
    assert [span.name for span in read()] == ([name] if name in GENAI else [])


def test_all_spans_are_taken_if_asked_for(own, tracer):
    read = own(all_spans=True)
    for name, attributes in PLAIN.items():
        tracer.start_span(name, attributes=attributes).end()
    assert {span.name for span in read(len(PLAIN))} == set(PLAIN)


def test_without_arguments_they_go_where_instrument_sends_now(provider, tracer, receiver):
    provider.add_span_processor(BroadcastSpanProcessor())
    tracer.start_span("before", attributes=SEMCONV).end()
    first = instrument(endpoint=receiver.endpoint)
    tracer.start_span("first", attributes=SEMCONV).end()
    assert provider.force_flush()
    assert first.flush()
    with OtlpReceiver() as other:
        instrument(endpoint=other.endpoint)
        tracer.start_span("second", attributes=SEMCONV).end()
        assert provider.force_flush()
        assert [span.name for span in receiver.store.spans()] == ["first"]
        assert [span.name for span in other.store.spans()] == ["second"]
        assert llm_otel_broadcast.status().destinations[0].delivered == 1


def test_the_programs_own_flush_and_exit_reach_a_processors_destinations(own, tracer, receiver):
    own()
    tracer.start_span("theirs", attributes=SEMCONV).end()
    assert llm_otel_broadcast.flush(5)
    assert len(receiver.store.spans()) == 1
