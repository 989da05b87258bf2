"""Fixtures: a fence round the process, and calls made twice, first without us and then with us."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from llm_otel_broadcast.host import guard
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.stand_in.answers import Answer
from tests.frameworks import fence
from tests.frameworks.outcomes import Told, Way
from tests.support.app import App
from tests.support.stand_in.server import StandIn

ROOT = Path(__file__).parent.parent.parent
QUIET = {
    "DO_NOT_TRACK": "1",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "OPENAI_API_KEY": "sk-test",
    "NO_PROXY": "127.0.0.1",
}
"""What keeps the frameworks from calling home; most of them never do."""


@pytest.fixture(scope="session", autouse=True)
def _at_home() -> Iterator[None]:
    """Put up before any framework is imported: the tests import theirs themselves, so that all can be collected anywhere."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET.items():
            patch.setenv(name, value)
        fence.put_up()
        yield


@pytest.fixture(autouse=True)
def _nobody_strays() -> Iterator[None]:
    yield
    assert not fence.strays


@pytest.fixture
def app() -> Iterator[App]:
    made = App()
    yield made
    made.provider.shutdown()


@pytest.fixture
def go() -> Iterator[Callable[[Way, str], Any]]:
    """Return what calls a way; asynchronous ones in the same loop, because frameworks keep their clients."""
    with asyncio.Runner() as runner:

        def call(way: Way, base_url: str) -> Any:
            result = way(base_url)
            if inspect.iscoroutine(result):
                result = runner.run(result, context=copy_context())
                runner.run(_go_on())
            gc.collect()  # the client's streams are cycles: one that is dropped ends here
            return result

        yield call


async def _go_on() -> None:
    """Let asynchronous generators that were left behind close, which they do in the loop's next rounds, one by one."""
    for round_ in range(60):
        if round_ % 20 == 0:
            gc.collect()
        await asyncio.sleep(0)


@pytest.fixture
def told(stand_in: StandIn, app: App, go, instrumented, arrived, caplog) -> Callable[..., Told]:
    """Return what makes calls twice and tells what became of them.

    `script`: the API's answers, where the usual ones do not do. Options go to `instrument`.
    """

    def tell(way: Way, *script: Answer, **options: object) -> Told:
        stand_in.script(*script)
        plain = go(way, stand_in.base_url)
        requests, answers = list(stand_in.requests), list(stand_in.answers)
        stand_in.requests.clear()
        stand_in.answers.clear()
        instrumented(tracer_provider=app.provider, **options)
        if not options:
            stand_in.script(*answers)
        with app.provider.get_tracer("app").start_as_current_span("handler"):
            result = go(way, stand_in.base_url)
        spans = arrived()
        assert not guard.errors
        assert [record for record in caplog.records if record.name.startswith("opentelemetry")] == []
        return Told(
            plain=plain,
            result=result,
            plain_requests=requests,
            requests=list(stand_in.requests),
            answers=list(stand_in.answers),
            spans=sorted(spans, key=lambda span: span.start_ns),
            own=list(app.memory.get_finished_spans()),
        )

    return tell


@pytest.fixture
def run_example(stand_in: StandIn, receiver: OtlpReceiver) -> Callable[..., None]:
    """Return what runs an example as it stands and checks that its trace arrives."""

    def run(name: str, *script: Answer) -> None:
        stand_in.script(*script)
        environment = {
            **os.environ,
            "OPENAI_BASE_URL": stand_in.base_url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint.removesuffix("/v1/traces"),
        }
        program = ROOT / "examples" / "frameworks" / f"with_{name}.py"
        command = [sys.executable, "-m", "tests.frameworks.fence", str(program)]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "out of bounds" not in done.stderr
        assert done.stdout.splitlines()[-1] == "delivered", done.stdout
        generations = [span for span in receiver.store.spans() if "gen_ai.operation.name" in span.attributes]
        assert len(generations) == len(stand_in.requests) > 0

    return run
