"""`config`, `enable`, `disable` and `destinations list | show | remove`, as a user and as a script meet them."""

from __future__ import annotations

import os

import pytest

from llm_otel_broadcast.settings.locations import CONFIG
from llm_otel_broadcast.settings.manage.editor import SettingsFile
from llm_otel_broadcast.settings.manage.last_tests import remember
from tests.cli.commands import CANARY, TWO, lines, write

# -- config ---------------------------------------------------------------------------------------------------------------


def test_config_shows_each_setting_and_where_it_comes_from(file, run, monkeypatch):
    write(file, TWO)
    monkeypatch.setenv("LLM_OTEL_BROADCAST_EXIT_TIMEOUT", "7")
    done = run("config")
    assert (done.code, done.err) == (0, "")
    told = [line for line in lines(done.out) if line[0] != "default:"]
    assert [" ".join(line) for line in told] == [
        f"settings file {file}",
        "broadcasting on",
        "destination axiom on",
        "endpoint https://api.axiom.co/v1/traces file",
        "headers Authorization: ***, X-Axiom-Dataset: *** file",
        "encoding json file",
        "privacy_mode true file",
        "destination local off: TOKEN not set",
        "endpoint http://localhost:4318/v1/traces file",
        "headers X-Key: *** ${TOKEN} file",
        "settings",
        "service_name checkout [defaults]",
        "exit_timeout 7 LLM_OTEL_BROADCAST_EXIT_TIMEOUT",
    ]
    defaults = [line.strip() for line in done.out.splitlines() if line.startswith("  default: ")]
    assert defaults[0].startswith("default: compression none, timeout 10, batch_delay 1")
    assert "privacy_mode false" in defaults[1]
    assert "capture_content true" in defaults[2]


def test_config_as_json_is_one_document(file, run):
    write(file, TWO)
    done = run("config", "--json")
    assert (done.code, done.err) == (0, "")
    said = done.json
    assert (said["ok"], said["file"], said["enabled"], said["faults"]) == (True, str(file), True, [])
    assert said["settings"]["service_name"] == {"value": "checkout", "origin": f"{file}: [defaults] service_name"}
    axiom, local = said["destinations"]
    assert axiom["headers"] == {
        "value": {"Authorization": "***", "X-Axiom-Dataset": "***"},
        "origin": f'{file}: [[destinations]] "axiom"',
    }
    assert (local["missing_variables"], local["enabled"]["value"]) == (["TOKEN"], False)


@pytest.mark.parametrize("as_json", [False, True])
def test_config_ends_with_1_at_an_invalid_file_and_tells_every_fault(file, run, as_json):
    write(file, f'x = 1\n[[destinations]]\nname = "one"\nendpoint = "me:{CANARY}@host"\n')
    done = run("config", *(["--json"] if as_json else []))
    told = [
        f'{file}: "x" is no setting: there are enabled, defaults, destinations',
        f'{file}: [[destinations]] "one": endpoint "host" needs http:// or https:// in front, e.g. "http://host"',
    ]
    assert done.code == 1
    if as_json:
        assert (done.json["ok"], done.json["faults"], done.err) == (False, told, "")
    else:
        assert (done.out, done.err) == ("", "".join(f"Error: {fault}\n" for fault in told))


def test_config_tells_a_wrong_variable_and_a_misspelt_one(file, run, monkeypatch):
    write(file, "")
    monkeypatch.setenv("LLM_OTEL_BROADCAST_PRIVATE_MODE", "1")
    assert "did you mean LLM_OTEL_BROADCAST_PRIVACY_MODE?" in run("config").err
    monkeypatch.setenv("LLM_OTEL_BROADCAST_HEADERS", f'{{"a": "{CANARY}"')
    done = run("config")
    assert done.code == 1
    assert done.err.startswith("Error: LLM_OTEL_BROADCAST_HEADERS: it is not JSON")


def test_config_without_a_file(run, monkeypatch):
    monkeypatch.setenv(CONFIG, os.devnull)
    done = run("config")
    assert done.code == 0
    assert done.out.startswith("settings file  none\nbroadcasting   on\n\nno destination\n")


@pytest.mark.skipif(os.name != "posix", reason="other systems have other permissions")
def test_config_warns_of_secrets_that_others_can_read(file, run):
    write(file, TWO)
    file.chmod(0o644)
    assert run("config").err == (f"Warning: {file} holds secrets and other users can read it: chmod 600 {file}\n")
    assert run("config", "--json").json["warnings"]


# -- enable, disable ------------------------------------------------------------------------------------------------------


def test_broadcasting_is_switched_off_and_on(file, run, monkeypatch):
    write(file, TWO)
    assert run("disable").out == f"broadcasting is off in {file}; running programs follow within 30 seconds\n"
    assert "broadcasting   off (enabled = false)\n" in run("config").out
    assert run("config", "--json").json["disabled_by"] == f"{file}: enabled = false"
    assert "broadcasting is off altogether: llm-otel-broadcast enable\n" in run("destinations", "list").out
    assert run("enable", "--json").json == {"ok": True, "file": str(file), "destination": None, "enabled": True}
    assert SettingsFile(file).load({}).enabled
    monkeypatch.setenv("LLM_OTEL_BROADCAST_DISABLED", "true")
    assert "Warning: LLM_OTEL_BROADCAST_DISABLED=true is set here and counts more\n" in run("enable").err


