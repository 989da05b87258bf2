"""What a service is called that nobody gave a name."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CODE = """
from llm_otel_broadcast.wire.resource import ResourceSource
PROVIDER = None
print(ResourceSource(None, lambda: PROVIDER).resource().attributes["service.name"])
"""


def name_of(*arguments: object, cwd: Path, stdin: str = "", **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **variables},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def programs(tmp_path):
    """The same program as a file, a package, a script without a suffix and an archive."""
    (tmp_path / "shop" / "jobs").mkdir(parents=True)
    for path in (
        "app.py",
        "worker",
        "shop/__init__.py",
        "shop/__main__.py",
        "shop/jobs/__init__.py",
        "shop/jobs/night.py",
    ):
        (tmp_path / path).write_text("" if path.endswith("__init__.py") else CODE)
    with zipfile.ZipFile(tmp_path / "packed.pyz", "w") as archive:
        archive.writestr("__main__.py", CODE)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["app.py"], "app"),
        (["./app.py", "--port", "80"], "app"),
        (["worker"], "worker"),
        (["packed.pyz"], "packed"),
        (["shop"], "shop"),
        (["shop/__main__.py"], "shop"),
        (["-m", "shop"], "shop"),
        (["-m", "shop.jobs.night"], "shop.jobs.night"),
    ],
)
def test_a_service_without_a_name_is_called_as_its_program(programs, arguments, name):
    assert name_of(*arguments, cwd=programs) == name


@pytest.mark.parametrize(("arguments", "stdin"), [(["-c", CODE], ""), (["-"], CODE), ([], CODE), (["-i"], CODE)])
def test_code_without_a_file_has_opentelemetrys_default_name(tmp_path, arguments, stdin):
    assert name_of(*arguments, cwd=tmp_path, stdin=stdin).startswith("unknown_service")


@pytest.mark.parametrize(
    "variables", [{"OTEL_SERVICE_NAME": "checkout"}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=checkout,a=b"}]
)
def test_a_name_that_the_environment_gives_counts_more(programs, variables):
    assert name_of("app.py", cwd=programs, **variables) == "checkout"


@pytest.mark.parametrize("given", ["checkout", "unknown_service:mine"])
def test_a_name_that_the_apps_own_provider_has_counts_more(programs, given):
    """The app's spans and ours are of one service."""
    (programs / "app.py").write_text(
        CODE.replace(
            "PROVIDER = None",
            "from opentelemetry.sdk.resources import Resource\nfrom opentelemetry.sdk.trace import TracerProvider\n"
            f"PROVIDER = TracerProvider(resource=Resource({{'service.name': {given!r}}}))",
        )
    )
    assert name_of("app.py", cwd=programs) == given


def test_a_name_that_is_an_argument_counts_most(programs):
    (programs / "app.py").write_text(CODE.replace("ResourceSource(None", "ResourceSource('checkout'"))
    assert name_of("app.py", cwd=programs, OTEL_SERVICE_NAME="other") == "checkout"


@pytest.mark.parametrize("argv", [[], [None], None])
def test_a_program_without_arguments_of_its_own_has_no_name(programs, argv):
    (programs / "app.py").write_text(f"import sys\nsys.argv = {argv!r}\n{CODE}")
    assert name_of("app.py", cwd=programs).startswith("unknown_service")
