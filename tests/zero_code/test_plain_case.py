"""`run` without the command line's libraries: the same program in the same environment, or it is left to the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast.cli.commands.run import run
from llm_otel_broadcast.cli.quick_run import split_plainly
from llm_otel_broadcast.zero_code.environment import traced
from llm_otel_broadcast.zero_code.path import DIRECTORY
from llm_otel_broadcast.zero_code.plain_case import is_plain_endpoint, plainly_traced
from tests.zero_code.programs import plainly

ENDPOINTS = st.sampled_from(
    [
        "http://localhost:4318",
        "https://a.example/v1/traces",
        "http://a:99999",
        "http://u:p@a",
        "a",
        "ftp://a",
        "http://[::1]",
    ]
) | st.from_regex(r"https?://[a-z0-9.:/@?#\[\] -]{0,12}", fullmatch=True)
TEXTS = st.sampled_from(["true", "false", "yes", "shop", " ", "", "é", "a b"])
VALUES = {"ENDPOINT": ENDPOINTS, "SERVICE_NAME": TEXTS, "PRIVACY_MODE": TEXTS, "TIMEOUT": TEXTS, "HEADERS": TEXTS}
VARIABLES = st.fixed_dictionaries(
    {}, optional={f"LLM_OTEL_BROADCAST_{name}": values for name, values in VALUES.items()}
)
OPTIONS = st.fixed_dictionaries({}, optional={"endpoint": ENDPOINTS, "service_name": st.just("shop")})
_WORDS = (
    "-e --endpoint -ehttp://a --endpoint=http://a http://a --service-name --service-name= --to -m --privacy-mode "
    "--privacy-mode=1 -- --config x python - --help -h -H a=b -x"
)
WORDS = st.lists(st.sampled_from(["", *_WORDS.split()]), max_size=6)


@given(
    variables=VARIABLES,
    options=OPTIONS,
    is_private=st.booleans(),
    path=st.none() | st.sampled_from(["", "a", DIRECTORY]),
)
def test_a_plain_environment_is_the_one_that_checked_settings_give(variables, options, is_private, path):
    environ = {"HOME": "/nonexistent", **({} if path is None else {"PYTHONPATH": path}), **variables}
    told = plainly_traced(environ, {**options, **({"privacy_mode": "true"} if is_private else {})})
    if told is not None:
        assert told == traced(environ, {**options, **({"privacy_mode": True} if is_private else {})})


@given(WORDS)
def test_plain_words_are_split_as_the_command_splits_them(words):
    split = split_plainly(words)
    if split is None:
        return
    context = run.make_context("run", list(words))
    options = {name: value for name, value in context.params.items() if value and name != "program"}
    program, plain = split
    assert tuple(program) == context.params["program"]
    assert {**plain, **({"privacy_mode": True} if "privacy_mode" in plain else {})} == options


@pytest.mark.parametrize(
    "words", [["python", "-c", "pass"], ["--endpoint", "http://a", "--service-name=b", "python", "-x"]]
)
def test_what_most_people_type_is_plain(words):
    assert split_plainly(words) is not None


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["-e"], ["--to", "x", "python"], ["-H", "a=b", "python"], ["-m", "x"]]
)
def test_everything_else_is_left_to_the_command(words):
    assert split_plainly(words) is None


@pytest.mark.parametrize("endpoint", ["http://localhost:4318", "https://api.example.com/api/public/otel/v1/traces"])
def test_a_usual_endpoint_is_plain(endpoint):
    assert is_plain_endpoint(endpoint)


@pytest.mark.parametrize("name", ["llm-otel-broadcast.toml", ".config/llm-otel-broadcast/llm-otel-broadcast.toml"])
def test_where_there_is_a_settings_file_nothing_is_plain(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    environ = {"HOME": str(tmp_path)}
    assert plainly_traced(environ, {}) is not None
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("")
    assert plainly_traced(environ, {}) is None


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the settings file is elsewhere there")
def test_a_plain_run_loads_nothing_but_what_starts_the_program(tmp_path):
    """Each start of a program pays for what `run` imports before it: `typing` alone is as much as Python itself."""
    script = (
        "import json, os, sys\n"
        "before = set(sys.modules)\n"
        "def execvpe(file, words, environ):\n"
        "    print(json.dumps([list(words), sorted(set(sys.modules) - before), environ['PYTHONPATH']]))\n"
        "    sys.stdout.flush(); os._exit(0)\n"
        "os.execvpe = execvpe\n"
        "sys.argv = ['llm-otel-broadcast', 'run', '--endpoint', 'http://127.0.0.1:9', 'python', '-c', 'pass']\n"
        "from llm_otel_broadcast.cli.main import main\n"
        "main()\n"
    )
    environ = {
        name: text for name, text in plainly(HOME=str(tmp_path)).items() if not name.startswith(("LLM_", "XDG_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    words, modules, path = json.loads(done.stdout)
    assert words == ["python", "-c", "pass"]
    assert path.split(os.pathsep)[0] == DIRECTORY
    assert not {"click", "typing", "re", "dataclasses", "pathlib", "importlib.metadata"} & set(modules)
    assert [name for name in modules if name.startswith("llm_otel_broadcast.settings")] == []