def test_a_single_destination_is_switched_off_and_its_secrets_stay(file, run):
    write(file, TWO)
    assert run("disable", "axiom").out.startswith(f'"axiom" is off in {file}')
    made = SettingsFile(file).destination("axiom", {})
    assert (made.enabled, made.headers["Authorization"]) == (False, f"Bearer {CANARY}")
    assert run("disable", "axoim").code == 1


# -- destinations list, show, remove ---------------------------------------------------------------------------------------


def test_list_shows_a_row_for_each_destination(file, run):
    write(file, TWO)
    made = SettingsFile(file).load({}).destinations[0]
    remember(file, made, ok=False, message="401: check the header", environ=os.environ)
    done = run("destinations", "list")
    assert (done.code, done.err) == (0, "")
    heading, axiom, local, remark = lines(done.out)
    assert heading == ["name", "enabled", "endpoint", "encoding", "privacy", *heading[5:-2], "last", "test"]
    assert axiom[:5] == ["axiom", "on", "https://api.axiom.co/v1/traces", "json", "on"]
    assert axiom[-3:] == ["failed", "just", "now"]
    assert (local[:2], local[-1]) == (["local", "off"], "never")
    assert " ".join(remark) == '"local" is off: TOKEN not set in the environment'


def test_list_as_json(file, run):
    write(file, TWO)
    made = SettingsFile(file).load({}).destinations[0]
    remember(file, made, ok=True, message="accepted", environ=os.environ)
    said = run("destinations", "list", "--json").json
    assert said["file"] == str(file)
    axiom, local = said["destinations"]
    assert (axiom["name"], axiom["endpoint"]) == ("axiom", "https://api.axiom.co/v1/traces")
    assert (axiom["last_test"]["ok"], axiom["last_test"]["message"]) == (True, "accepted")
    assert (local["enabled"], local["missing_variables"], local["last_test"]) == (False, ["TOKEN"], None)


def test_list_of_nothing_says_how_to_add(file, run):
    done = run("destinations", "list")
    assert done.code == 0
    assert done.out == (
        f"No destinations in {file}. Add one: llm-otel-broadcast destinations add NAME --endpoint URL\n"
    )
    assert run("destinations", "list", "--json").json == {"file": str(file), "destinations": []}


def test_show_tells_everything_about_one_but_its_secrets(file, run):
    write(file, TWO)
    made = SettingsFile(file).load({}).destinations[0]
    remember(file, made, ok=False, message="401: check the header", environ=os.environ)
    shown = run("destinations", "show", "axiom").out
    assert "  headers       Authorization: ***, X-Axiom-Dataset: ***" in shown
    assert shown.endswith("  last test  failed just now: 401: check the header\n")
    assert run("destinations", "show", "axiom", "--json").json["headers"] == {
        "Authorization": "***",
        "X-Axiom-Dataset": "***",
    }
    missing = run("destinations", "show", "axoim")
    assert (missing.code, missing.err) == (
        1,
        f'Error: {file}: there is no destination "axoim" (there: "axiom", "local")\n',
    )


def test_remove_takes_one_out(file, run):
    write(file, TWO)
    assert run("destinations", "remove", "axiom").out == f'"axiom" is removed from {file}\n'
    assert SettingsFile(file).names() == ["local"]
    done = run("destinations", "remove", "axiom", "--json")
    assert (done.code, done.json) == (
        1,
        {"ok": False, "faults": [f'{file}: there is no destination "axiom" (there: "local")']},
    )


@pytest.mark.parametrize("arguments", [("list",), ("show", "one"), ("remove", "one")])
def test_a_broken_file_is_told_with_its_line(file, run, arguments):
    write(file, f'a = "{CANARY}"\nb = \n')
    done = run("destinations", *arguments)
    assert (done.code, done.err) == (1, f"Error: {file}: line 2, column 5: it is not TOML: Invalid value\n")
    as_json = run("destinations", *arguments, "--json")
    assert (as_json.code, as_json.json["ok"], as_json.err) == (1, False, "")


def test_usage_that_is_wrong_ends_with_2(run):
    assert run("destinations", "show").code == 2
    assert run("config", "--yaml").code == 2


# -- shell completion -----------------------------------------------------------------------------------------------------


def test_the_shell_completes_names_of_destinations(file, run, monkeypatch):
    write(file, TWO)
    monkeypatch.setenv("_LLM_OTEL_BROADCAST_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "llm-otel-broadcast destinations show a")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert run().out == "plain,axiom\n"
    write(file, "broken")
    assert run().out.strip() == ""
