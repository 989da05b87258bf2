"""`destinations add | edit | test | presets` and `send-test-trace`, as a user meets them."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from llm_otel_broadcast.cli.app import cli
from llm_otel_broadcast.settings.presets import PRESETS
from tests.cli.terminal import converse
from tests.support.certificates import Authority
from tests.support.installed_programs import free_port
from tests.support.scripted_backends import Backend, serving

CANARY = "canary-5f1c"
PHOENIX = Backend(json=415, elsewhere=405)


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The settings file, which is not there yet; state goes elsewhere too."""
    monkeypatch.setenv("LLM_OTEL_BROADCAST_CONFIG", str(tmp_path / "settings.toml"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "settings.toml"


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.fixture
def run(capsys):
    """Run the command line in this process, which is quicker; those on a terminal are processes of their own."""

    def go(*arguments, code=0):
        with pytest.raises(SystemExit) as ended:
            cli(list(arguments), prog_name="llm-otel-broadcast")
        done = capsys.readouterr()
        assert (ended.value.code or 0) == code, done.out + done.err
        return Done(done.out, done.err)

    return go


class Done(NamedTuple):
    stdout: str
    stderr: str


def tables(file: Path):
    return {one["name"]: one for one in tomllib.loads(file.read_text())["destinations"]} if file.exists() else {}


def dead():
    return f"http://127.0.0.1:{free_port()}"


def test_what_works_is_saved_and_the_steps_are_shown(file, server, run):
    done = run("destinations", "add", "mine", "--endpoint", server.root, "--header", f"Authorization=Bearer {CANARY}")
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:4]] == [
        ["✓", "URL"],
        ["✓", "connect"],
        ["✓", "probe"],
    ]
    assert "mine works" in done.stdout
    assert f"saved in {file}" in done.stdout
    assert CANARY not in done.stdout + done.stderr
    assert tables(file)["mine"]["headers"] == {"Authorization": f"Bearer {CANARY}"}
    assert server.requests[0].headers["authorization"] == f"Bearer {CANARY}"


def test_what_does_not_work_is_not_saved(file, run):
    done = run("destinations", "add", "mine", "--endpoint", dead(), code=1)
    assert "connection refused" in done.stdout
    assert "mine does not work" in done.stdout
    assert "Nothing is saved" in done.stderr
    assert not file.exists()


def test_saving_without_a_test_says_so_aloud(file, run):
    done = run("destinations", "add", "mine", "--endpoint", dead(), "--no-test")
    assert "It was NOT tested" in done.stdout
    assert "mine" in tables(file)


def test_json_is_one_document_and_nothing_else(file, server, run):
    done = run("destinations", "add", "mine", "--endpoint", server.root, "--json")
    said = json.loads(done.stdout)
    assert (said["ok"], said["saved"], said["tested"], said["file"]) == (True, True, True, str(file))
    assert [step["name"] for step in said["steps"]] == ["URL", "connect", "probe"]
    assert done.stderr == ""
    refused = json.loads(run("destinations", "add", "other", "--endpoint", dead(), "--json", code=1).stdout)
    assert (refused["ok"], refused["saved"]) == (False, False)
    again = json.loads(run("destinations", "add", "mine", "--endpoint", server.root, "--json", code=1).stdout)
    assert "is there already" in again["faults"][0]


def test_a_fix_is_printed_and_taken_only_when_asked_for(file, run):
    with serving(PHOENIX) as server:
        command = ["destinations", "add", "px", "--endpoint", f"{server.root}/otlp", "--encoding", "json"]
        done = run(*command, code=1)
        assert (
            f"--endpoint {server.endpoint} --encoding protobuf  may help; --accept-suggestion takes it" in done.stdout
        )
        assert not file.exists()
        run(*command, "--accept-suggestion")
        assert tables(file)["px"] == {"name": "px", "endpoint": server.endpoint, "encoding": "protobuf"}


