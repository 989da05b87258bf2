"""A processor from its beginning to its end, in threads, forks and trouble."""

from __future__ import annotations

import os
import threading
import time

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import llm_otel_broadcast
from llm_otel_broadcast import BroadcastSpanProcessor, ConfigError, instrument, trace_context
from llm_otel_broadcast.app.other_tracers import overlap
from llm_otel_broadcast.receiver.server import Reply
from tests.support.books import balanced
from tests.support.broken_backends import refusing
from tests.support.client_calls import MESSAGES
from tests.support.deadlines import until
from tests.support.foreign_spans import SEMCONV


def test_a_wrong_setting_is_refused_where_it_is_given():
    with pytest.raises(ConfigError, match="hide has 'prompts'"):
        BroadcastSpanProcessor(endpoint="http://backend.example", hide={"prompts"})
    with pytest.raises(ConfigError, match="has nowhere to send: give endpoint"):
        BroadcastSpanProcessor(hide={"inputs"})


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "nowhere"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"},
    ],
    ids=str,
)
def test_a_destination_of_opentelemetrys_variables_that_cannot_be_used_is_named_and_stops_nothing(
    monkeypatch, variables, caplog
):
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("LLM_OTEL_BROADCAST_TO", "one of a file's")
    BroadcastSpanProcessor(privacy_mode=True).shutdown()
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in caplog.text


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


def test_a_handle_of_nothing_leaves_processors_running(provider, tracer, receiver, monkeypatch):
    processor = BroadcastSpanProcessor(endpoint=receiver.endpoint)
    provider.add_span_processor(processor)
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with instrument() as handle:
        assert handle.status().destinations == ()
    tracer.start_span("theirs", attributes=SEMCONV).end()
    assert processor.force_flush(5_000)
    assert [span.name for span in receiver.store.spans()] == ["theirs"]


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
    from llm_otel_broadcast.host import guard

    monkeypatch.setattr(guard, "raise_again", False)
    processor = BroadcastSpanProcessor(endpoint=refusing())
    with trace_context(user="ann"):
        processor.on_start(None)
    processor.on_end(None)
    assert guard.errors["taking a span of another instrumentation"] == 2
    until(lambda: "taking a span of another instrumentation" in caplog.text)
    processor.shutdown()


def test_spans_that_never_end_do_not_pile_up(own, provider, tracer, monkeypatch):
    monkeypatch.setattr(overlap._marks, "max_entries", 50)
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
