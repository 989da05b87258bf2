"""Changing the settings file: what is written is read back, what a person wrote stays, and writers do not get in each other's way."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_otel_broadcast import ConfigError, Destination
from llm_otel_broadcast.settings.locations import CONFIG, FILE_NAME
from llm_otel_broadcast.settings.manage import editor as store_room
from llm_otel_broadcast.settings.manage.editor import SettingsFile

POSIX = pytest.mark.skipif(os.name != "posix", reason="other systems have other permissions")
WRITTEN = """\
# ours, do not touch
[defaults]  # for all
service_name = 'checkout'

[[destinations]]
name = "one"  # the first
endpoint = "http://one"

    [destinations.headers]  # indented
    A = "1"  # a
    B = '2'

# between
[[destinations]]
endpoint = "http://two:4318"
timeout = 5_0
"""


@pytest.fixture
def file(tmp_path) -> SettingsFile:
    return SettingsFile(tmp_path / "settings.toml")


def said(file: SettingsFile) -> dict[str, object]:
    return tomllib.loads(file.path.read_text(encoding="utf-8"))


texts = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=20)
tables = st.fixed_dictionaries(
    {"endpoint": st.sampled_from(["http://a", "https://b.example:8443/v1/traces?x=%20", "http://u:p@c/ü"])},
    optional={
        "headers": st.dictionaries(
            st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True).filter(
                lambda name: name.lower() not in ("host", "content-type")
            ),
            texts.filter(lambda text: "${" not in text),
            max_size=4,
        ),
        "enabled": st.booleans(),
        "encoding": st.sampled_from(["auto", "json", "protobuf"]),
        "privacy_mode": st.booleans(),
        "timeout": st.floats(0.001, 3600) | st.integers(1, 3600),
        "batch_delay": st.floats(0, 3600),
    },
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(names, tables | st.none()), max_size=6), begin=st.sampled_from(["", WRITTEN, None]))
def test_whatever_is_put_is_read_back_as_the_same_destinations(file, changes, begin):
    file.path.unlink(missing_ok=True)
    if begin is not None:
        file.path.write_text(begin)
    expected = {made.name: made for made in file.load({}).destinations}
    for name, table in changes:
        if table is not None:
            file.save(name, table)
            expected[name] = Destination(**{**table, "name": name})
        elif name in expected:
            file.remove(name)
            del expected[name]
    assert list(file.load({}).destinations) == list(expected.values())
    assert file.names() == list(expected)
    if begin:
        assert "# ours, do not touch\n[defaults]  # for all\nservice_name = 'checkout'\n" in file.path.read_text()


def test_what_a_person_wrote_stays_as_it_is_where_nothing_changes(file):
    file.path.write_text(WRITTEN)
    file.save("one", {"endpoint": "http://one", "headers": {"A": "1", "B": "3"}})
    assert file.path.read_text() == WRITTEN.replace("B = '2'", 'B = "3"')
    file.save("two:4318", {"endpoint": "http://two:4318", "timeout": 50})
    assert said(file)["destinations"][1] == {"name": "two:4318", "endpoint": "http://two:4318", "timeout": 50}
    assert "timeout = 5_0\n" in file.path.read_text()
    file.enable(False)
    assert file.path.read_text().startswith("enabled = false\n\n# ours, do not touch\n")
    file.enable(True)
    assert file.path.read_text().startswith("enabled = true\n\n# ours")
    file.remove("one")
    assert "# between" in file.path.read_text() or "# ours" in file.path.read_text()
    assert [made.name for made in file.load({}).destinations] == ["two:4318"]


def test_a_new_file_says_what_it_is_and_has_one_table_each(file):
    file.save("axiom", {"endpoint": "https://a", "headers": {"Authorization": "Bearer ${TOKEN}"}, "timeout": None})
    file.save("b", {"endpoint": "http://b", "enabled": False})
    assert file.path.read_text() == (
        "# Where llm_otel_broadcast sends traces. A secret may stay in the environment:\n"
        '# headers = { Authorization = "Bearer ${AXIOM_TOKEN}" }\n\n'
        "enabled = true\n\n"
        '[[destinations]]\nname = "axiom"\nendpoint = "https://a"\nheaders = {Authorization = "Bearer ${TOKEN}"}\n\n'
        '[[destinations]]\nname = "b"\nendpoint = "http://b"\nenabled = false\n'
    )


def test_destinations_written_as_an_array_can_be_changed_too(file):
    file.path.write_text('destinations = [{endpoint = "http://one"}]  # short\n')
    file.save("two", {"endpoint": "http://two", "headers": {"A": "1"}})
    file.save("one", {"endpoint": "http://one", "enabled": False})
    assert file.names() == ["one", "two"]
    assert file.path.read_text().endswith("]  # short\n")
    file.remove("one")
    assert file.names() == ["two"]


def test_line_ends_of_windows_stay(file):
    file.path.write_bytes(WRITTEN.replace("\n", "\r\n").encode())
    file.save("one", {"endpoint": "http://other"})
    text = file.path.read_bytes()
    assert text.count(b"\r\n") >= text.count(b"\n") - 1
    assert file.table("one")["endpoint"] == "http://other"


def test_a_destination_is_made_as_it_would_send(file):
    file.path.write_text("[defaults]\nencoding = 'json'\n")
    file.save("axiom", {"endpoint": "https://a", "headers": {"Authorization": "Bearer ${TOKEN}"}})
    made = file.destination("axiom", {"TOKEN": "t"})
    assert (made.headers, made.encoding, made.name) == ({"Authorization": "Bearer t"}, "json", "axiom")
    assert file.table("axiom")["headers"] == {"Authorization": "Bearer ${TOKEN}"}
    with pytest.raises(ConfigError) as caught:
        file.destination("axiom", {})
    assert str(caught.value) == (
        f'{file.path}: [[destinations]] "axiom": headers need TOKEN, which is not set in the environment'
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda file: file.save("x", {"endpoint": "x"}), '[[destinations]] "x": endpoint "x" needs http://'),
        (lambda file: file.save("x", {"endpont": "http://x"}), '"endpont" is no setting: did you mean "endpoint"?'),
        (lambda file: file.remove("x"), 'there is no destination "x" (there: "one", "two:4318")'),
        (lambda file: file.table("x"), 'there is no destination "x" (there: "one", "two:4318")'),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(file, change, told):
    file.path.write_text(WRITTEN)
    with pytest.raises(ConfigError) as caught:
        change(file)
    assert told in str(caught.value)
    assert file.path.read_text() == WRITTEN


def test_a_broken_file_is_not_overwritten(file):
    file.path.write_text("x = \n")
    with pytest.raises(ConfigError, match="line 1, column 5: it is not TOML"):
        file.enable(True)
    assert file.path.read_text() == "x = \n"


def test_a_table_that_is_wrong_can_be_removed_or_put_right(file):
    file.path.write_text('[[destinations]]\nname = "x"\nendpont = "http://x"\n')
    file.save("x", {"endpoint": "http://x"})
    assert file.table("x") == {"name": "x", "endpoint": "http://x"}
    file.path.write_text('[[destinations]]\nname = "x"\nendpont = "http://x"\n')
    file.remove("x")
    assert file.names() == []


def test_what_tomlkit_would_get_wrong_is_not_written(file, monkeypatch):
    file.path.write_text(WRITTEN)
    monkeypatch.setattr(store_room, "_appended", lambda document, _table: document.as_string())
    with pytest.raises(ConfigError, match="written in a way that cannot be changed here: edit it"):
        file.save("new", {"endpoint": "http://new"})
    assert file.path.read_text() == WRITTEN


@POSIX
def test_the_file_is_for_its_owners_eyes_only_and_so_is_a_new_directory(tmp_path):
    before = os.umask(0)
    try:
        file = SettingsFile(tmp_path / "new" / "settings.toml")
        file.save("x", {"endpoint": "http://x"})
    finally:
        os.umask(before)
    assert (file.path.stat().st_mode & 0o777, file.path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    file.path.chmod(0o644)
    file.enable(False)
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.path.parent.iterdir()] == ["settings.toml"]


@POSIX
def test_a_link_stays_a_link(tmp_path):
    target = tmp_path / "dotfiles.toml"
    target.write_text(WRITTEN)
    link = tmp_path / "settings.toml"
    link.symlink_to(target)
    SettingsFile(link).remove("one")
    assert link.is_symlink()
    assert 'name = "one"' not in target.read_text()


def test_a_failure_while_writing_leaves_the_old_file_and_nothing_else(file, monkeypatch):
    file.path.write_text(WRITTEN)

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=r"it cannot be written \(No space left on device\)"):
        file.enable(False)
    assert file.path.read_text() == WRITTEN
    assert [path.name for path in file.path.parent.iterdir()] == ["settings.toml"]


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "in the way").write_text("")
    with pytest.raises(ConfigError, match="it cannot be written"):
        SettingsFile(tmp_path / "in the way" / "settings.toml").enable(False)


WRITER = """
import sys
from pathlib import Path
from llm_otel_broadcast.settings.manage.editor import SettingsFile
file = SettingsFile(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(15):
    file.save(f"{sys.argv[2]} {number}", {"endpoint": "http://x"})
"""


def test_writers_in_several_processes_lose_nothing_and_a_reader_never_sees_half_a_file(file):
    file.enable(True)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(file.path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "abc"
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.close()
    reads = 0
    while any(writer.poll() is None for writer in writers):
        file.load({})
        reads += 1
    for writer in writers:
        writer.stdout.close()
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert sorted(file.names()) == sorted(f"{name} {number}" for name in "abc" for number in range(15))
    assert reads


def test_writers_in_several_threads_lose_nothing(file):
    threads = [threading.Thread(target=file.save, args=(f"{number}", {"endpoint": "http://x"})) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(file.names()) == sorted(map(str, range(10)))


@POSIX
def test_who_may_only_read_the_directory_cannot_keep_a_writer_waiting(file):
    """A lock on the directory is to be had by everybody who may read it."""
    import fcntl

    handle = os.open(file.path.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        file.enable(False)
    finally:
        os.close(handle)
    assert "enabled = false" in file.path.read_text()


@POSIX
def test_a_writer_that_does_not_let_go_is_waited_for_a_while_and_then_named(file, monkeypatch):
    import fcntl

    monkeypatch.setattr(store_room, "_LOCK_TIMEOUT_S", 0.1)
    lock = file.path.with_name(".settings.toml.lock")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match=r"\.settings\.toml\.lock is held by another program that changes"):
            file.enable(False)
    file.enable(False)
    assert not lock.exists()


@POSIX
def test_the_lock_is_nobody_elses_to_hold_and_no_link_is_followed(file, tmp_path, monkeypatch):
    monkeypatch.setattr(store_room, "_LOCK_TIMEOUT_S", 0.1)
    modes = []
    replace = store_room.replace_file

    def watch(path: Path, text: str) -> None:
        modes.append(path.with_name(".settings.toml.lock").stat().st_mode & 0o777)
        replace(path, text)

    monkeypatch.setattr(store_room, "replace_file", watch)
    before = os.umask(0)
    try:
        file.enable(False)
    finally:
        os.umask(before)
    assert modes == [0o600]
    (tmp_path / "other").write_text("other")
    file.path.with_name(".settings.toml.lock").symlink_to(tmp_path / "other")
    with pytest.raises(ConfigError, match="it cannot be written"):
        file.enable(True)


def test_the_file_to_write_is_the_one_in_use_else_the_named_else_the_users(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg"), "LOCALAPPDATA": str(tmp_path / "xdg")}
    user = tmp_path / "xdg" / "llm-otel-broadcast" / FILE_NAME
    assert SettingsFile.in_use_or_new(environ).path == user
    assert SettingsFile.in_use_or_new({**environ, CONFIG: "named.toml"}).path == tmp_path / "named.toml"
    Path(FILE_NAME).write_text("")
    assert SettingsFile.in_use_or_new(environ).path == tmp_path / FILE_NAME
    with pytest.raises(ConfigError, match="set LLM_OTEL_BROADCAST_CONFIG to the path of one"):
        SettingsFile.in_use_or_new({CONFIG: os.devnull})


def test_without_tomlkit_the_fix_is_named(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    with pytest.raises(ConfigError, match=r"pip install 'llm-otel-broadcast\[cli\]'"):
        file.enable(True)
