"""What the settings file says, where it is looked for, and every way in which it can be wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import llm_otel_broadcast
from llm_otel_broadcast import ConfigError, Destination
from llm_otel_broadcast.settings.file import FileSettings, default_names, read_file
from llm_otel_broadcast.settings.locations import CONFIG, FILE_NAME, candidates, look, user_directory
from llm_otel_broadcast.settings.manage.last_tests import last_test, remember
from llm_otel_broadcast.settings.manage.shown import effective

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


# -- where it is --------------------------------------------------------------------------------------------------------


def test_the_file_is_the_one_that_is_named_else_the_one_here_else_the_users(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environ = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    named = {**environ, CONFIG: "other.toml"}
    assert candidates(named) == (tmp_path / "other.toml",)
    assert candidates({**environ, CONFIG: "~/x.toml"}) == (Path.home() / "x.toml",)
    assert candidates({**environ, CONFIG: os.devnull}) == ()
    here, user = candidates({**environ, CONFIG: " "})
    assert here == tmp_path / FILE_NAME
    user.parent.mkdir(parents=True)
    assert look(environ).stamp() is None
    write(user, "")
    assert look(environ).stamp().path == user
    write(here, "")
    assert look(environ).stamp().path == here


@pytest.mark.skipif(sys.platform == "win32", reason="asks for the directories of Unix and macOS")
@pytest.mark.parametrize("platform", ["linux", "darwin"])
@pytest.mark.parametrize("xdg", ["", "/xdg", "relative"])
def test_the_users_directories_are_those_of_platformdirs(monkeypatch, platform, xdg):
    from platformdirs import macos, unix

    monkeypatch.setenv("HOME", "/home/me")
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, xdg)
    dirs = (macos.MacOS if platform == "darwin" else unix.Unix)("llm-otel-broadcast")
    config = user_directory(os.environ, "XDG_CONFIG_HOME", ".config", platform)
    state = user_directory(os.environ, "XDG_STATE_HOME", ".local/state", platform)
    assert (str(config), str(state)) == (dirs.user_config_dir, dirs.user_state_dir)


def test_on_windows_it_is_the_local_application_data():
    found = user_directory({"LOCALAPPDATA": "C:/Users/me/AppData/Local"}, "XDG_CONFIG_HOME", ".config", "win32")
    assert found == Path("C:/Users/me/AppData/Local/llm-otel-broadcast")
    assert user_directory({}, "XDG_CONFIG_HOME", ".config", "win32") is None


def test_the_directory_of_a_program_may_be_gone(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert len(candidates({"HOME": "/home/me"})) == 1


ROOT = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files to other users")
OTHER_USER = 54321


@pytest.fixture
def lookup(tmp_path, monkeypatch):
    """Look for the file in a directory of the user's own."""
    place = tmp_path / "project"
    place.mkdir(mode=0o755)
    monkeypatch.chdir(place)
    write(place / FILE_NAME, "")
    (place / FILE_NAME).chmod(0o644)
    return look({"HOME": str(tmp_path / "home")})


@POSIX
@pytest.mark.parametrize(
    ("mode", "of_directory", "trusted"),
    [
        (0o600, 0o700, True),
        (0o664, 0o775, True),
        (0o644, 0o1777, True),
        (0o644, 0o777, False),
        (0o666, 0o755, False),
    ],
)
def test_a_file_counts_only_where_no_other_user_can_have_written_it(lookup, caplog, mode, of_directory, trusted):
    """Prompts and secrets of the environment go to wherever that file says."""
    (place, *_) = lookup.places
    place.chmod(mode)
    place.parent.chmod(of_directory)
    assert (lookup.stamp() is not None, lookup.refusals() == ()) == (trusted, trusted)
    assert look({CONFIG: str(place)}).stamp() is not None
    assert look({CONFIG: str(place)}).refusals() == ()


