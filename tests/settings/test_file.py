"""What the settings file says, and every way in which it can be wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llm_otel_broadcast import ConfigError, Destination
from llm_otel_broadcast.settings.file import FileSettings, default_names, read_file

ALL = """
enabled = false

[defaults]
service_name = "checkout"
trace_defaults = { environment = "staging", canary = true }
baggage_metadata = ["tenant"]
app_spans = "auto"
exit_timeout = 5
encoding = "protobuf"
timeout = 3

[[destinations]]
name = "axiom"
endpoint = "https://api.axiom.co/v1/traces"
headers = { Authorization = "Bearer ${AXIOM_TOKEN}", X-Axiom-Dataset = "llm", X-Plain = "a$${b}$" }
privacy_mode = true

[[destinations]]
endpoint = "http://localhost:4318"
aliases = { "acme.tags" = "tags" }
resource_attributes = { team = "search" }
hosts = ["api.openai.com"]
max_content_chars = 4000
enabled = false
timeout = 7.5
encoding = "json"
[destinations.headers]
X-Scope-OrgID = "t"
"""
POSIX = pytest.mark.skipif(os.name != "posix", reason="other systems have other permissions")


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "settings.toml"


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(0o600)
    return path


def read(path: Path, text: str | bytes, **environ: str) -> FileSettings:
    return read_file(write(path, text), environ)


def faults(path: Path, text: str | bytes, **environ: str) -> list[str]:
    """Return what is said about a wrong file, its path cut off; all of it must begin with that, and name no secret."""
    with pytest.raises(ConfigError) as caught:
        read(path, text, **environ)
    said = caught.value.faults
    assert all(fault.startswith(f"{path}: ") for fault in said)
    assert "s3cr3t" not in f"{caught.value!r} {caught.value}"
    return [fault.removeprefix(f"{path}: ") for fault in said]


def test_everything_that_a_file_can_say(path):
    said = read(path, ALL, AXIOM_TOKEN="abc")
    assert not said.enabled
    assert said.defaults["trace_defaults"] == {"environment": "staging", "canary": True}
    axiom, local = said.destinations
    assert axiom == Destination(
        name="axiom",
        endpoint="https://api.axiom.co/v1/traces",
        headers={"Authorization": "Bearer abc", "X-Axiom-Dataset": "llm", "X-Plain": "a${b}$"},
        privacy_mode=True,
        encoding="protobuf",
        timeout=3,
    )
    assert local == Destination(
        endpoint="http://localhost:4318",
        headers={"X-Scope-OrgID": "t"},
        enabled=False,
        encoding="json",
        timeout=7.5,
        aliases={"acme.tags": "tags"},
        resource_attributes={"team": "search"},
        hosts=["api.openai.com"],
        max_content_chars=4_000,
    )
    assert (said.unset_variables, said.notices(said.destinations)) == ({}, ())


def test_an_empty_file_says_nothing(path):
    assert read(path, "") == FileSettings(path)


def test_defaults_take_every_option_but_objects_and_what_belongs_to_one_destination():
    from llm_otel_broadcast.instrumentation import argument_names

    not_here = {"client", "tracer_provider", "exporter", "endpoint", "headers", "destinations", "to", "strict"}
    assert set(default_names()) >= set(argument_names()) - not_here - {
        "on_generation",
        "redact",
    }
    assert not not_here & set(default_names())


def test_a_variable_that_is_missing_turns_one_destination_off_and_leaves_the_others_on(path):
    text = (
        '[[destinations]]\nname = "one"\nendpoint = "http://one"\n'
        'headers = { A = "${FIRST} ${SECOND}", B = "${SECOND}", C = "there" }\n'
        '[[destinations]]\nname = "two"\nendpoint = "http://two"\nheaders = { A = "${THIRD}" }\n'
    )
    said = read(path, text, THIRD="3", SECOND="")
    assert [(made.name, made.enabled, made.headers) for made in said.destinations] == [
        ("one", False, {"C": "there"}),
        ("two", True, {"A": "3"}),
    ]
    assert said.notices(said.destinations) == (
        f'{path}: [[destinations]] "one" is off: headers need FIRST, SECOND, which are not set in the environment',
    )

    assert said.notices([]) == ()


def test_what_is_off_anyway_misses_no_variable(path):
    assert read(path, ONE + 'enabled = false\nheaders = { A = "${NOT_THERE}" }\n').unset_variables == {}


ONE = '[[destinations]]\nname = "axiom"\nendpoint = "http://x"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = \n", ["line 1, column 5: it is not TOML: Invalid value"]),
        ('enabled = true\nheaders = "s3cr3t\n', ["line 2, column 18: it is not TOML: Illegal character '\\n'"]),
        ('a = "s3cr3t', ["end of document: it is not TOML: Unterminated string"]),
        (b'a = 1\nb = "\xff"\n', ["line 2 is not UTF-8: save the file in that encoding"]),
        ("a = " + "[" * 100_000, ["it is nested too deeply"]),
        ("#" * (4 * 1024 * 1024 + 1), ["it has more than 4194304 bytes"]),
        ("enabeld = true", ['"enabeld" is no setting: did you mean "enabled"?']),
        ("zzz = true", ['"zzz" is no setting: there are enabled, defaults, destinations']),
        ('enabled = "yes"', ["enabled must be true or false, got 'yes'"]),
        ('service_name = "x"', ['"service_name" belongs under [defaults]']),
        ('endpoint = "http://x"', ['"endpoint" belongs to one destination, under [[destinations]]']),
        ("defaults = 5", ["defaults must be a table, under a line [defaults]"]),
        ("[defaults]\nservice_nam = 1", ['[defaults]: "service_nam" is no setting: did you mean "service_name"?']),
        ("[defaults]\nenabled = true", ['[defaults]: "enabled" stands at the top of the file, above [defaults]']),
        (
            '[defaults]\nheaders = { a = "s3cr3t" }',
            ['[defaults]: "headers" belongs to one destination, under [[destinations]]'],
        ),
        (
            "[defaults]\ntracer_provider = 1",
            ['[defaults]: "tracer_provider" is a Python object, which only code can give'],
        ),
        ("[defaults]\ncapture_content = 1", ["[defaults]: capture_content must be true or false, got 1"]),
        (
            "[defaults]\ntimeout = 0",
            ["[defaults]: timeout must be a number of seconds from 0.001 to 3600, got 0"],
        ),
        ("destinations = 5", ["destinations must be tables, each under a line [[destinations]]"]),
        ('[destinations]\nname = "x"', ["destinations must be tables, each under a line [[destinations]]"]),
        (
            '[[destinations]]\nname = "axiom"\n',
            [
                (
                    '[[destinations]] "axiom": endpoint is missing: give the traces URL of your backend, '
                    'e.g. endpoint="https://api.axiom.co/v1/traces"'
                )
            ],
        ),
        (
            '[[destinations]]\nendpoint = "backend:4318"\n',
            [
                (
                    '[[destinations]] number 1: endpoint "backend:4318" needs http:// or https:// in front, '
                    'e.g. "http://backend:4318"'
                )
            ],
        ),
        (ONE + 'hedaers = "s3cr3t"', ['[[destinations]] "axiom": "hedaers" is no setting: did you mean "headers"?']),
        (ONE + "service_name = 1", ['[[destinations]] "axiom": "service_name" belongs under [defaults]']),
        (ONE + "exporter = 1", ['[[destinations]] "axiom": "exporter" is a Python object, which only code can give']),
        (ONE + "headers = { A = 5 }", ['[[destinations]] "axiom": header "A" must be a string, got int 5']),
        (
            ONE + 'headers = { A = "s3cr3t${B-c}" }',
            ['[[destinations]] "axiom": header "A": ${...} takes the name of a variable (write $${ for a plain ${)'],
        ),
        (
            ONE + 'headers = { A = "s3cr3t${B" }',
            ['[[destinations]] "axiom": header "A": ${...} takes the name of a variable (write $${ for a plain ${)'],
        ),
        (
            '[[destinations]]\nname = "axiom"\nendpoint = "http://${HOST}"',
            ['[[destinations]] "axiom": endpoint: ${...} is read in the values of headers only'],
        ),
        (
            ONE + 'resource_attributes = { team = "${TEAM}" }',
            ['[[destinations]] "axiom": resource_attributes team: ${...} is read in the values of headers only'],
        ),
        (
            ONE + ONE,
            ['[[destinations]] "axiom" is there twice: give each its own name'],
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_table_and_the_fix_and_without_secrets(path, text, told):
    assert faults(path, text) == told


def test_a_header_made_wrong_by_its_variable_is_told_without_the_value(path):
    (told,) = faults(path, ONE + 'headers = { A = "${TOKEN}" }', TOKEN="s3cr3t\nline")
    assert told == '[[destinations]] "axiom": header "A" has a line break in its value: remove it'


def test_every_fault_of_a_file_is_told_at_once(path):
    text = 'x = 1\n[defaults]\ny = 1\ntimeout = "s"\n' + ONE + 'encoding = "xml"\ntimeout = -1\n'
    assert [fault.split(":")[0] for fault in faults(path, text)] == [
        '"x" is no setting',
        "[defaults]",
        "[defaults]",
        '[[destinations]] "axiom"',
        '[[destinations]] "axiom"',
    ]


def test_a_byte_order_mark_and_line_ends_of_windows_are_fine(path):
    assert not read(path, b"\xef\xbb\xbfenabled = false\r\n").enabled


def test_what_is_no_file_is_told_and_never_waited_for(tmp_path, path):
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        with pytest.raises(ConfigError, match="it is no ordinary file"):
            read_file(path, {})
    with pytest.raises(ConfigError, match=r"it is no ordinary file|it cannot be read"):
        read_file(tmp_path, {})
    with pytest.raises(ConfigError, match="it cannot be read \\(No such file or directory\\)"):
        read_file(tmp_path / "gone", {})


@POSIX
@pytest.mark.parametrize(
    ("line", "mode", "warned"),
    [
        ('headers = { Authorization = "Bearer s3cr3t" }', 0o644, True),
        ('headers = { x-honeycomb-team = "s3cr3t" }', 0o640, True),
        ('headers = { Authorization = "Bearer s3cr3t" }', 0o600, False),
        ('headers = { Authorization = "Bearer ${TOKEN}", X-Axiom-Dataset = "llm" }', 0o644, False),
        ("", 0o644, False),
    ],
)
def test_secrets_that_others_can_read_are_warned_of(path, line, mode, warned):
    write(path, ONE + line).chmod(mode)
    said = read_file(path, {"TOKEN": "x"})
    told = (f"{path} holds secrets and other users can read it: chmod 600 {path}",) if warned else ()
    assert said.notices(said.destinations) == told


@POSIX
def test_a_password_in_an_endpoint_is_a_secret_too(path):
    write(path, '[[destinations]]\nendpoint = "http://me:s3cr3t@x"').chmod(0o644)
    assert read_file(path, {}).warnings
    assert "s3cr3t" not in repr(read_file(path, {}))


def test_the_repr_of_what_was_read_holds_no_header(path):
    assert "s3cr3t" not in repr(read(path, ONE + 'headers = { A = "s3cr3t" }'))
