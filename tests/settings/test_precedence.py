"""Who wins where there is a settings file: arguments over `LLM_OTEL_BROADCAST_*` over the file over `OTEL_EXPORTER_OTLP_*`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import llm_otel_broadcast
from llm_otel_broadcast import ConfigError, Destination
from llm_otel_broadcast.settings.environment import PREFIX
from llm_otel_broadcast.settings.file import read_file
from llm_otel_broadcast.settings.locations import CONFIG
from llm_otel_broadcast.settings.manage.shown import effective
from llm_otel_broadcast.settings.precedence import resolve_options

TWO = """
[[destinations]]
name = "one"
endpoint = "http://one"
headers = { Authorization = "s3cr3t" }
timeout = 2
[[destinations]]
name = "two"
endpoint = "http://two"
"""
ONE = TWO.partition('[[destinations]]\nname = "two"')[0]
OTLP = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://otlp"}


@pytest.fixture
def settled(tmp_path):
    def settled(text: str, given=None, otlp=None, **variables: str):
        path = tmp_path / "settings.toml"
        path.write_text(text)
        environ = {**(otlp or {}), **{PREFIX + name: value for name, value in variables.items()}}
        return resolve_options(given or {}, environ, read_file(path, environ))

    return settled


@pytest.fixture
def config(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "settings.toml"
    monkeypatch.setenv(CONFIG, str(path))
    return path


def names(options) -> list[str]:
    return [made.name for made in options.destinations]


def test_options_come_from_the_strongest_that_says_them(settled):
    file = '[defaults]\nservice_name = "file"\nexit_timeout = 1\n'
    assert settled(file).service_name == "file"
    assert settled(file, SERVICE_NAME="variable").service_name == "variable"
    assert settled(file, {"service_name": "argument"}, SERVICE_NAME="variable").service_name == "argument"
    assert settled(file, SERVICE_NAME="variable").exit_timeout == 1


def test_destinations_come_from_the_strongest_that_names_them(settled):
    assert names(settled(TWO, otlp=OTLP)) == ["one", "two"]
    assert not settled(TWO, otlp=OTLP).from_environment
    assert names(settled("enabled = true", otlp=OTLP)) == ["otlp"]
    assert names(settled(TWO, otlp=OTLP, ENDPOINT="http://variable")) == ["variable"]
    assert names(settled(TWO, DESTINATIONS='[{"endpoint": "http://listed"}]')) == ["listed"]
    assert names(settled(TWO, {"endpoint": "http://argument"}, ENDPOINT="http://variable")) == ["argument"]
    assert names(settled(TWO, {"destinations": []})) == []


def test_headers_and_defaults_of_the_files_destinations_go_to_no_other(settled):
    file = "[defaults]\ntimeout = 9\n" + TWO
    assert settled(file, {"endpoint": "http://x"}).destinations == (Destination(endpoint="http://x"),)
    assert settled("[defaults]\ntimeout = 9\n", {"endpoint": "http://x"}).destinations[0].timeout == 9
    assert settled("[defaults]\ntimeout = 9\n", otlp=OTLP).destinations[0].timeout == 9


def test_what_is_said_about_one_destination_completes_the_files_only_one(settled):
    assert settled(ONE, TIMEOUT="5").destinations[0].timeout == 5
    (made,) = settled(ONE, {"encoding": "json"}).destinations
    assert (made.endpoint, made.encoding) == ("http://one/v1/traces", "json")
    assert (
        settled("[defaults]\ntimeout = 9\n" + ONE.replace("timeout = 2\n", ""), TIMEOUT="5").destinations[0].timeout
        == 5
    )


@pytest.mark.parametrize(
    ("said", "origin", "endpoint"),
    [
        ({"HEADERS": "Authorization=s3cr3t"}, f"{PREFIX}HEADERS", f"{PREFIX}ENDPOINT"),
        ({"given": {"headers": {"Authorization": "s3cr3t"}}}, "headers", "endpoint"),
    ],
)
def test_headers_go_to_no_destination_that_only_a_file_names(settled, tmp_path, said, origin, endpoint):
    """Which file that is, the current directory decides."""
    with pytest.raises(ConfigError) as caught:
        settled(ONE, **said)
    assert str(caught.value) == (
        f"{origin} is given without an endpoint, and {tmp_path / 'settings.toml'} names where to send: "
        f"give {endpoint} too, or put the headers into the file"
    )


def test_what_is_said_about_one_destination_is_refused_beside_several(settled, tmp_path):
    with pytest.raises(ConfigError) as caught:
        settled(TWO, TIMEOUT="5")
    assert str(caught.value) == (
        f"{PREFIX}TIMEOUT and {tmp_path / 'settings.toml'}: [[destinations]] are both given: "
        "put the timeout into the destination that it is for"
    )


@pytest.mark.parametrize(
    ("file", "said", "private"),
    [
        ("[defaults]\nprivacy_mode = true\n" + TWO, {}, [True, True]),
        ("[defaults]\nprivacy_mode = true\n" + TWO + "privacy_mode = false\n", {}, [True, False]),
        ("[defaults]\nprivacy_mode = true\n" + TWO + "privacy_mode = true\n", {"PRIVACY_MODE": "false"}, [False, True]),
        (TWO + "privacy_mode = false\n", {"PRIVACY_MODE": "true"}, [True, True]),
        (TWO, {"given": {"privacy_mode": True}}, [True, True]),
        ("[defaults]\nprivacy_mode = true\n" + TWO, {"ENDPOINT": "http://variable"}, [True]),
        ("[defaults]\nprivacy_mode = true\n", {"otlp": OTLP}, [True]),
    ],
)
def test_privacy_of_defaults_counts_wherever_nothing_stronger_is_said(settled, file, said, private):
    assert [made.privacy_mode for made in settled(file, **said).destinations] == private


def test_of_a_files_destinations_only_those_that_are_chosen_are_used(settled):
    assert names(settled(TWO, TO="two")) == ["two"]
    assert names(settled(TWO, {"to": ["two", "one"]})) == ["one", "two"]
    assert names(settled(TWO, {"to": []})) == ["one", "two"]
    assert names(settled(TWO, {"to": ["one"]}, TO="two")) == ["one"]
    assert settled(TWO, {"to": ["one"]}, TIMEOUT="5").destinations[0].timeout == 5
    assert names(settled(TWO, {"endpoint": "http://x"}, TO="two")) == ["x"]


@pytest.mark.parametrize(
    ("text", "said", "fault"),
    [
        (
            TWO,
            {"TO": "tow"},
            f'{PREFIX}TO: there is no destination "tow" in {{}} (did you mean "two"?): there are one, two',
        ),
        (TWO, {"given": {"to": "two"}}, "to must be a list of texts such as"),
        (
            TWO,
            {"ENDPOINT": "http://x", "given": {"to": ["two"]}},
            "to chooses among the destinations of a settings file, but",
        ),
        (
            "enabled = true\n",
            {"TO": "two"},
            f"{PREFIX}TO names destinations of a settings file, and there are none in one",
        ),
    ],
)
def test_a_choice_that_makes_no_sense_is_named(settled, tmp_path, text, said, fault):
    with pytest.raises(ConfigError) as caught:
        settled(text, **said)
    assert fault.format(tmp_path / "settings.toml") in str(caught.value)


def test_the_destinations_that_were_chosen_are_the_ones_in_effect(config):
    found = origins(config, TWO, LLM_OTEL_BROADCAST_TO="two")
    assert [one.name for one in found.destinations] == ["two"]


def test_a_file_that_is_wrong_is_one_logged_error_and_the_program_runs_untraced(config, receiver, caplog):
    """Several programs share the file, and a page may write it: a typo there must not stop them at their next start."""
    config.write_text('x = 1\n[defaults]\ntimeout = "s3cr3t"\n' + TWO)
    handle = llm_otel_broadcast.instrument(service_name="shop")
    assert not handle.status().instrumented
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage().startswith(f'{config}: "x" is no setting')
    assert f"{config}: [defaults]: timeout must be" in record.getMessage()
    assert record.getMessage().endswith("; the program runs untraced")


@pytest.mark.parametrize("by", ["argument", "variable"])
def test_a_file_that_is_wrong_raises_where_strictness_is_asked_for(config, monkeypatch, by):
    config.write_text("x = 1\n")
    if by == "variable":
        monkeypatch.setenv("LLM_OTEL_BROADCAST_STRICT", "true")
    with pytest.raises(ConfigError, match='"x" is no setting'):
        llm_otel_broadcast.instrument(strict=True if by == "argument" else None)


def test_a_file_cannot_say_how_strictly_it_is_read(config):
    config.write_text("[defaults]\nstrict = true\n")
    with pytest.raises(ConfigError, match="is about this file: give it to instrument"):
        llm_otel_broadcast.instrument(strict=True)


def test_one_error_lists_what_is_wrong_in_every_source(config, monkeypatch):
    config.write_text("x = 1\n[defaults]\ntimeout = 0\n")
    monkeypatch.setenv("LLM_OTEL_BROADCAST_ENCODING", "xml")
    with pytest.raises(ConfigError) as caught:
        llm_otel_broadcast.instrument(max_queue_bytes=1)
    assert [fault.split(" ")[0] for fault in caught.value.faults] == [
        f"{config}:",
        f"{config}:",
        "LLM_OTEL_BROADCAST_ENCODING:",
        "max_queue_bytes",
    ]
    assert not llm_otel_broadcast.status().instrumented


def test_a_traceback_tells_every_fault_and_no_secret(config):
    config.write_text(TWO + 'headers = ["s3cr3t"]\nencoding = "xml"\n')
    program = "from llm_otel_broadcast import instrument; instrument(strict=True)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 1
    assert f'{config}: [[destinations]] "two": headers must be a mapping' in done.stderr
    assert f'{config}: [[destinations]] "two": encoding must be "auto", "json" or "protobuf", got' in done.stderr
    assert "s3cr3t" not in done.stderr
    assert "another exception" not in done.stderr


def test_a_file_that_is_named_but_not_there_is_told(config):
    with pytest.raises(ConfigError) as caught:
        llm_otel_broadcast.instrument()
    assert str(caught.value) == f"{config}: {CONFIG} names this file, but it is not there"


def test_what_is_off_for_want_of_a_variable_is_logged_and_the_rest_is_instrumented(config, receiver, caplog):
    config.write_text(
        f'[[destinations]]\nname = "on"\nendpoint = "{receiver.endpoint}"\n'
        '[[destinations]]\nname = "off"\nendpoint = "http://x"\nheaders = { A = "${NOT_THERE}" }\n'
    )
    handle = llm_otel_broadcast.instrument()
    assert [books.name for books in handle.status().destinations] == ["on"]
    assert f'{config}: [[destinations]] "off" is off: headers need NOT_THERE, which is not set' in caplog.text


def test_a_disabled_program_does_not_even_read_the_file(config, monkeypatch):
    config.write_text("x = ")
    monkeypatch.setenv("LLM_OTEL_BROADCAST_DISABLED", "true")
    assert not llm_otel_broadcast.instrument().status().instrumented


def test_calling_instrument_again_with_a_file_that_says_off_ends_what_was_on(config, receiver):
    config.write_text("enabled = true\n")
    first = llm_otel_broadcast.instrument(endpoint=receiver.endpoint)
    config.write_text("enabled = false\n")
    llm_otel_broadcast.instrument(endpoint=receiver.endpoint)
    assert not first.status().instrumented


def test_a_program_without_a_file_imports_no_reader_of_files(tmp_path):
    program = (
        "import sys; from llm_otel_broadcast import instrument; instrument(endpoint='http://x')\n"
        "print([name for name in ('tomllib', 'tomlkit', 'platformdirs', 'click', 'rich') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True, cwd=tmp_path
    )
    assert done.stdout == "[]\n"


# -- where each comes from ------------------------------------------------------------------------------------------------


def origins(config: Path, text: str, **environ: str):
    config.write_text(text)
    return effective({CONFIG: str(config), **environ})


def test_each_effective_setting_knows_where_it_comes_from(config):
    text = '[defaults]\nservice_name = "file"\nestimate_cost = false\nencoding = "json"\n' + TWO
    found = origins(config, text, LLM_OTEL_BROADCAST_SERVICE_NAME="variable")
    assert found.options["service_name"] == ("variable", "LLM_OTEL_BROADCAST_SERVICE_NAME")
    assert found.options["estimate_cost"] == (False, f"{config}: [defaults] estimate_cost")
    assert found.options["capture_content"] == (True, "default")
    one, two = found.destinations
    assert one.fields["headers"] == ({"Authorization": "***"}, f'{config}: [[destinations]] "one"')
    assert one.fields["encoding"] == ("json", f"{config}: [defaults]")
    assert two.fields["timeout"] == (10.0, "default")
    assert (found.file, found.off, found.faults) == (config, None, ())


@pytest.mark.parametrize(
    ("environ", "endpoint", "headers"),
    [
        (
            {"LLM_OTEL_BROADCAST_ENDPOINT": "http://u:s3cr3t@x/?k=s3cr3t", "LLM_OTEL_BROADCAST_HEADERS": "A=s3cr3t"},
            ("http://x/v1/traces", "LLM_OTEL_BROADCAST_ENDPOINT"),
            "LLM_OTEL_BROADCAST_HEADERS",
        ),
        (
            {"LLM_OTEL_BROADCAST_DESTINATIONS": '[{"endpoint": "http://x", "headers": {"A": "s3cr3t"}}]'},
            ("http://x/v1/traces", "LLM_OTEL_BROADCAST_DESTINATIONS"),
            "LLM_OTEL_BROADCAST_DESTINATIONS",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_EXPORTER_OTLP_HEADERS": "A=s3cr3t"},
            ("http://x/v1/traces", "OTEL_EXPORTER_OTLP_*"),
            "OTEL_EXPORTER_OTLP_*",
        ),
    ],
)
def test_a_destination_of_the_environment_knows_its_variables(config, environ, endpoint, headers):
    (one,) = origins(config, "", **environ).destinations
    assert one.fields["endpoint"] == endpoint
    assert one.fields["headers"].origin == headers
    assert "s3cr3t" not in repr(one)


def test_privacy_for_all_is_named_where_it_was_said(config):
    environ = {"LLM_OTEL_BROADCAST_DESTINATIONS": '[{"endpoint": "http://x"}]', "LLM_OTEL_BROADCAST_PRIVACY_MODE": "1"}
    (one,) = origins(config, "", **environ).destinations
    assert one.fields["privacy_mode"] == (True, "LLM_OTEL_BROADCAST_PRIVACY_MODE")
    assert one.fields["encoding"] == ("auto", "default")


def test_what_completes_the_files_destination_is_named(config):
    (one,) = origins(config, ONE, LLM_OTEL_BROADCAST_TIMEOUT="5").destinations
    assert one.fields["timeout"] == (5.0, "LLM_OTEL_BROADCAST_TIMEOUT")


@pytest.mark.parametrize(
    ("text", "environ", "off"),
    [
        ("", {}, None),
        ("enabled = false", {}, "{}: enabled = false"),
        ("enabled = false", {"LLM_OTEL_BROADCAST_DISABLED": "false"}, None),
        ("", {"LLM_OTEL_BROADCAST_DISABLED": "1"}, "LLM_OTEL_BROADCAST_DISABLED=1"),
        ("", {"OTEL_SDK_DISABLED": "true"}, "OTEL_SDK_DISABLED=true"),
    ],
)
def test_what_turns_everything_off_is_named(config, text, environ, off):
    assert origins(config, text, **environ).off == (off.format(config) if off else None)