@pytest.mark.parametrize(("leads", "risk"), [("elsewhere", "another host"), ("unencrypted", "not encrypted")])
def test_nobody_gets_the_headers_unasked(file, server, run, leads, risk):
    """A key must not go to another host, or unencrypted, because a flag for other encodings was given."""
    other = Backend(redirects=server.endpoint.replace("127.0.0.1", "localhost"))
    with serving(other) as here:
        endpoint = here.endpoint if leads == "elsewhere" else server.endpoint.replace("http:", "https:")
        options = ["--endpoint", endpoint, "--header", f"X-Key={CANARY}"]
        done = run("destinations", "add", "x", *options, "--accept-suggestion", code=1)
        assert f"{risk}: " in done.stdout
        assert "give it yourself" in done.stdout
        assert server.requests == []
        code, screen = converse(["destinations", "add", "x", *options], (f"{risk}: ", "y"))
    assert code == 0, screen
    assert server.requests[0].headers["x-key"] == CANARY


def test_credentials_in_the_url_stay_when_a_path_is_taken_over(file, run):
    with serving(Backend(wants={"authorization": "Basic bWU6cHc="})) as server:
        endpoint = server.root.replace("//", "//me:pw@") + "/otlp"
        done = run("destinations", "add", "x", "--endpoint", endpoint, "--accept-suggestion")
        assert tables(file)["x"]["endpoint"] == server.endpoint.replace("//", "//me:pw@")
    assert "pw" not in done.stdout


def test_headers_come_as_pairs_or_as_json_and_variables_stay_references(file, server, monkeypatch, run):
    monkeypatch.setenv("MY_TOKEN", CANARY)
    pair = ["--header", "X-Team=red=blue"]
    run(
        "destinations",
        "add",
        "a",
        "--endpoint",
        server.root,
        "--headers",
        '{"Authorization": "Bearer ${MY_TOKEN}"}',
        *pair,
    )
    assert tables(file)["a"]["headers"] == {"Authorization": "Bearer ${MY_TOKEN}", "X-Team": "red=blue"}
    assert server.requests[0].headers["authorization"] == f"Bearer {CANARY}"
    monkeypatch.delenv("MY_TOKEN")
    assert "headers need MY_TOKEN" in run("destinations", "test", "a", code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "x"], "Give --endpoint URL or --preset NAME"),
        (["add", "x", "--preset", "axiom"], "--param token=... (API token (xaat-...)), --param dataset=... (dataset)"),
        (["add", "x", "--endpoint", "http://h", "--param", "a=b"], "--param needs --preset"),
        (["add", "x", "--endpoint", "http://h", "--header", CANARY], "number 1 is not KEY=VALUE"),
        (["add", "x", "--endpoint", "http://h", "--headers", f"[{CANARY}"], "it is not JSON"),
        (["add", "x", "--endpoint", "http://h", "--headers", '["a"]'], "it must be a JSON object"),
        (["add", "x", "--endpoint", "http://h", "--header", f"Host={CANARY}"], 'header "Host" is set by the encoding'),
        (["add", "x", "--endpoint", "http://h", "--timeout", "soon"], "timeout must be a number of seconds"),
        (["add", "x", "--endpoint", "http://h", "--encoding", "xml"], 'encoding must be "auto", "json" or "protobuf"'),
        (["add", "x", "--endpoint", "http://h", "--certificate", "/no/such"], "does not exist"),
        (["add", "x", "--preset", "langfuse", "--param", "public_key=p", "--param", "secret_key=${K}"], "cannot be a ${VARIABLE}"),
        (["add", "x", "--endpoint", "localhost:4318"], "needs http:// or https:// in front"),
        (["add", "x", "--preset", "axoim"], 'did you mean "axiom"?'),
        (["add", "x", "--preset", "axiom", "--param", "token=t", "--param", "dataset=d", "--param", "tokn=x"], '"tokn" is no value'),
        (["presets", "axoim"], 'there is no preset "axoim"'),
        (["test", "--endpoint", "localhost:4318"], "'--endpoint' / '-e': \"localhost:4318\" needs http:// or https:// in front"),
        (["add", "x", "--endpoint", "http://h", "-H", f"Authorization Basic {CANARY}=="], 'header name "Authorization..." is not'),
        (["test", "--encoding", "json"], "Give NAME or --endpoint URL"),
    ],
)  # fmt: skip
def test_wrong_usage_ends_with_2_and_names_the_fix(file, arguments, said, run):
    done = run("destinations", *arguments, code=2)
    assert said in " ".join(done.stderr.split())
    assert CANARY not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["edit", "nobody", "--encoding", "json"], 'there is no destination "nobody"'),
        (["test", "nobody"], 'there is no destination "nobody"'),
        (["test"], "LLM_OTEL_BROADCAST_CONFIG names this file, but it is not there"),
    ],
)  # fmt: skip
def test_wrong_settings_end_with_1_and_are_named(file, arguments, said, run):
    assert said in run("destinations", *arguments, code=1).stderr


