"""`config`, `enable`, `disable` and `destinations list | show | remove | import`, as a user and as a script meet them."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from llm_otel_broadcast.cli.app import cli
from llm_otel_broadcast.settings.locations import CONFIG
from llm_otel_broadcast.settings.manage.editor import SettingsFile
from llm_otel_broadcast.settings.manage.last_tests import remember
from llm_otel_broadcast.settings.manage.openrouter_import import _BY_PRESET
from llm_otel_broadcast.settings.presets import PRESETS

CANARY = "s3cr3t"
TWO = f"""
[defaults]
service_name = "checkout"

[[destinations]]
name = "axiom"
endpoint = "https://me:{CANARY}@api.axiom.co/v1/traces?key={CANARY}"
headers = {{ Authorization = "Bearer {CANARY}", X-Axiom-Dataset = "{CANARY}" }}
encoding = "json"
privacy_mode = true

[[destinations]]
name = "local"
endpoint = "http://localhost:4318"
headers = {{ X-Key = "{CANARY} ${{TOKEN}}" }}
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "settings.toml"
    monkeypatch.setenv(CONFIG, str(path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "state"))
    monkeypatch.delenv("TOKEN", raising=False)
    return path


@pytest.fixture
def run(file, capsys) -> Callable[..., Done]:
    """Run a command; none of them may show a secret."""

    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            cli(arguments, prog_name="llm-otel-broadcast")
        said = capsys.readouterr()
        assert CANARY not in said.out + said.err
        assert "Traceback" not in said.err
        return Done(ended.value.code or 0, said.out, said.err)

    return run


def write(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o600)


def lines(text: str) -> list[list[str]]:
    """Return the words of each line that has any."""
    return [line.split() for line in text.splitlines() if line.strip("─ ")]


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


# -- import ---------------------------------------------------------------------------------------------------------------

COLLECTOR = {
    "id": "8d4f",
    "type": "otel-collector",
    "name": "Collector",
    "enabled": True,
    "privacy_mode": False,
    "config": {"endpoint": "https://c.example/v1/traces", "headers": {"X-Key": CANARY}},
    "workspace_id": "w",
}


@pytest.fixture
def export(tmp_path) -> Callable[..., str]:
    def export(document: object) -> str:
        path = tmp_path / "export.json"
        path.write_text(json.dumps(document))
        return str(path)

    return export


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: [one], lambda one: {"data": [one], "total_count": 1}])
def test_an_export_is_read_in_each_of_its_shapes(file, run, export, wrap):
    done = run("destinations", "import", export(wrap(COLLECTOR)))
    assert done.code == 0
    assert lines(done.out)[0] == ["imported", "Collector", "https://c.example/v1/traces"]
    assert SettingsFile(file).table("Collector") == {
        "name": "Collector",
        "endpoint": "https://c.example/v1/traces",
        "headers": {"X-Key": CANARY},
    }


def one(kind: str, config: object, **more: object) -> dict[str, object]:
    return {"type": kind, "name": "it", "config": config, **more}


@pytest.mark.parametrize(
    ("entry", "table"),
    [
        (one("webhook", {"url": "https://w/x"}), {"endpoint": "https://w/x", "encoding": "json"}),
        (one("otel-collector", {"endpoint": "http://c"}, enabled=False), {"endpoint": "http://c", "enabled": False}),
        (
            one("otel-collector", {"endpoint": "http://c"}, privacy_mode=True),
            {"endpoint": "http://c", "privacy_mode": True},
        ),
        (one("grafana", {"endpoint": "https://g/v1/traces"}), {"endpoint": "https://g/v1/traces"}),
        (
            one("otel-collector", {"endpoint": "http://c", "headers": {"Authorization": "Bearer xaat...AbCd"}}),
            {"endpoint": "http://c", "headers": {"Authorization": "Bearer ${IT_AUTHORIZATION}"}},
        ),
        (
            one("otel-collector", {"endpoint": "http://c", "headers": {"A": "sk-l...AbCd", "B": "${x}"}}),
            {"endpoint": "http://c", "headers": {"A": "${IT_A}", "B": "$${x}"}},
        ),
        (
            one("otel-collector", {"endpoint": "http://c"}, api_key_hashes=["h"]),
            {"endpoint": "http://c", "enabled": False},
        ),
        (
            one("otel-collector", {"endpoint": "http://c"}, regions=["europe"]),
            {"endpoint": "http://c", "enabled": False},
        ),
        (one("otel-collector", {"endpoint": "http://c"}, regions="us"), {"endpoint": "http://c", "enabled": False}),
        (one("otel-collector", {"endpoint": "http://c"}, regions=["global", "europe"]), {"endpoint": "http://c"}),
        (
            one("otel-collector", {"endpoint": "http://c"}, new_rule={"a": 1}),
            {"endpoint": "http://c", "enabled": False},
        ),
        (
            one("otel-collector", {"endpoint": "http://c"}, id="1", workspace_id="w", created_at="c", updated_at="u"),
            {"endpoint": "http://c"},
        ),
        *(
            (
                one("elastic", {"endpoint": f"https://e{path}", "apiKey": "a...b"}),
                {"endpoint": "https://e/v1/traces", "headers": {"Authorization": "ApiKey ${IT_AUTHORIZATION}"}},
            )
            for path in ("", "/", "/v1", "/v1/traces")
        ),
        (one("elastic", {"endpoint": "https://e", "apiKey": ""}), {"endpoint": "https://e/v1/traces"}),
    ],
)
def test_what_takes_otlp_is_taken_over(file, run, export, entry, table):
    assert run("destinations", "import", export(entry)).code == 0
    assert SettingsFile(file).table("it") == {"name": "it", **table}


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        (one("s3", {"bucket": "b"}), "s3 takes no OTLP"),
        (
            one("arize", {"apiKey": CANARY}),
            "there is no preset: destinations add 'it' --endpoint https://otlp.arize.com/",
        ),
        (one("weave", {}), "there is no preset: destinations add 'it' --endpoint https://trace.wandb.ai/"),
        (one("opik", {}), "there is no preset: destinations add 'it' --endpoint https://www.comet.com/opik/"),
        (one("ramp", {}), "there is no preset: destinations add 'it' --endpoint URL"),
        (one("elastic", {}), "destinations add 'it' --preset elastic"),
        (one("posthog", {"endpoint": "https://eu.i.posthog.com"}), "there is no preset: destinations add 'it'"),
        (one("clickhouse", {"endpoint": "https://db"}), "clickhouse takes no OTLP"),
        (one("raindrop", {}), "no OTLP endpoint of raindrop is known here"),
        (one("webhook", {"url": "https://w", "method": "PUT"}), "it wants PUT, and OTLP is sent by POST"),
        (one("langfuse", {"secretKey": CANARY}), "destinations add 'it' --preset langfuse"),
        (one("otel-collector", {}), "its config names no endpoint"),
        (one("otel-collector", None), "its config names no endpoint"),
        (one("otel-collector", {"endpoint": "c:4318"}), 'endpoint "c:4318" needs http://'),
        (one("otel-collector", {"endpoint": "http://c", "headers": [CANARY]}), "headers must be a mapping"),
    ],
)
def test_what_does_not_is_skipped_with_a_word(file, run, export, entry, word):
    done = run("destinations", "import", export(entry))
    assert done.code == 1
    assert word in done.out
    assert not file.exists()
    as_json = run("destinations", "import", export(entry), "--json").json
    assert (as_json["ok"], as_json["imported"], word in as_json["skipped"][0]["reason"]) == (False, [], True)


