"""The GenAI client metrics, in the app's own meter provider."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import llm_otel_broadcast
from llm_otel_broadcast.app.metrics import AppMetrics
from llm_otel_broadcast.stand_in.answers import completion, error, message, stream, usage_of
from tests.support.client_calls import chat
from tests.support.global_providers import global_meter_provider

STORY = message("Once upon a time.")


@pytest.fixture
def reader() -> Iterator[InMemoryMetricReader]:
    made = InMemoryMetricReader()
    with global_meter_provider(MeterProvider(metric_readers=[made])):
        yield made


def points(reader, name: str) -> list:
    """Return the data points of a metric, after everything recorded has got there."""
    assert llm_otel_broadcast.flush(5.0)
    data = reader.get_metrics_data()
    if data is None:
        return []
    return [
        point
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
    ]


def test_a_call_counts_its_tokens_by_kind(kind, stand_in, instrumented, reader):
    stand_in.script(completion(STORY, usage=usage_of(120, 30)))
    instrumented()
    chat(kind, stand_in.base_url)
    counted = {
        point.attributes["gen_ai.token.type"]: point.sum for point in points(reader, "gen_ai.client.token.usage")
    }
    assert counted == {"input": 120, "output": 30}


def test_the_duration_is_in_seconds_and_says_what_was_called(stand_in, instrumented, reader):
    stand_in.script(completion(STORY).slower(delay=0.1))
    instrumented()
    chat("sync", stand_in.base_url)
    (point,) = points(reader, "gen_ai.client.operation.duration")
    assert 0.1 <= point.sum < 5
    assert point.attributes["gen_ai.operation.name"] == "chat"
    assert point.attributes["gen_ai.request.model"] == "gpt-4o-mini"
    assert point.attributes["gen_ai.response.model"] == "gpt-4o-mini"
    assert point.attributes["server.port"] > 0


def test_an_error_is_told_by_its_type_and_counts_no_tokens(stand_in, instrumented, reader):
    stand_in.script(error(429, "Too many."))
    instrumented()
    with pytest.raises(Exception, match="Too many"):
        chat("sync", stand_in.base_url)
    (point,) = points(reader, "gen_ai.client.operation.duration")
    assert point.attributes["error.type"] == "RateLimitError"
    assert points(reader, "gen_ai.client.token.usage") == []


def test_a_stream_measures_its_first_chunk_and_each_further_one(kind, stand_in, instrumented, reader):
    stand_in.script(stream(STORY, usage=usage_of(9, 4)).slower(delay=0.05, pause=0.02))
    instrumented()
    chunks = chat(kind, stand_in.base_url, stream=True)
    (first,) = points(reader, "gen_ai.client.operation.time_to_first_chunk")
    (further,) = points(reader, "gen_ai.client.operation.time_per_output_chunk")
    assert first.sum >= 0.05
    assert further.count == len(chunks) - 1
    assert further.sum >= 0.02 * (len(chunks) - 2)


def test_the_cost_adds_up_in_usd(stand_in, instrumented, reader):
    model = "openai/gpt-4o"
    stand_in.script(*[completion(STORY, model=model, usage=usage_of(1000, 100, model=model))] * 2)
    instrumented()
    chat("sync", stand_in.base_url, model=model)
    chat("sync", stand_in.base_url, model=model)
    (point,) = points(reader, "gen_ai.client.cost")
    assert point.value == pytest.approx(2 * (1000 * 2.5e-6 + 100 * 1e-5))


def test_no_attribute_has_a_value_of_its_own_for_each_call(stand_in, instrumented, reader):
    instrumented()
    for number in range(3):
        chat("sync", stand_in.base_url, user=f"user {number}", extra_body={"session_id": f"s{number}"})
    assert [point.count for point in points(reader, "gen_ai.client.operation.duration")] == [3]


@pytest.mark.skipif(
    "explicit_bucket_boundaries_advisory" not in inspect.signature(Meter.create_histogram).parameters,
    reason="this version of OpenTelemetry takes no advice about buckets",
)
def test_the_buckets_are_those_of_the_conventions(stand_in, instrumented, reader):
    instrumented()
    chat("sync", stand_in.base_url)
    (duration,) = points(reader, "gen_ai.client.operation.duration")
    tokens = points(reader, "gen_ai.client.token.usage")
    assert tuple(duration.explicit_bounds)[:3] == (0.01, 0.02, 0.04)
    assert tuple(tokens[0].explicit_bounds)[-1] == 67_108_864


def test_metrics_are_recorded_without_any_destination(stand_in, reader):
    llm_otel_broadcast.instrument(destinations=[])
    chat("sync", stand_in.base_url)
    assert len(points(reader, "gen_ai.client.operation.duration")) == 1
    assert llm_otel_broadcast.status().destinations == ()


def test_a_provider_set_after_instrument_is_found(stand_in, instrumented):
    instrumented()
    chat("sync", stand_in.base_url)
    made = InMemoryMetricReader()
    with global_meter_provider(MeterProvider(metric_readers=[made])):
        chat("sync", stand_in.base_url)
        assert [point.count for point in points(made, "gen_ai.client.operation.duration")] == [1]


def test_without_a_provider_nothing_is_measured(stand_in, instrumented):
    import threading

    instrumented()
    chat("sync", stand_in.base_url, stream=True)
    assert llm_otel_broadcast.flush(5.0)
    assert "llm-otel-broadcast metrics" not in {thread.name for thread in threading.enumerate()}


def test_a_name_that_a_server_makes_up_is_not_kept_at_any_length(stand_in, instrumented, reader):
    """A meter provider keeps each set of attributes for good."""
    stand_in.script(completion(STORY, model="m" * 1_000_000))
    instrumented()
    chat("sync", stand_in.base_url)
    (point,) = points(reader, "gen_ai.client.operation.duration")
    assert point.attributes["gen_ai.response.model"] == "m" * 256


def test_while_another_thread_imports_the_api_there_is_no_provider(monkeypatch):
    for name in ("opentelemetry.metrics", "opentelemetry.metrics._internal"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    assert AppMetrics.provider() is None
