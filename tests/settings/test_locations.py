"""Where the settings file is looked for, whose files count, and what is remembered beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.settings.locations import CONFIG, FILE_NAME, candidates, look, user_directory
from llm_otel_broadcast.settings.manage.last_tests import last_test, remember
from llm_otel_broadcast.settings.manage.shown import effective

POSIX = pytest.mark.skipif(os.name != "posix", reason="other systems have other permissions")


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


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
