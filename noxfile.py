"""What can be run: `nox -s tests lint types` is all a newcomer needs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
GROUPS = PROJECT["dependency-groups"]
OPENAI_LINES = ("openai>=1,<2", "openai>=2,<3", "openai>=3,<4")
OPENTELEMETRY = ("opentelemetry-api", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")


def lowest(requirement: str) -> str:
    """Turn `name>=1.2,<2` into `name==1.2`."""
    found = re.match(r"(?P<name>[\w-]+)(?P<extra>\[[^]]*])?>=(?P<version>[\w.]+)", requirement)
    if found is None:
        raise ValueError(f"no lower bound in {requirement!r}")
    return f"{found['name']}{found['extra'] or ''}=={found['version']}"


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install(*GROUPS["lint"])
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    session.install("-e", ".[cli]", *GROUPS["types"])
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests with the newest of everything."""
    session.install("-e", ".[cli]", *GROUPS["tests"])
    session.run("pytest", *session.posargs)


@nox.session
def oldest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml allows, really installed."""
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["cli"]]
    session.install("-e", ".[cli]", *GROUPS["tests"], *map(lowest, wanted), *OLD_COMPANIONS)
    session.run("pytest", *session.posargs)


# openai 1.40 passes `proxies=` to httpx, which 0.28 no longer takes: an open bound of that release, not of ours.
OLD_COMPANIONS = ("httpx<0.28",)


@nox.session
@nox.parametrize("openai", OPENAI_LINES)
@nox.parametrize("opentelemetry", ["oldest", "newest"])
def compat(session: nox.Session, openai: str, opentelemetry: str) -> None:
    """Run the tests with the newest openai of each major version and both ends of OpenTelemetry."""
    pins = []
    if opentelemetry == "oldest":
        pins = [lowest(name) for name in PROJECT["project"]["dependencies"] if name.startswith(OPENTELEMETRY)]
    session.install("-e", ".[cli]", *GROUPS["tests"], openai, *pins)
    session.run("pytest", *session.posargs)


@nox.session
def backends(session: nox.Session) -> None:
    """Send to real backends and read back through their own query APIs (installs them from PyPI once, some 2 GB)."""
    session.install("-e", ".[cli]", *GROUPS["tests"])
    session.run("pytest", "-m", "backend", "--timeout=600", "tests/backends", *session.posargs)


FRAMEWORKS = {
    "langchain-openai": "langchain-openai>=1.7",
    "openai-agents": "openai-agents>=0.24",
    "instructor": "instructor>=1.17",
    "pydantic-ai": "pydantic-ai-slim[openai]>=2.68",
    "llama-index-llms-openai": "llama-index-llms-openai>=0.8",
    "litellm": "litellm>=1.110",
    "dspy": "dspy>=3.4",
}
"""With lower bounds, because pip would rather take an old framework than an old openai."""


@nox.session
@nox.parametrize("framework", [nox.param(name, id=name) for name in FRAMEWORKS])
def frameworks(session: nox.Session, framework: str) -> None:
    """Call through the newest of each framework that sits on the client; one: `nox -s "frameworks(dspy)"`.

    Each has an environment of its own, with the openai that it resolves to: openai 3 for all but llama-index-llms-openai
    0.8, which wants 2; instructor 1.17 keeps it at 3.3 by way of `jiter<0.15`. One that fails to install hides no other.
    """
    session.install("--upgrade", "--upgrade-strategy=eager", "-e", ".[cli]", *GROUPS["tests"], FRAMEWORKS[framework])
    tests = f"tests/frameworks/test_{framework.replace('-', '_')}.py"
    # what they warn of is theirs
    session.run("pytest", "-m", "framework", "--timeout=300", "-W", "ignore", tests, *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the call path: ratios to a plain call and to a hand-written OpenTelemetry span (needs valgrind)."""
    session.install("-e", ".[cli]", *GROUPS["tests"])
    session.run("python", "-m", "tests.benchmarks", *session.posargs)
