"""instrument(), flush(), shutdown(), status(), and the end of the process."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time

import pytest

import llm_otel_broadcast
from llm_otel_broadcast import ConfigError, Destination
from llm_otel_broadcast.receiver import OtlpReceiver, Reply
from llm_otel_broadcast.wire import retry
from tests.support.client_calls import chat
from tests.support.deadlines import until


def test_the_handle_is_a_context_manager_that_delivers_and_stops(stand_in, receiver):
    with llm_otel_broadcast.instrument(endpoint=receiver.endpoint) as handle:
        chat("sync", stand_in.base_url)
    assert len(receiver.store.spans()) == 1
    assert not handle.status().instrumented


def test_flush_and_status_work_after_uninstrument(stand_in, receiver):
    llm_otel_broadcast.instrument(endpoint=receiver.endpoint)
    chat("sync", stand_in.base_url)
    llm_otel_broadcast.uninstrument()
    assert llm_otel_broadcast.flush()
    (books,) = llm_otel_broadcast.status().destinations
    assert (books.produced, books.delivered) == (1, 1)


def test_status_tells_produced_delivered_dropped_and_the_last_error(stand_in, receiver):
    receiver.script(Reply(400, body=b"bad header"))
    handle = llm_otel_broadcast.instrument(endpoint=receiver.endpoint)
    chat("sync", stand_in.base_url)
    assert not handle.flush()
    chat("sync", stand_in.base_url)
    assert handle.flush()
    (books,) = handle.status().destinations
    assert (books.produced, books.delivered, books.dropped, books.queued_records) == (2, 1, {"refused": 1}, 0)
    assert "400" in books.last_error
    assert time.time() - books.last_success < 10


def test_status_counts_what_was_tried_again(stand_in, receiver):
    receiver.script(Reply(503, headers={"Retry-After": "0"}))
    handle = llm_otel_broadcast.instrument(endpoint=receiver.endpoint)
    chat("sync", stand_in.base_url)
    assert handle.flush()
    (books,) = handle.status().destinations
    assert (books.delivered, books.retried) == (1, 1)


def test_before_instrument_everything_is_quiet():
    program = (
        "import llm_otel_broadcast as l; l.uninstrument(); l.shutdown(); "
        "print(l.flush(), l.status().instrumented, l.status().destinations)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.strip() == "True False ()"


def test_instrumenting_again_delivers_what_the_old_settings_had(stand_in, receiver):
    with OtlpReceiver() as other:
        llm_otel_broadcast.instrument(endpoint=receiver.endpoint)
        chat("sync", stand_in.base_url)
        llm_otel_broadcast.instrument(endpoint=other.endpoint)
        chat("sync", stand_in.base_url)
        assert llm_otel_broadcast.flush()
        assert len(other.store.spans()) == 1
        assert len(receiver.store.wait_for(1)) == 1


def test_instrumenting_again_with_the_same_arguments_keeps_what_waits(client, receiver, monkeypatch):
    monkeypatch.setattr(retry, "delay", lambda *_: 0.05)
    receiver.script(*[Reply(503)] * 5)
    for _ in range(3):
        llm_otel_broadcast.instrument(endpoint=receiver.endpoint, exit_timeout=0.01)
        client.chat.completions.create(model="gpt-4o", messages=[])
    assert llm_otel_broadcast.flush()
    (books,) = llm_otel_broadcast.status().destinations
    assert (books.produced, books.delivered, books.dropped) == (3, 3, {})


def test_a_destination_that_is_no_longer_wanted_is_in_the_status_until_nothing_waits(client, receiver):
    receiver.hang = threading.Event()
    llm_otel_broadcast.instrument(endpoint=receiver.endpoint, exit_timeout=0.01)
    client.chat.completions.create(model="gpt-4o", messages=[])
    with OtlpReceiver() as other:
        llm_otel_broadcast.instrument(endpoint=other.endpoint)
        receiver.wait_for_requests(1)
        waiting = [(books.name, books.queued_records) for books in llm_otel_broadcast.status().destinations]
        assert waiting == [(other.endpoint.split("/")[2], 0), (receiver.endpoint.split("/")[2], 1)]
        receiver.hang.set()
        until(lambda: len(llm_otel_broadcast.status().destinations) == 1)
        assert len(receiver.store.spans()) == 1


def test_a_stream_open_at_the_end_of_the_process_is_delivered_as_abandoned(stand_in, receiver):
    done = run(
        stand_in,
        receiver.endpoint,
        'chunks = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}], stream=True)\n'
        "next(chunks)",
    )
    assert done.returncode == 0, done.stderr
    spans = {span.attributes["gen_ai.request.model"]: span for span in receiver.store.wait_for(2)}
    assert spans["m"].attributes["error.type"] == "abandoned"


def test_a_stream_open_while_settings_change_ends_under_the_new_ones(client, receiver):
    with OtlpReceiver() as other:
        old = llm_otel_broadcast.instrument(endpoint=receiver.endpoint)
        asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
        chunks = client.chat.completions.create(**asked)
        llm_otel_broadcast.instrument(endpoint=other.endpoint, capture_content=False)
        old.shutdown()
        assert list(chunks)
        assert llm_otel_broadcast.flush()
        (span,) = other.store.spans()
    assert span.status_code == 0
    assert "gen_ai.input.messages" not in span.attributes


def test_threads_start_with_the_first_call(stand_in, receiver):
    """Nothing before the fork of a preloading server."""
    import threading

    before = threading.active_count()
    llm_otel_broadcast.instrument(endpoint=receiver.endpoint)
    assert threading.active_count() == before
    chat("sync", stand_in.base_url)
    assert [thread for thread in threading.enumerate() if thread.name.startswith("llm-otel-broadcast")]


def test_shutdown_is_bounded_with_a_destination_that_hangs(stand_in, receiver):
    import threading

    receiver.hang = threading.Event()
    handle = llm_otel_broadcast.instrument(endpoint=receiver.endpoint)
    chat("sync", stand_in.base_url)
    started = time.monotonic()
    handle.shutdown(timeout=0.3)
    assert time.monotonic() - started < 1.5
    (books,) = handle.status().destinations
    assert books.dropped == {"unanswered": 1}


def test_shutdown_twice_is_harmless(receiver):
    handle = llm_otel_broadcast.instrument(endpoint=receiver.endpoint)
    handle.shutdown()
    handle.shutdown()


PROGRAM = """
import time, llm_otel_broadcast, openai
llm_otel_broadcast.instrument(endpoint={endpoint!r}, exit_timeout=1.0)
client = openai.OpenAI(api_key="x", base_url={base_url!r})
client.chat.completions.create(model="gpt-4o", messages=[{{"role": "user", "content": "Hi"}}])
{then}
"""


def run(stand_in, endpoint: str, then: str = "") -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(endpoint=endpoint, base_url=stand_in.base_url, then=then)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)


def test_the_end_of_the_process_delivers_what_is_left(stand_in, receiver):
    done = run(stand_in, receiver.endpoint)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(receiver.store.spans()) == 1


def test_an_error_of_the_program_delivers_too(stand_in, receiver):
    done = run(stand_in, receiver.endpoint, "raise SystemExit(3)")
    assert done.returncode == 3
    assert len(receiver.store.spans()) == 1


def test_the_end_of_the_process_waits_no_longer_than_exit_timeout(stand_in):
    started = time.monotonic()
    done = run(stand_in, "http://127.0.0.1:9")
    assert done.returncode == 0
    assert time.monotonic() - started < 10
    assert "dropped (stopped)" in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_sends_its_own_calls_and_nothing_twice(stand_in, receiver):
    then = """
