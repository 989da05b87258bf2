"""`collector-config` as a user meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from llm_otel_broadcast.cli.app import cli

URL = "https://api.example/v1/traces"
MINIMAL = """\
receivers: {otlp: {protocols: {grpc: }}}
processors: {memory_limiter: {check_interval: 1s, limit_mib: 500}}
exporters: {otlp_grpc: {endpoint: "backend:4317"}}
service: {pipelines: {traces: {receivers: [otlp], processors: [memory_limiter], exporters: [otlp_grpc]}}}
"""
AGENT = ("agent", "--to", URL, "--header-from-env", "Authorization=KEY")


@pytest.fixture(autouse=True)
def programs(tmp_path, monkeypatch):
    """No Collector is on PATH but what a test puts there."""
    directory = tmp_path / "programs"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    return directory


def collector(programs, script, name="otelcol-contrib"):
    """Put a program on PATH that answers as a Collector's `validate`."""
    program = programs / name
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)


def run(*arguments, given=None):
    return CliRunner().invoke(cli, ["collector-config", *arguments], input=given)


def printed(*arguments):
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return done.output


def test_what_is_printed_passes_the_check():
    done = run("agent", "--check", "-", given=printed(*AGENT))
    assert done.exit_code == 0
    assert done.output.startswith("nothing wrong found")


def test_the_file_names_the_command_that_made_it():
    command = [
        "llm-otel-broadcast",
        "collector-config",
        "agent",
        "--to",
        URL,
        "--rate",
        "2.5",
        "--header-from-env",
        "Authorization=KEY",
    ]
    assert f"\n#   {' '.join(command)}\n" in printed(*AGENT, "--rate", "2.5")


def test_a_flag_is_named_without_a_value():
    assert "--to https://api.example/v1/traces --single\n" in printed("sampler", "--to", URL, "--single")


def test_as_json_it_is_one_document():
    answer = json.loads(printed(*AGENT, "--json"))
    assert answer["role"] == "agent"
    assert yaml.safe_load(answer["config"])["exporters"]["otlp_http"]["traces_endpoint"] == URL


def test_errors_are_named_with_their_lines_and_end_in_1(tmp_path):
    file = tmp_path / "collector.yaml"
    file.write_text(printed(*AGENT).replace("traces_endpoint:", "endpoint:"), encoding="utf-8")
    done = run("--check", str(file))
    assert done.exit_code == 1
    assert "error: exporters.otlp_http.endpoint: gets /v1/traces added once more" in done.output
    assert done.output.startswith("line ")
    answer = json.loads(run("--check", str(file), "--json").output)
    (found,) = answer["findings"]
    assert (answer["ok"], found["severity"]) == (False, "error")
    assert file.read_text(encoding="utf-8").splitlines()[found["line"] - 1].strip() == f'endpoint: "{URL}"'


def test_warnings_alone_end_in_0_and_show_no_secret():
    done = run("--check", "-", given=printed(*AGENT).replace("${env:KEY}", "Bearer hidden"))
    assert done.exit_code == 0
    assert "warning: exporters.otlp_http.headers.Authorization: a secret in plain text" in done.output
    assert "hidden" not in done.output


def test_a_role_given_to_the_check_says_what_the_file_is_for():
    everywhere = printed(*AGENT, "--listen", "0.0.0.0")
    assert "127.0.0.1" in run("agent", "--check", "-", given=everywhere).output
    assert run("--check", "-", given=everywhere).output.startswith("nothing wrong found")


def test_without_a_collector_it_says_what_it_has_not_checked():
    """Names, options and limits are the Collector's own business; to say "nothing wrong" of them would be a lie."""
    done = run("--check", "-", given=printed(*AGENT).replace("flush_timeout: 1s", "flush_timeout: 0s"))
    assert done.exit_code == 0
    assert "not checked: names of components, their options and limits" in done.output
    assert "no otelcol-contrib and no otelcol on PATH" in done.output
    assert json.loads(run("--check", "-", "--json", given=printed(*AGENT)).output)["validated_by"] is None


