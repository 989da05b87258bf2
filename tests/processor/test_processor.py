"""Spans that others made in the app's own provider, and which of them arrive where."""

from __future__ import annotations

import os
import threading
import time

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

import llm_otel_broadcast
from llm_otel_broadcast import BroadcastSpanProcessor, ConfigError, Destination, instrument, trace_context
from llm_otel_broadcast.delivery.selection import is_sampled
from llm_otel_broadcast.overlap import overlap
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.receiver.server import Reply
from tests.clients.calling import MESSAGES
from tests.delivery.backends import refusing
from tests.delivery.lanes import balanced
from tests.processor.spans import CONVENTIONS, OPENINFERENCE, SEMCONV, TRACELOOP


@pytest.fixture
def provider():
    """A provider of the app's, not the global one."""
    made = TracerProvider(resource=Resource({"service.name": "their-app", "host.name": "h1"}), shutdown_on_exit=False)
    yield made
    made.shutdown()


@pytest.fixture
def tracer(provider):
    return provider.get_tracer("their.instrumentation", "4.2")


@pytest.fixture
def own(provider, receiver):
    """Add a processor with a destination of its own, the receiver; return how to read what arrived."""

    def start(**options):
        names = {"all_spans"}
        mine = Destination(
            name="mine",
            endpoint=receiver.endpoint,
            batch_delay=0.0,
            **{name: value for name, value in options.items() if name not in names},
        )
        processor = BroadcastSpanProcessor(
            destinations=[mine], **{name: value for name, value in options.items() if name in names}
        )
        provider.add_span_processor(processor)

        def read(count=None):
            assert provider.force_flush(5_000)
            spans = receiver.store.spans()
            assert count is None or len(spans) == count, [span.name for span in spans]
            assert all(balanced(books) for books in processor.status())
            return spans

        read.processor = processor
        return read

    return start


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


# -- the same call twice ----------------------------------------------------------------------------------------------


@pytest.fixture
def beside(provider, tracer, receiver):
    """`instrument()` and a processor that shares its destination."""
    handle = instrument(
        destinations=[Destination(endpoint=receiver.endpoint, batch_delay=0.0)], tracer_provider=provider
    )
    provider.add_span_processor(BroadcastSpanProcessor())

    def read(count=None):
        assert provider.force_flush(5_000)
        assert handle.flush()
        spans = receiver.store.spans()
        assert count is None or len(spans) == count, [span.name for span in spans]
        return {span.name: span for span in spans}

    return read


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


def test_a_wrong_setting_is_refused_where_it_is_given():
    with pytest.raises(ConfigError, match="hide has 'prompts'"):
        BroadcastSpanProcessor(endpoint="http://backend.example", hide={"prompts"})
    with pytest.raises(ConfigError, match="has nowhere to send: give endpoint"):
        BroadcastSpanProcessor(hide={"inputs"})


@pytest.mark.parametrize("name", ["LLM_OTEL_BROADCAST_DISABLED", "OTEL_SDK_DISABLED"])
def test_where_all_is_turned_off_nothing_is_sent(monkeypatch, receiver, name):
    monkeypatch.setenv(name, "true")
    processor = BroadcastSpanProcessor(endpoint=receiver.endpoint)
    with TracerProvider(shutdown_on_exit=False).get_tracer("x").start_as_current_span("s", attributes=SEMCONV) as span:
        pass
    if hasattr(span, "_readable_span"):
        processor.on_end(span._readable_span())
    assert processor.force_flush()
    assert processor.status() == ()
    processor.shutdown()
    assert receiver.requests == []


def test_after_shutdown_nothing_is_taken_and_what_was_is_delivered(own, provider, tracer, receiver):
    own()
    tracer.start_span("before", attributes=SEMCONV).end()
    provider.shutdown()
    tracer.start_span("after", attributes=SEMCONV).end()
    assert [span.name for span in receiver.store.spans()] == ["before"]


def test_the_apps_shutdown_leaves_instrument_running(client, provider, receiver):
    handle = instrument(endpoint=receiver.endpoint)
    provider.add_span_processor(BroadcastSpanProcessor())
    provider.shutdown()
    client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    assert handle.flush()
    assert len(receiver.store.spans()) == 1


def test_a_dead_destination_holds_up_neither_spans_nor_shutdown(provider, tracer):
    processor = BroadcastSpanProcessor(endpoint=refusing())
    provider.add_span_processor(processor)
    began = time.monotonic()
    for _ in range(200):
        tracer.start_span("theirs", attributes=SEMCONV).end()
    assert time.monotonic() - began < 1
    assert not processor.force_flush(100)
    processor.shutdown()
    assert time.monotonic() - began < 6
    (books,) = processor.status()
    assert balanced(books)


def test_force_flush_says_when_something_was_lost(provider, tracer, receiver):
    receiver.script(Reply(400))
    processor = BroadcastSpanProcessor(endpoint=receiver.endpoint)
    provider.add_span_processor(processor)
    tracer.start_span("theirs", attributes=SEMCONV).end()
    assert not processor.force_flush(5_000)


def test_a_fault_of_ours_never_reaches_the_app(provider, tracer, monkeypatch, caplog):
    from llm_otel_broadcast import guard

    monkeypatch.setattr(guard, "raise_again", False)
    processor = BroadcastSpanProcessor(endpoint=refusing())
    with trace_context(user="ann"):
        processor.on_start(None)
    processor.on_end(None)
    assert guard.errors["taking a span of another instrumentation"] == 2
    assert "taking a span of another instrumentation" in caplog.text
    processor.shutdown()


def test_spans_that_never_end_do_not_pile_up(own, provider, tracer, monkeypatch):
    monkeypatch.setattr("llm_otel_broadcast.overlap._MAX", 50)
    own()
    with trace_context(user="ann"):
        for _ in range(100):
            tracer.start_span("never ended")
    assert len(overlap._marks) == 50


def test_nothing_is_noted_once_no_processor_is_there(client, provider, tracer, receiver):
    processor = BroadcastSpanProcessor(endpoint=receiver.endpoint)
    processor.shutdown()
    processor.shutdown()
    assert (overlap.processors, overlap.sharing) == (0, 0)
    instrument(endpoint=receiver.endpoint, app_spans=False)
    with tracer.start_as_current_span("theirs", attributes=SEMCONV):
        client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    assert not overlap._marks


def test_an_unsampled_span_is_not_recorded_and_costs_nothing(receiver):
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    processor = BroadcastSpanProcessor(endpoint=receiver.endpoint)
    provider.add_span_processor(processor)
    provider.get_tracer("x").start_span("theirs", attributes=SEMCONV).end()
    assert provider.force_flush()
    assert receiver.requests == []
    provider.shutdown()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_sends_its_own_spans_once(own, tracer, receiver):
    read = own()
    tracer.start_span("parent", attributes=SEMCONV).end()
    pid = os.fork()
    if not pid:
        tracer.start_span("child", attributes=SEMCONV).end()
        os._exit(0 if llm_otel_broadcast.flush(5) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert sorted(span.name for span in read(2)) == ["child", "parent"]


def test_spans_of_many_threads_all_arrive(own, tracer):
    read = own()

    def work(number):
        for _ in range(50):
            tracer.start_span(f"thread {number}", attributes=SEMCONV).end()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    read(200)


def test_a_current_span_of_the_apps_stays_current(own, tracer):
    read = own()
    with tracer.start_as_current_span("theirs", attributes=SEMCONV) as span:
        assert trace.get_current_span() is span
    assert trace.get_current_span() is trace.INVALID_SPAN
    read(1)
