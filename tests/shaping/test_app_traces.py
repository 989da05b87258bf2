"""Contexts in an app that has tracing of its own."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llm_otel_broadcast import trace_context
from tests.clients.calling import chat


class App:
    def __init__(self) -> None:
        self.memory = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.memory))
        self.tracer = self.provider.get_tracer("app")

    @property
    def spans(self):
        return {span.name: span for span in self.memory.get_finished_spans()}


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
