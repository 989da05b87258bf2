"""What a program pays for `import` and `instrument()`: held by what they load and compile, which repeats where a clock does not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# What the client and OpenTelemetry's API load by themselves is not ours; old releases of the API load wrapt.
PROGRAM = """
import json, sys
import openai, opentelemetry.trace

texts = []
before = set(sys.modules)

def note(event, arguments):
    # A text that is compiled, not a module whose bytecode is not there.
    if event == "compile" and arguments[1] in ("<string>", "<unknown>", b"<string>"):
        texts.append(str(arguments[0])[:80])

import llm_otel_broadcast

sys.addaudithook(note)
llm_otel_broadcast.instrument(endpoint="http://127.0.0.1:9")
print(json.dumps([sorted(set(sys.modules) - before), texts]))
sys.stdout.flush()
"""
NEVER = {
    "wrapt",
    "opentelemetry.sdk",
    "opentelemetry.exporter",
    "genai_prices",
    "urllib3",
    "sqlite3",
    "tomllib",
    "click",
}
"""Packages that wait for whoever needs them: a lane's thread, the spool, the command line."""
# 105 and 180 on Python 3.11: annotations and methods of named tuples and dataclasses.
MAX_MODULES = 112
MAX_TEXTS = 200


@pytest.fixture(scope="module")
def start():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=True)
    return json.loads(done.stdout)


def test_it_loads_no_package_that_can_wait(start):
    modules, _ = start
    assert {name for name in modules if any(name == one or name.startswith(f"{one}.") for one in NEVER)} == set()


def test_it_loads_few_modules_of_ours(start):
    modules, _ = start
    # Readers come with the client's own modules, which its old releases load all at once.
    ours = [name for name in modules if name.startswith("llm_otel_broadcast") and ".clients.openai" not in name]
    assert len(ours) <= MAX_MODULES


def test_it_compiles_few_texts(start):
    """Dataclasses, `typing.NamedTuple` and `TypedDict` compile texts of annotations and methods: a fifth of what a start takes."""
    _, texts = start
    assert len(texts) <= MAX_TEXTS, texts
