"""Fixtures: a stand-in for the API, a receiver for the traces, and nothing left over between tests."""

from __future__ import annotations

import os
import platform
import signal
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast.app.other_tracers import overlap
from llm_otel_broadcast.clients.stream_watch import end_open_streams
from llm_otel_broadcast.host import guard
from llm_otel_broadcast.host.logs import drain
from llm_otel_broadcast.receiver import OtlpReceiver, ReceivedSpan
from llm_otel_broadcast.runtime.runs import registry
from llm_otel_broadcast.settings.destination import SHORTHAND
from llm_otel_broadcast.settings.environment import DISABLED, variables
from llm_otel_broadcast.settings.locations import CONFIG
from llm_otel_broadcast.tracing.placement import roots
from tests.support.books import assert_balanced
from tests.support.stand_in.server import StandIn

NAMED = (
    "openai",
    "httpx",
    "httpx2",
    "opentelemetry-api",
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-http",
    "protobuf",
    "wrapt",
    "urllib3",
    "genai-prices",
    "click",
    "rich",
    "tomlkit",
)


def pytest_configure() -> None:
    """Keep a developer's own settings file out, here and in the programs that are started.

    And undo what a shell does to a command in the background: it ignores SIGINT, and so would our programs.
    """
    os.environ[CONFIG] = os.devnull
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    """Say what the tests run with: `oldest`, `compat` and `next` differ in nothing else."""
    return f"with Python {platform.python_version()}, {', '.join(filter(None, map(_installed, NAMED)))}"


def _installed(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return ""


@pytest.fixture(autouse=True)
def _no_leftovers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Our own errors are raised in tests, the environment names no destination, and each test ends uninstrumented with balanced books."""
    monkeypatch.setattr(guard, "raise_again", True)
    of_files = ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")
    for name in ("ENDPOINT", "TRACES_ENDPOINT", "HEADERS", "TRACES_HEADERS", *of_files):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)
    for name in ("OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", DISABLED, *(variable.name for variable in variables())):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield
    end_open_streams()
    llm_otel_broadcast.shutdown(0.2)
    # Whatever the test did: no record is nowhere.
    assert_balanced(llm_otel_broadcast.status())
    guard.errors.clear()
    guard.reminders.clear()
    overlap.clear()
    roots.clear()
    registry.ended_totals.clear()


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as running:
        yield running


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with StandIn() as running:
        yield running


@pytest.fixture
def url_at(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Base URLs at any host for clients that the stand-in answers as their proxy."""
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, stand_in.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    return "http://{}/v1".format


@pytest.fixture
def as_openai(url_at: Callable[[str], str]) -> str:
    """The base URL of OpenAI, whose models have list prices."""
    return url_at("api.openai.com")


@pytest.fixture
def client(stand_in: StandIn) -> Iterator[openai.OpenAI]:
    http = openai.DefaultHttpxClient(verify=False)  # loading certificates takes longer than a call
    with openai.OpenAI(api_key="sk-test", base_url=stand_in.base_url, max_retries=0, http_client=http) as made:
        yield made


@pytest.fixture
def instrumented(receiver: OtlpReceiver) -> Callable[..., llm_otel_broadcast.Handle]:
    """Instrument with one destination, the receiver; keyword arguments go to `instrument` or, if it has them, `Destination`."""

    def instrument(**options: object) -> llm_otel_broadcast.Handle:
        names = {*SHORTHAND, "name"} - {"endpoint", "exporter"}
        own = {name: options.pop(name) for name in list(options) if name in names}
        destination = llm_otel_broadcast.Destination(endpoint=receiver.endpoint, batch_delay=0.0, **own)
        return llm_otel_broadcast.instrument(destinations=[destination], **options)

    return instrument


@pytest.fixture
def arrived(receiver: OtlpReceiver) -> Callable[..., list[ReceivedSpan]]:
    """Flush, and return what the receiver holds; exactly `count` spans when that is given."""

    def read(count: int | None = None) -> list[ReceivedSpan]:
        assert llm_otel_broadcast.flush(5.0)
        spans = receiver.store.spans()
        assert count is None or len(spans) == count, [span.name for span in spans]
        return spans

    return read


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What was logged; what a thread of the program said is logged by a thread of ours a moment later, and waited for."""
    return DrainedLog(caplog)


class DrainedLog:
    """pytest's `caplog`, whose records are complete when they are looked at."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def __getattr__(self, name: str) -> object:
        if name in ("records", "text", "messages", "record_tuples"):
            drain(time.monotonic() + 10)
        return getattr(self._caplog, name)
