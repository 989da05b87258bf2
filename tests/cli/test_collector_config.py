"""`collector-config` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner

from llm_otel_broadcast.cli.app import cli

URL = "https://api.example/v1/traces"
AGENT = ("agent", "--to", URL, "--header-from-env", "Authorization=KEY")


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
    file.write_text(printed(*AGENT).replace("flush_timeout: 1s", "flush_timeout: 0s"), encoding="utf-8")
    done = run("--check", str(file))
    assert done.exit_code == 1
    assert "error: exporters.otlp_http.sending_queue.batch.flush_timeout: must be longer than zero" in done.output
    assert done.output.startswith("line ")
    answer = json.loads(run("--check", str(file), "--json").output)
    (found,) = answer["findings"]
    assert (answer["ok"], found["severity"]) == (False, "error")
    assert file.read_text(encoding="utf-8").splitlines()[found["line"] - 1].strip() == "flush_timeout: 0s"


def test_warnings_alone_end_in_0_and_show_no_secret():
    done = run("--check", "-", given=printed(*AGENT).replace("${env:KEY}", "Bearer hidden"))
    assert done.exit_code == 0
    assert "warning: exporters.otlp_http.headers.Authorization: a secret in plain text" in done.output
    assert "hidden" not in done.output


def test_a_role_given_to_the_check_says_what_the_file_is_for():
    everywhere = printed(*AGENT, "--listen", "0.0.0.0")
    assert "127.0.0.1" in run("agent", "--check", "-", given=everywhere).output
    assert run("--check", "-", given=everywhere).output.startswith("nothing wrong found")


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