@pytest.mark.skipif(os.name == "nt", reason="the program is a shell script")
class TestValidate:
    """Where a Collector is installed its own `validate` judges the file."""

    def test_a_collector_that_takes_the_file_is_named(self, programs):
        collector(programs, "exit 0")
        done = run("--check", "-", given=printed(*AGENT))
        assert (done.exit_code, done.output) == (0, "nothing wrong found, nor by otelcol-contrib validate\n")

    def test_what_a_collector_refuses_is_an_error(self, programs):
        collector(programs, "echo 'Error: flush_timeout must be positive' >&2; exit 1")
        done = run("--check", "-", given=printed(*AGENT))
        assert done.exit_code == 1
        assert "error: otelcol-contrib validate: Error: flush_timeout must be positive" in done.output
        assert "not checked" not in done.output
        document = json.loads(run("--check", "-", "--json", given=printed(*AGENT)).output)
        assert document["ok"] is False
        assert document["validated_by"].endswith("otelcol-contrib")

    def test_what_a_collector_says_twice_is_said_once(self, programs):
        collector(
            programs,
            "echo 'Error: no' >&2; echo '2026/11/28 15:01:21 collector server run finished with error: no' >&2; exit 1",
        )
        done = run("--check", "-", given=MINIMAL)
        assert done.output == "error: otelcol-contrib validate: Error: no\n"

    def test_it_gets_the_users_own_file(self, programs, tmp_path):
        file = tmp_path / "collector.yaml"
        file.write_text(printed(*AGENT), encoding="utf-8")
        collector(programs, 'echo "$@" >&2; exit 1')
        assert f"validate: validate --config={file}" in run("--check", str(file)).output

    def test_it_gets_standard_input_as_a_file_that_is_gone_afterwards(self, programs, tmp_path):
        copy, arguments = tmp_path / "copy", tmp_path / "arguments"
        collector(
            programs,
            f"""
            while read -r line; do echo "$line"; done < "${{2#--config=}}" > {copy}
            echo "${{2#--config=}}" > {arguments}""",
        )
        run("--check", "-", given=printed(*AGENT))
        assert "otlp_http:" in copy.read_text(encoding="utf-8")
        assert not Path(arguments.read_text(encoding="utf-8").strip()).exists()

    def test_the_contrib_distribution_comes_first_and_the_core_one_will_do(self, programs):
        collector(programs, "echo core >&2; exit 1", name="otelcol")
        assert "error: otelcol validate: core" in run("--check", "-", given=printed(*AGENT)).output
        collector(programs, "echo contrib >&2; exit 1")
        assert "error: otelcol-contrib validate: contrib" in run("--check", "-", given=printed(*AGENT)).output

    def test_secrets_that_it_repeats_are_not_shown(self, programs, monkeypatch):
        monkeypatch.setenv("KEY", "hidden-value")
        collector(programs, "echo 'wrong: Bearer hidden and hidden-value' >&2; exit 1")
        text = printed(*AGENT)
        done = run("--check", "-", given=text.replace("${env:KEY}", "Bearer hidden"))
        assert "wrong: *** and hidden-value" in done.output
        assert "wrong: Bearer hidden and ***" in run("--check", "-", given=text).output

    def test_a_variable_that_is_not_set_is_named(self, programs, monkeypatch):
        monkeypatch.delenv("KEY", raising=False)
        collector(programs, "echo 'no token' >&2; exit 1")
        assert "validate: no token (not set here: KEY)" in run("--check", "-", given=printed(*AGENT)).output

    def test_one_that_cannot_be_run_is_a_warning(self, programs):
        (programs / "otelcol-contrib").write_bytes(b"\x7fELF no program")
        (programs / "otelcol-contrib").chmod(0o755)
        done = run("--check", "-", given=printed(*AGENT))
        assert done.exit_code == 0
        assert "warning: otelcol-contrib validate could not be run" in done.output


def test_what_is_no_text_is_no_configuration():
    done = run("--check", "-", given=b"a: \xff")
    assert done.exit_code == 1
    assert "not UTF-8" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say which: agent, balancer, sampler, to-kafka, from-kafka"),
        (("agnet",), "agnet"),
        (("agent",), "--to URL is missing"),
        ((*AGENT, "--keep", "5"), "--keep means nothing for agent: it is for sampler, from-kafka"),
        (("balancer", "--dns", "a", "--to", URL), "--to means nothing for balancer"),
        ((*AGENT, "--rate", "-1"), "--rate must be from"),
        ((*AGENT, "--header-from-env", "hidden"), "must be KEY=VARIABLE"),
        ((*AGENT, "--header-from-env", "X-Key=hid-den"), "must be the name of an environment variable"),
        (("--check", "-", "--rate", "5"), "--rate does not go with --check"),
        (("--check", "/no/such/file"), "No such file"),
    ],
)
def test_a_wrong_use_is_named_and_ends_in_2(arguments, said):
    done = run(*arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert "hidden" not in done.output
    assert "hid-den" not in done.output


def test_the_help_of_every_option_is_there():
    done = run("--help")
    assert "collector-config sampler --to" in done.output
    for option in (
        "--to",
        "--header-from-env",
        "--rate",
        "--size",
        "--outage",
        "--keep",
        "--host",
        "--broker",
        "--check",
    ):
        assert option in done.output


def test_the_command_line_imports_no_yaml_until_something_is_checked():
    program = "import sys; sys.modules['yaml'] = None; from llm_otel_broadcast.cli.app import cli; cli(sys.argv[1:])"
    made = subprocess.run(
        [sys.executable, "-c", program, "collector-config", *AGENT],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (made.returncode, made.stderr) == (0, "")
    checked = subprocess.run(
        [sys.executable, "-c", program, "collector-config", "--check", "-"],
        input=made.stdout,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert checked.returncode == 1
    assert "pip install 'llm-otel-broadcast[cli]'" in checked.stderr