def test_a_preset_is_saved_with_what_it_says_and_no_defaults(file, run):
    values = ["--param", "token=${AX}", "--param", "dataset=llm"]
    run("destinations", "add", "ax", "--preset", "axiom", *values, "--privacy-mode", "--no-test")
    assert tables(file)["ax"] == {
        "name": "ax",
        "endpoint": "https://api.axiom.co/v1/traces",
        "privacy_mode": True,
        "headers": {"Authorization": "Bearer ${AX}", "X-Axiom-Dataset": "llm"},
    }


def test_an_edit_changes_what_is_named_and_keeps_the_rest(file, server, run):
    run("destinations", "add", "mine", "--endpoint", server.root, "--header", "X-Key=one", "--header", "X-Team=red")
    run("destinations", "edit", "mine", "--header", "x-key=two", "--remove-header", "X-Team", "--compression", "gzip")
    assert tables(file)["mine"] == {
        "name": "mine",
        "endpoint": server.root,
        "compression": "gzip",
        "headers": {"x-key": "two"},
    }
    assert server.requests[-1].headers["x-key"] == "two"


def test_an_edit_that_does_not_work_changes_nothing(file, server, run):
    run("destinations", "add", "mine", "--endpoint", server.root)
    before = file.read_text()
    run("destinations", "edit", "mine", "--endpoint", dead(), code=1)
    assert file.read_text() == before
    assert "what is to change?" in run("destinations", "edit", "mine", code=2).stderr


def test_a_test_of_a_saved_destination_is_remembered(file, server, run):
    run("destinations", "add", "mine", "--endpoint", server.root, "--no-test")
    assert "never" in run("destinations", "list").stdout
    assert "mine works" in run("destinations", "test", "mine").stdout
    assert "passed" in run("destinations", "list").stdout


def test_all_destinations_in_effect_are_tested_those_of_the_environment_too(file, server, monkeypatch, run):
    run("destinations", "add", "good", "--endpoint", server.root)
    run("destinations", "add", "bad", "--endpoint", dead(), "--no-test")
    said = json.loads(run("destinations", "test", "--json", code=1).stdout)
    assert {one["name"]: one["ok"] for one in said["destinations"]} == {"good": True, "bad": False}
    monkeypatch.setenv("LLM_OTEL_BROADCAST_CONFIG", os.devnull)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.root)
    assert "works" in run("destinations", "test").stdout


def test_an_endpoint_can_be_tested_without_being_saved(file, server, run):
    run("destinations", "test", "--endpoint", server.root, "--header", "X-Key=k")
    assert server.requests[0].headers["x-key"] == "k"
    assert not file.exists()


def test_a_suggestion_for_a_saved_destination_is_saved_when_accepted(file, run):
    with serving(PHOENIX) as server:
        run("destinations", "add", "px", "--endpoint", server.root, "--encoding", "json", "--no-test")
        run("destinations", "test", "px", code=1)
        assert tables(file)["px"]["encoding"] == "json"
        run("destinations", "test", "px", "--accept-suggestion")
        assert tables(file)["px"]["encoding"] == "protobuf"


def test_a_test_trace_is_sent_and_its_id_shown(file, server, run):
    run("destinations", "add", "mine", "--endpoint", server.root)
    shown = run("send-test-trace", "mine").stdout
    said = json.loads(run("send-test-trace", "--endpoint", server.root, "--privacy-mode", "--json").stdout)
    (trace,) = said["destinations"]
    assert shown.startswith("✓ mine  trace ")
    assert shown.split()[-1].encode() in server.requests[-2].body
    assert trace["trace_id"].encode() in server.requests[-1].body
    assert b"France" in server.requests[-2].body
    assert b"France" not in server.requests[-1].body
    failed = run("send-test-trace", "--endpoint", dead(), code=1)
    assert "not taken: " in failed.stdout