@ROOT
@pytest.mark.parametrize("what", ["file", "directory", "group of the file", "group of the directory", "link"])
def test_a_file_of_another_user_does_not_count_and_that_is_said(lookup, what, caplog, monkeypatch, receiver):
    (place, *_) = lookup.places
    place.write_text(f'[[destinations]]\nendpoint = "{receiver.endpoint}"\n')
    changed = place.parent if "directory" in what else place
    if what == "link":
        place.rename(place.with_name("real.toml"))
        place.symlink_to("real.toml")
        os.lchown(place, OTHER_USER, -1)
    elif what.startswith("group"):
        os.chown(changed, -1, OTHER_USER)
        changed.chmod(0o775)
    else:
        os.chown(changed, OTHER_USER, -1)
    assert lookup.stamp() is None
    monkeypatch.delenv(CONFIG)
    monkeypatch.setenv("HOME", str(place.parent / "home"))
    llm_otel_broadcast.instrument()
    assert llm_otel_broadcast.status().destinations == ()
    (refusal,) = [record.getMessage() for record in caplog.records if "does not count" in record.getMessage()]
    assert refusal.startswith(f"{place} does not count: ")
    assert refusal.endswith(f"If you trust it, set {CONFIG}={place}")
    assert refusal in effective(os.environ).warnings


@ROOT
@pytest.mark.parametrize(("owner", "counts"), [(0, "True\n"), (OTHER_USER, "True\n"), (OTHER_USER + 1, "False\n")])
def test_for_each_user_the_files_of_root_and_his_own_count(owner, counts):
    program = (
        "import os; from llm_otel_broadcast.settings.locations import look\n"
        f"os.setgroups([]); os.setgid({OTHER_USER}); os.setuid({OTHER_USER})\n"
        "print(bool(look(os.environ).stamp()))"
    )
    environ = {name: text for name, text in os.environ.items() if name != CONFIG} | {"HOME": "/nonexistent"}
    with TemporaryDirectory() as directory:
        (Path(directory) / FILE_NAME).write_text("")
        for path in (Path(directory), Path(directory) / FILE_NAME):
            os.chown(path, owner, -1)
            path.chmod(0o755)
        command = [sys.executable, "-c", program]
        done = subprocess.run(
            command, cwd=directory, env=environ, capture_output=True, text=True, timeout=50, check=False
        )
    assert (done.stdout, done.stderr) == (counts, "")


# -- the last test of a destination ---------------------------------------------------------------------------------------


def test_the_last_test_of_a_destination_is_remembered_until_its_endpoint_changes(tmp_path):
    environ = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state"), "LOCALAPPDATA": str(tmp_path)}
    file = tmp_path / FILE_NAME
    one = Destination(name="one", endpoint="http://me:s3cr3t@one/?key=s3cr3t", headers={"A": "s3cr3t"})
    assert last_test(file, one, environ) is None
    remember(file, one, ok=False, message="401", environ=environ)
    remember(file, one, ok=True, message="fine", environ=environ)
    found = last_test(file, one, environ)
    assert (found.ok, found.message) == (True, "fine")
    assert last_test(file, Destination(name="one", endpoint="http://two"), environ) is None
    assert last_test(tmp_path / "other.toml", one, environ) is None
    (kept,) = (tmp_path / "state").rglob("*.json")
    assert "s3cr3t" not in kept.read_text()
    kept.write_text("[broken")
    assert last_test(file, one, environ) is None


def test_a_result_that_cannot_be_kept_is_no_error(tmp_path):
    (tmp_path / "state").write_text("in the way")
    environ = {"XDG_STATE_HOME": str(tmp_path / "state"), "LOCALAPPDATA": str(tmp_path / "state")}
    remember(tmp_path / FILE_NAME, Destination(endpoint="http://x"), ok=True, message="", environ=environ)
    remember(tmp_path / FILE_NAME, Destination(endpoint="http://x"), ok=True, message="", environ={"HOME": "relative"})
