"""The destinations' books as metrics, in the app's own meter provider."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint, Sum
from opentelemetry.sdk.trace import TracerProvider

import llm_otel_broadcast
from llm_otel_broadcast import BroadcastSpanProcessor, Destination
from llm_otel_broadcast.host import guard
from llm_otel_broadcast.receiver import Reply
from llm_otel_broadcast.runtime import books_metrics
from llm_otel_broadcast.runtime.runs import registry
from tests.support.broken_backends import refusing
from tests.support.client_calls import chat
from tests.support.deadlines import until
from tests.support.global_providers import global_meter_provider

PREFIX = "llm_otel_broadcast.destination."
PAGE = Path(__file__).parent.parent.parent / "docs" / "metrics.md"


@pytest.fixture
def reader() -> Iterator[InMemoryMetricReader]:
    made = InMemoryMetricReader()
    with global_meter_provider(MeterProvider(metric_readers=[made])):
        yield made


def collected(reader: InMemoryMetricReader) -> dict[str, Sum]:
    """Return the metrics about the books by name, without the prefix that they share."""
    data = reader.get_metrics_data()
    metrics = [
        metric
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name.startswith(PREFIX)
    ]
    by_name = {metric.name.removeprefix(PREFIX): metric.data for metric in metrics}
    assert len(by_name) == len(metrics)
    return by_name


def figures(reader: InMemoryMetricReader, destination: str) -> dict[str, int]:
    """Return one destination's figures by metric, with the reason where there is one."""

    def name_of(metric: str, point: NumberDataPoint) -> str:
        attributes = dict(point.attributes)
        assert attributes.pop(f"{PREFIX}name") == destination
        return " ".join((metric, *attributes.values()))

    return {
        name_of(metric, point): point.value
        for metric, data in collected(reader).items()
        for point in data.data_points
        if point.attributes[f"{PREFIX}name"] == destination
    }


def to(endpoint: str, name: str = "mine", **more: object) -> Destination:
    return Destination(name=name, endpoint=endpoint, batch_delay=0.0, **more)


def test_every_figure_of_status_is_there_with_its_reason(stand_in, receiver, reader):
    rules = {"groups": [{"rules": [{"field": "model", "operator": "equals", "value": "no such model"}]}]}
    llm_otel_broadcast.instrument(
        destinations=[to(receiver.endpoint), to(receiver.endpoint, "none of it", filter_rules=rules)]
    )
    receiver.script(Reply(400), Reply(503))
    for _ in range(3):
        chat("sync", stand_in.base_url)
        llm_otel_broadcast.flush(5.0)
    mine, none_of_it = llm_otel_broadcast.status().destinations
    assert figures(reader, "mine") == {
        "record.produced": 3,
        "record.delivered": 2,
        "record.dropped refused": 1,
        "record.retried": mine.retried,
        "queue.size": 0,
        "queue.memory": 0,
        "spool.size": 0,
    }
    assert mine.retried == 1
    assert figures(reader, "none of it")["record.left_out filtered"] == none_of_it.left_out["filtered"] == 3


def test_what_waits_is_told_in_records_and_bytes(stand_in, reader):
    llm_otel_broadcast.instrument(destinations=[to(refusing())])
    chat("sync", stand_in.base_url)
    until(lambda: llm_otel_broadcast.status().destinations[0].last_error)
    told = figures(reader, "mine")
    assert (told["record.produced"], told["record.delivered"], told["queue.size"]) == (1, 0, 1)
    assert told["queue.memory"] == llm_otel_broadcast.status().destinations[0].queued_bytes > 0


def test_counters_are_monotonic_and_gauges_are_not(stand_in, instrumented, reader):
    instrumented()
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush(5.0)
    monotonic = {name: data.is_monotonic for name, data in collected(reader).items()}
    assert monotonic == {name: name.startswith("record.") for name in monotonic}


def test_a_provider_set_late_is_found(stand_in, instrumented):
    instrumented(name="mine")
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush(5.0)
    made = InMemoryMetricReader()
    with global_meter_provider(MeterProvider(metric_readers=[made])):
        chat("sync", stand_in.base_url)
        assert llm_otel_broadcast.flush(5.0)
        assert figures(made, "mine")["record.produced"] == 2


