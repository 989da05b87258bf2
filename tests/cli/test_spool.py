"""`spool list | send | clear`, as a user and as a script meet them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from llm_otel_broadcast.cli.app import cli
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.settings.locations import CONFIG
from tests.support.deadlines import until
from tests.support.installed_programs import free_port
from tests.support.lanes import record, running, shelf_at

SECRET = "s3cr3t"


@pytest.fixture
def endpoint():
    """Of a server that is not there yet."""
    return f"http://127.0.0.1:{free_port()}/v1/traces"


@pytest.fixture
def file(tmp_path, monkeypatch, endpoint):
    path = tmp_path / "settings.toml"
    monkeypatch.setenv(CONFIG, str(path))

    def write(key: str = SECRET) -> None:
        path.write_text(
            f'[defaults]\nspool = "{tmp_path / "spool"}"\n\n'
            f'[[destinations]]\nname = "backend"\nendpoint = "{endpoint}"\nheaders = {{ X-Key = "{key}" }}\n'
        )

    write()
    return write


@pytest.fixture
def backlog(tmp_path, endpoint):
    """Three records that could not be delivered, in three requests."""
    shelf = shelf_at(tmp_path / "spool", endpoint, headers={"X-Key": SECRET})
    with running(endpoint, shelf=shelf) as lane:
        for number in range(3):
            lane.enqueue(record(f"model-{number}"))
            until(lambda: not lane.status().queued_records)
        until(lambda: shelf.count() == 3)
    shelf.store.close()
    return tmp_path / "spool"


def spool(*arguments, code=0):
    done = CliRunner().invoke(cli, ["spool", *arguments])
    assert done.exit_code == code, (done.output, done.exception)
    assert SECRET not in done.output
    return done.output


def at(endpoint):
    return OtlpReceiver(port=int(endpoint.rpartition(":")[2].partition("/")[0]))


def test_list_shows_what_waits_for_whom(file, backlog, endpoint):
    output = spool("list")
    assert "backend" in output
    assert endpoint in output
    assert "the same destination" in output
    (entry,) = json.loads(spool("list", "--json"))["backlogs"]
    assert (entry["destination"], entry["records"], entry["requests"], entry["sendable"]) == ("backend", 3, 3, True)


def test_an_empty_spool_says_so_and_is_not_made(file, tmp_path):
    assert "Nothing waits" in spool("list")
    assert "Nothing waits" in spool("send")
    assert json.loads(spool("list", "--json"))["backlogs"] == []
    assert not (tmp_path / "spool").exists()


def test_send_sends_it_all(file, backlog, endpoint):
    with at(endpoint) as receiver:
        assert "3 record(s) sent" in spool("send")
        assert len(receiver.store.spans()) == 3
    assert "Nothing waits" in spool("list")


def test_send_says_what_is_left_and_why_and_ends_with_1(file, backlog):
    output = spool("send", code=1)
    assert "3 left" in output
    assert "connection refused" in output
    document = json.loads(spool("send", "--json", code=1))
    assert (document["ok"], document["destinations"][0]["remaining"]) == (False, 3)


def test_after_a_change_of_a_key_it_is_sent_only_if_that_is_asked_for(file, backlog, endpoint):
    file("another key")
    assert "--changed-headers" in spool("list")
    with at(endpoint) as receiver:
        assert "Nothing waits" in spool("send")
        assert receiver.store.spans() == []
        assert "3 record(s) sent" in spool("send", "--changed-headers")
        assert len(receiver.store.spans()) == 3


def test_clear_removes_what_is_named(file, backlog):
    assert "0 record(s) removed" in spool("clear", "--destination", "another", "--yes")
    assert "3 record(s) removed" in spool("clear", "--destination", "backend", "--yes")
    assert "Nothing waits" in spool("list")


def test_a_directory_may_be_named(file, backlog, tmp_path):
    assert "Nothing waits" in spool("list", "--directory", str(tmp_path / "other"))
    assert "backend" in spool("list", "--directory", str(backlog))


def test_where_no_spool_is_set_it_says_how_to_name_one():
    assert "--directory" in spool("list", code=1)
    assert json.loads(spool("list", "--json", code=1))["ok"] is False


def test_an_unknown_destination_is_named(file, backlog):
    assert '"nobody"' in spool("send", "--destination", "nobody", code=1)


def test_a_damaged_file_is_told_of(file, backlog):
    path = next(backlog.glob("*.sqlite3"))
    for companion in backlog.glob("*-*"):
        companion.unlink()
    path.write_bytes(b"no database at all" * 500)
    assert "is damaged" in spool("list", code=1)
    assert "moved aside" in spool("list")


def test_config_shows_the_spool_and_its_bounds(file, tmp_path):
    document = json.loads(CliRunner().invoke(cli, ["config", "--json"]).output)
    expected = {"directory": str(tmp_path / "spool"), "max_bytes": 512 * 1024 * 1024, "max_age": 604_800.0}
    assert document["settings"]["spool"]["value"] == expected