@pytest.mark.parametrize(
    ("entry", "notes"),
    [
        (
            one(
                "otel-collector",
                {"endpoint": "http://c/v1/traces"},
                api_key_hashes=["h"],
                regions=["europe", "us"],
                broadcast_generation_cost=True,
                broadcast_generation_cost_allocation=True,
                broadcast_generation_identity=False,
            ),
            [
                "it is off, for api_key_hashes and regions (europe, us) cannot be taken over: enable it when that is settled",
                (
                    "its additional generation metadata is not sent from here "
                    "(broadcast_generation_cost, broadcast_generation_cost_allocation)"
                ),
            ],
        ),
        (
            one("otel-collector", {"endpoint": "http://c/"}),
            ["its endpoint has no path: spans are posted to /v1/traces from here, there to / as it stands"],
        ),
        (
            one("elastic", {"endpoint": "https://e", "apiKey": "a...b"}),
            ["its Authorization is masked there: set IT_AUTHORIZATION in the environment"],
        ),
        (
            one("grafana", {"endpoint": "https://g/v1/traces", "instanceId": "1", "apiKey": "a...b"}),
            ["its instanceId and apiKey cannot be taken over: destinations add 'it' --preset grafana-cloud"],
        ),
    ],
)
def test_what_cannot_be_taken_over_or_is_another_here_is_noted(run, export, entry, notes):
    assert run("destinations", "import", export(entry), "--json").json["imported"] == [{"name": "it", "notes": notes}]


def test_every_preset_that_an_import_recommends_is_there():
    assert set(_BY_PRESET.values()) <= PRESETS.keys()


def test_a_name_that_is_there_is_kept_unless_it_is_to_be_replaced(file, run, export):
    write(file, TWO)
    entry = {**COLLECTOR, "name": "axiom"}
    done = run("destinations", "import", export([entry, {**COLLECTOR, "name": "new"}, {**COLLECTOR, "name": "new"}]))
    assert (done.code, done.out.count("there is one of that name already")) == (0, 2)
    assert SettingsFile(file).table("axiom")["encoding"] == "json"
    run("destinations", "import", "--replace", export(entry))
    assert "encoding" not in SettingsFile(file).table("axiom")


def test_a_dry_run_writes_nothing(file, run, export):
    done = run("destinations", "import", "--dry-run", export(COLLECTOR))
    assert (done.code, file.exists()) == (0, False)
    assert f"1 would be imported into {file}, 0 skipped\n" in done.out


def test_an_export_is_read_from_standard_input(file, run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(COLLECTOR)))
    assert run("destinations", "import", "-").code == 0
    assert SettingsFile(file).names() == ["Collector"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f'{{"a": "{CANARY}"', "it is not JSON"),
        ("5", 'it must be a destination such as {"type"'),
        ('[{"name": "x"}]', 'it must be a destination such as {"type"'),
    ],
)
def test_a_file_that_is_no_export_is_told(tmp_path, run, text, told):
    (tmp_path / "x.json").write_text(text)
    done = run("destinations", "import", str(tmp_path / "x.json"))
    assert done.code == 1
    assert f"{tmp_path / 'x.json'}: {told}" in done.err
    assert "cannot be read (No such file" in run("destinations", "import", str(tmp_path / "gone.json")).err


# -- shell completion -----------------------------------------------------------------------------------------------------


def test_the_shell_completes_names_of_destinations(file, run, monkeypatch):
    write(file, TWO)
    monkeypatch.setenv("_LLM_OTEL_BROADCAST_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "llm-otel-broadcast destinations show a")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert run().out == "plain,axiom\n"
    write(file, "broken")
    assert run().out.strip() == ""