import os
child = os.fork()
client2 = openai.OpenAI(api_key="x", base_url=client.base_url)
client2.chat.completions.create(model="child" if child == 0 else "parent", messages=[{"role": "user", "content": "Hi"}])
ok = llm_otel_broadcast.flush()
if child:
    os.waitpid(child, 0)
"""
    done = run(stand_in, receiver.endpoint, then)
    assert done.returncode == 0, done.stderr
    assert sorted(span.name for span in receiver.store.spans()) == ["chat child", "chat gpt-4o", "chat parent"]


def test_without_a_destination_or_provider_one_warning_names_the_fix(caplog):
    with caplog.at_level(logging.WARNING, "llm_otel_broadcast"):
        llm_otel_broadcast.instrument()
    (said,) = caplog.records
    assert "endpoint=" in said.getMessage()
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in said.getMessage()


def test_the_environment_names_a_destination(stand_in, receiver, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint.removesuffix("/v1/traces"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=red%20team")
    llm_otel_broadcast.instrument()
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush()
    assert receiver.requests[0].headers["x-team"] == "red team"


def test_a_destination_from_the_environment_makes_no_courtesy_spans(stand_in, receiver, monkeypatch):
    """The app's SDK exports to the same place: every span would arrive twice."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint.removesuffix("/v1/traces"))
    llm_otel_broadcast.instrument(tracer_provider=provider)
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush()
    assert not memory.get_finished_spans()
    provider.shutdown()


def test_an_exporter_is_handed_over_as_configured(stand_in):
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    memory = InMemorySpanExporter()
    handle = llm_otel_broadcast.instrument(destinations=[Destination(exporter=memory)])
    chat("sync", stand_in.base_url)
    assert handle.flush()
    (span,) = memory.get_finished_spans()
    assert span.name == "chat gpt-4o-mini"


def test_opentelemetrys_own_otlp_exporter_delivers(stand_in, receiver):
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    handle = llm_otel_broadcast.instrument(exporter=OTLPSpanExporter(endpoint=receiver.endpoint))
    chat("sync", stand_in.base_url)
    assert handle.flush()
    assert receiver.requests[0].content_type == "application/x-protobuf"