def test_presets_are_listed_and_shown(run):
    listed = run("destinations", "presets").stdout
    assert len(listed.splitlines()) == len(PRESETS) >= 29
    assert "langfuse" in listed
    shown = run("destinations", "presets", "langfuse").stdout
    assert "secret_key" in shown
    assert "default cloud.langfuse.com" in shown
    assert json.loads(run("destinations", "presets", "phoenix", "--json").stdout)[0]["encoding"] == "protobuf"


def test_on_a_terminal_what_is_missing_is_asked_for_and_secrets_are_not_shown(file):
    with serving(Backend(wants={"authorization": f"Bearer {CANARY}"})) as server:
        code, screen = converse(
            ["destinations", "add", "mine"],
            ("Preset or URL (", "axoim"),
            ('did you mean "axiom"', ""),
            ("Endpoint", server.root.removeprefix("http://")),
            ("needs http:// or https://", server.root),
            ("Header, e.g.", "Authorization"),
            ("Value of Authorization", f"Bearer {CANARY}"),
            ("Header, e.g.", ""),
        )
    assert code == 0, screen
    assert CANARY not in screen
    assert "mine works" in screen
    assert tables(file)["mine"]["headers"] == {"Authorization": f"Bearer {CANARY}"}


def test_on_a_terminal_a_pasted_url_and_a_pasted_header_are_taken_as_what_they_are(file):
    with serving(Backend(wants={"authorization": f"Basic {CANARY}=="})) as server:
        code, screen = converse(
            ["destinations", "add", "mine"],
            ("Preset or URL (", "ftp://x"),
            ("needs http:// or https://", server.root),
            ("Header, e.g.", f"Authorization Basic {CANARY}=="),
            ('header name "Authorization..." is not', f"Authorization: Basic {CANARY}=="),
            ("Header, e.g.", ""),
        )
    assert code == 0, screen
    assert tables(file)["mine"]["headers"] == {"Authorization": f"Basic {CANARY}=="}


@pytest.mark.parametrize("option", ["--header", "-H"])
def test_a_header_in_the_form_of_curl_is_one_and_its_value_is_never_shown(file, option, run):
    with serving(Backend(wants={"authorization": f"Basic {CANARY}=="})) as server:
        done = run("destinations", "add", "mine", "-e", server.root, option, f"Authorization: Basic {CANARY}==")
    assert CANARY not in done.stdout + done.stderr
    assert tables(file)["mine"]["headers"] == {"Authorization": f"Basic {CANARY}=="}


@pytest.mark.parametrize("untested", [[], ["--no-test"]])
def test_what_is_not_saved_yet_is_not_blamed_on_the_file(file, run, untested):
    done = run("destinations", "add", "x", "--endpoint", "http://${HOST}", *untested, code=1)
    assert done.stderr == 'Error: destination "x": endpoint: ${...} is read in the values of headers only\n'


def test_a_preset_of_a_backend_of_ones_own_takes_its_address(file, server, run):
    run("destinations", "add", "px", "--preset", "phoenix", "--param", f"host={server.root}")
    assert tables(file)["px"]["endpoint"] == f"{server.root}/v1/traces"