def test_settings_that_change_register_nothing_twice_and_no_counter_goes_down(stand_in, receiver, reader, caplog):
    for batch_delay in (0.0, 0.01, 0.0):
        destination = Destination(name="mine", endpoint=receiver.endpoint, batch_delay=batch_delay)
        llm_otel_broadcast.instrument(destinations=[destination])
        chat("sync", stand_in.base_url)
        assert llm_otel_broadcast.flush(5.0)
    assert figures(reader, "mine")["record.delivered"] == 3
    # as when the settings before have been delivered and forgotten
    for run in registry.replaced():
        run.shutdown(1.0)
    assert figures(reader, "mine")["record.delivered"] == 3
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]


def test_uninstrument_makes_them_silent_and_instrument_brings_them_back(stand_in, instrumented, reader):
    instrumented(name="mine")
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush(5.0)
    assert figures(reader, "mine")
    llm_otel_broadcast.uninstrument()
    assert collected(reader) == {}
    instrumented(name="mine")
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush(5.0)
    assert figures(reader, "mine")["record.delivered"] == 2


def test_a_program_that_shuts_us_down_before_its_provider_has_the_last_figures(stand_in, receiver, reader):
    """A job of seconds ends before its first collection; what it lost is the figure that matters."""
    llm_otel_broadcast.instrument(destinations=[to(refusing())])
    chat("sync", stand_in.base_url)
    until(lambda: llm_otel_broadcast.status().destinations[0].last_error)
    llm_otel_broadcast.shutdown(0.1)
    told = figures(reader, "mine")
    assert (told["record.produced"], told["record.dropped stopped"], told["queue.size"]) == (1, 1, 0)
    assert collected(reader) == {}


def test_a_span_processors_own_destination_is_among_them(receiver, reader):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BroadcastSpanProcessor(destinations=[to(receiver.endpoint)], all_spans=True))
    provider.get_tracer("theirs").start_span("theirs").end()
    assert provider.force_flush(5_000)
    assert figures(reader, "mine")["record.delivered"] == 1
    provider.shutdown()
    assert collected(reader) == {}


def test_a_fault_of_ours_leaves_the_apps_other_metrics_alone(stand_in, instrumented, reader, monkeypatch):
    monkeypatch.setattr(guard, "raise_again", False)
    instrumented(name="mine")
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush(5.0)
    monkeypatch.setattr(registry, "totals", lambda: 1 / 0)
    names = {
        metric.name for scope in reader.get_metrics_data().resource_metrics[0].scope_metrics for metric in scope.metrics
    }
    assert "gen_ai.client.operation.duration" in names
    assert not any(name.startswith(PREFIX) for name in names)
    assert guard.errors["reading the books for the app's metrics"] > 0


def test_the_page_about_them_names_each_with_its_unit():
    rows = [line.split("|")[1:3] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    documented = {name.strip().strip("`"): unit.strip().strip("`") for name, unit in rows}
    assert documented == {f"{PREFIX}{made.name}": made.unit for made in books_metrics._INSTRUMENTS}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_counts_from_zero_and_figures_need_no_metrics_sdk(stand_in, receiver):
    program = """
import os, sys, openai, llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.runtime.runs import registry
endpoint, base_url = sys.argv[1:]
def figures():
    return {name: {subject: count for (subject, _), count in books.items() if count} for name, books in registry.totals().items()}
def call():
    with openai.OpenAI(api_key="x", base_url=base_url) as client:
        client.chat.completions.create(model="m", messages=[])
    assert llm_otel_broadcast.flush(10)
for _ in range(2):
    handle = llm_otel_broadcast.instrument(destinations=[Destination(name="mine", endpoint=endpoint, batch_delay=0.0)])
    call()
    handle.shutdown()
handle = llm_otel_broadcast.instrument(destinations=[Destination(name="mine", endpoint=endpoint, batch_delay=0.0)])
print(figures(), flush=True)
child = os.fork()
if not child:
    call()
    print(figures(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print([name for name in sys.modules if name.startswith("opentelemetry.sdk.metrics")])
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, receiver.endpoint, stand_in.base_url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "{'mine': {'produced': 2, 'delivered': 2}}",
        "{'mine': {'produced': 1, 'delivered': 1}}",
        "[]",
    ]