def test_a_backend_without_json_gets_protobuf_from_then_on(stand_in, receiver):
    receiver.json_allowed = False
    handle = llm_otel_broadcast.instrument(endpoint=receiver.endpoint)
    for _ in range(2):
        chat("sync", stand_in.base_url)
        assert handle.flush()
    kinds = [request.content_type for request in receiver.requests]
    assert kinds == ["application/json", "application/x-protobuf", "application/x-protobuf"]
    assert len(receiver.store.spans()) == 2


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_both_encodings_say_the_same(stand_in, receiver, encoding):
    handle = llm_otel_broadcast.instrument(
        destinations=[Destination(endpoint=receiver.endpoint, encoding=encoding, compression="gzip")],
        service_name="checkout",
    )
    chat("sync", stand_in.base_url, temperature=0, stop=["a", "b"], extra_body={"trace": {"ok": True, "ratio": 0.5}})
    assert handle.flush()
    (span,) = receiver.store.spans()
    assert span.resource["service.name"] == "checkout"
    expected = {
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.stop_sequences": ["a", "b"],
        "trace.metadata.ok": True,
        "trace.metadata.ratio": 0.5,
    }
    assert expected.items() <= span.attributes.items()
    assert receiver.requests[0].headers["content-encoding"] == "gzip"


def test_every_fault_of_the_settings_is_named_at_once():
    with pytest.raises(ConfigError) as wrong:
        llm_otel_broadcast.instrument(endpoint="localhost:4318", headers={"X-Axiom-Dataset": 5}, timeout=-1)
    text = str(wrong.value)
    assert 'endpoint "localhost:4318" needs http:// or https:// in front' in text
    assert 'header "X-Axiom-Dataset" must be a string, got int 5' in text
    assert "timeout" in text
    assert len(wrong.value.faults) == 3


def test_a_wrong_setting_leaves_the_old_ones_in_force(stand_in, receiver):
    llm_otel_broadcast.instrument(endpoint=receiver.endpoint)
    with pytest.raises(ConfigError):
        llm_otel_broadcast.instrument(endpoint="nonsense")
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush()
    assert len(receiver.store.spans()) == 1


def test_variables_say_what_arguments_would(stand_in, receiver, monkeypatch):
    monkeypatch.setenv("LLM_OTEL_BROADCAST_ENDPOINT", receiver.endpoint)
    monkeypatch.setenv("LLM_OTEL_BROADCAST_HEADERS", '{"x-team": "red, blue"}')
    monkeypatch.setenv("LLM_OTEL_BROADCAST_TRACE_DEFAULTS", "environment=staging")
    monkeypatch.setenv("LLM_OTEL_BROADCAST_SERVICE_NAME", "checkout")
    monkeypatch.setenv("LLM_OTEL_BROADCAST_PRIVACY_MODE", "true")
    llm_otel_broadcast.instrument()
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush()
    (span,) = receiver.store.spans()
    assert receiver.requests[0].headers["x-team"] == "red, blue"
    assert span.attributes["trace.metadata.environment"] == "staging"
    assert span.resource["service.name"] == "checkout"
    assert "gen_ai.input.messages" not in span.attributes


def test_privacy_reaches_a_destination_that_the_otlp_variables_name(stand_in, receiver, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", receiver.endpoint)
    llm_otel_broadcast.instrument(privacy_mode=True)
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush()
    (span,) = receiver.store.spans()
    assert "gen_ai.input.messages" not in span.attributes


def test_a_misspelt_variable_is_warned_of(receiver, monkeypatch, caplog):
    monkeypatch.setenv("LLM_OTEL_BROADCAST_PRIVATE_MODE", "true")
    with caplog.at_level(logging.WARNING, "llm_otel_broadcast"):
        llm_otel_broadcast.instrument(endpoint=receiver.endpoint)
    (said,) = caplog.records
    assert "did you mean LLM_OTEL_BROADCAST_PRIVACY_MODE" in said.getMessage()


@pytest.mark.parametrize("variable", ["LLM_OTEL_BROADCAST_DISABLED", "OTEL_SDK_DISABLED"])
def test_disabled_means_that_nothing_is_patched_and_the_handle_does_nothing(
    stand_in, receiver, monkeypatch, caplog, variable
):
    from openai.resources.chat.completions import Completions

    monkeypatch.setenv(variable, "true")
    before = Completions.__dict__["create"]
    with (
        caplog.at_level(logging.DEBUG, "llm_otel_broadcast"),
        llm_otel_broadcast.instrument(endpoint="wrong") as handle,
    ):
        assert Completions.__dict__["create"] is before
        chat("sync", stand_in.base_url)
        assert handle.flush()
        assert (handle.status().instrumented, handle.status().destinations) == (False, ())
    (said,) = caplog.records
    assert (said.levelno, variable in said.getMessage()) == (logging.DEBUG, True)
    assert not receiver.requests


def test_figures_are_printed_for_people(receiver, stand_in, instrumented):
    handle = instrumented()
    assert repr(handle).startswith("<Handle: recording, ")
    chat("sync", stand_in.base_url)
    assert handle.flush()
    first, second = str(handle.status()).splitlines()
    assert first == "calls are being recorded"
    assert second.endswith(": 1 produced, 1 delivered")
    handle.shutdown()
    assert repr(handle).startswith("<Handle: not recording, ")
    assert str(handle.status()).startswith("no calls are being recorded\n")