def test_what_helps_is_named_as_an_option_of_the_command_line(run, tmp_path):
    certificate = Authority(tmp_path, "ours").issue("server")
    with serving(context=certificate.server_context()) as server:
        done = run("destinations", "test", "--endpoint", server.endpoint, code=1)
    assert "give that one's as --certificate" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["destinations", "edit", "mine", "--remove-header", f"Authorization: Basic {CANARY}"], "no header authorization..."),
        (["destinations", "add", "x", "--preset", "phoenix", "--param", f"token: {CANARY}=="], '"token..." is no value'),
        (["collector-config", "agent", "--to", "http://x", "--header-from-env", f"Authorization Basic {CANARY}=="], '"Authorization..." is not the name of an HTTP header'),
        (["collector-config", "agent", "--to", "http://x", "--header-from-env", f"Authorization: Basic {CANARY}=="], "what stands behind Authorization="),
        (["demo", "-e", "http://x", "-H", f"Authorization Basic {CANARY}=="], 'header name "Authorization..."'),
    ],
)  # fmt: skip
def test_a_secret_in_the_place_of_a_name_is_shown_nowhere(file, run, arguments, shown):
    run("destinations", "add", "mine", "--endpoint", "http://h", "--no-test")
    done = run(*arguments, code=2)
    assert shown in " ".join(done.stderr.split())
    assert CANARY.lower() not in (done.stdout + done.stderr).lower()


def test_a_settings_file_can_be_named_on_the_command_line(tmp_path, run, monkeypatch):
    monkeypatch.setenv("LLM_OTEL_BROADCAST_CONFIG", os.devnull)
    monkeypatch.chdir(tmp_path)
    run("--config", "other.toml", "destinations", "add", "mine", "--endpoint", "http://h", "--no-test")
    assert tables(tmp_path / "other.toml")["mine"]["endpoint"] == "http://h"


def test_run_sends_to_an_endpoint_or_to_destinations_of_the_file_and_not_to_both(run):
    done = run("run", "--to", "mine", "--endpoint", "http://h", "python", code=2)
    assert "leave one out" in " ".join(done.stderr.split())


def test_what_is_off_is_named_when_everything_is_tested(file, server, run):
    run("destinations", "add", "on", "--endpoint", server.root)
    run("destinations", "add", "off", "--endpoint", "http://h", "--disabled", "--no-test")
    assert '"off" is off and left out here' in run("destinations", "test").stderr
    run("disable", "on")
    assert "no destination that is enabled (on, off: off)" in run("destinations", "test", code=1).stderr


def test_on_a_terminal_a_preset_asks_for_its_values_with_defaults(file, server):
    code, screen = converse(
        ["destinations", "add", "ax", "--preset", "axiom", "--endpoint", server.root],
        ("API token (xaat-...)", CANARY),
        ("Dataset", "llm"),
    )
    assert code == 0, screen
    assert CANARY not in screen
    assert "Host" not in screen
    assert server.requests[0].headers["x-axiom-dataset"] == "llm"


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1)])
def test_on_a_terminal_a_suggestion_is_asked_about(file, answer, code):
    with serving(PHOENIX) as server:
        command = ["destinations", "add", "px", "--endpoint", server.root, "--encoding", "json"]
        ended, screen = converse(command, ("Use encoding=protobuf? [Y/n]", answer))
    assert ended == code, screen
    assert tables(file).get("px", {}).get("encoding") == ("protobuf" if code == 0 else None)


def test_on_a_terminal_an_edit_asks_for_one_after_the_other_and_enter_keeps(file, server, run):
    headers = ["--header", f"X-Key={CANARY}", "--header", "X-Old=1"]
    run("destinations", "add", "mine", "--endpoint", server.root, *headers)
    code, screen = converse(
        ["destinations", "edit", "mine"],
        ("Endpoint", ""),
        ("X-Key (Enter: keep", ""),
        ("X-Old (Enter: keep", "-"),
        ("Header, e.g.", ""),
    )
    assert code == 0, screen
    assert CANARY not in screen
    assert tables(file)["mine"] == {"name": "mine", "endpoint": server.root, "headers": {"X-Key": CANARY}}


def test_a_narrow_terminal_keeps_the_steps_in_their_columns(file):
    with serving(
        Backend(wants={"a": "b"}, without=422, says="x-mlflow-experiment-id is required for all of this")
    ) as server:
        _, screen = converse(["destinations", "test", "--endpoint", server.root], columns=60)
    lines = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line.rpartition("\r")[2]).rstrip() for line in screen.split("\n")]
    assert max(map(len, lines)) <= 60
    start = next(number for number, line in enumerate(lines) if "✗ probe" in line)
    assert lines[start + 1].startswith(" " * 19)
