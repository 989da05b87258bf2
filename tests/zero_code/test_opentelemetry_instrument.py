"""`opentelemetry-instrument` switches us on by our entry point."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points, requires

import pytest
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

import llm_otel_broadcast
from tests.support.client_calls import chat
from tests.zero_code.programs import CALL, RUN, start

COMMAND = (
    sys.executable,
    "-c",
    "from opentelemetry.instrumentation.auto_instrumentation import run; run()",
)


@pytest.fixture
def instrumentor():
    (found,) = entry_points(group="opentelemetry_instrumentor", name="llm_otel_broadcast")
    return found.load()()


@pytest.mark.parametrize(
    "command", [COMMAND, (*RUN, *COMMAND), (*COMMAND, *RUN)], ids=["alone", "within run", "around run"]
)
def test_a_program_is_traced_once(environment, receiver, command):
    done = start(*command, "python", "-c", CALL, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert [span.name for span in receiver.store.spans()] == ["chat gpt-4o-mini"]


def test_it_can_be_kept_off(environment, receiver):
    given = {**environment, "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "llm_otel_broadcast"}
    assert start(*COMMAND, "python", "-c", CALL, env=given).returncode == 0
    assert not receiver.requests


def test_a_wrong_setting_is_one_line_and_the_program_runs(environment):
    given = {**environment, "LLM_OTEL_BROADCAST_TIMEOUT": "soon"}
    done = start(*COMMAND, "python", "-c", "print('ran')", env=given)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert done.stderr.startswith("llm-otel-broadcast: LLM_OTEL_BROADCAST_TIMEOUT: timeout must be")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [COMMAND, RUN], ids=["opentelemetry-instrument", "run"])
@pytest.mark.parametrize(("exporters", "count"), [("none", 0), ("otlp", 1)])
def test_traces_that_are_not_exported_by_otlp_are_not_sent_to_its_endpoint(
    calling, receiver, command, exporters, count
):
    given = {
        **calling,
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint.removesuffix("/v1/traces"),
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": exporters,
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    assert start(*command, "python", "-c", CALL, env=given).returncode == 0
    assert len(receiver.store.spans()) == count


def test_it_has_what_an_instrumentor_of_opentelemetrys_has(instrumentor):
    assert [
        name for name in dir(BaseInstrumentor) if not name.startswith("_") and not hasattr(instrumentor, name)
    ] == []
    (needed,) = instrumentor.instrumentation_dependencies()
    assert needed.startswith("openai")


def test_the_extra_that_opentelemetry_asks_for_says_the_same_as_the_dependency():
    needed = [wanted for wanted in requires("llm-otel-broadcast") if wanted.startswith("openai")]
    assert [wanted.partition(";")[0].strip() for wanted in needed] == [needed[0], needed[0]]


def test_it_can_be_called_by_hand_and_undone(instrumentor, stand_in, receiver):
    llm_otel_broadcast.instrumentation.registry.newest = None  # as in a new process
    instrumentor.instrument(endpoint=receiver.endpoint, meter_provider=object(), skip_dep_check=True)
    assert instrumentor.is_instrumented_by_opentelemetry
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush()
    instrumentor.uninstrument()
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush()
    assert len(receiver.store.spans()) == 1
    assert not instrumentor.is_instrumented_by_opentelemetry
