"""`spool`: where it may be given, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_otel_broadcast import ConfigError, Destination
from llm_otel_broadcast.settings.options import Options
from llm_otel_broadcast.settings.spool import SPOOL, SpoolSettings, plain_spool


@pytest.mark.parametrize("value", ["/var/spool", Path("/var/spool"), {"directory": "/var/spool"}])
def test_a_directory_alone_has_the_usual_bounds(value):
    assert Options(spool=value).spool == SpoolSettings(directory="/var/spool")


def test_the_bounds_may_be_named_in_code_and_in_a_variable():
    expected = SpoolSettings(directory="/var/spool", max_bytes=2_000_000, max_age=60)
    mapping = {"directory": "/var/spool", "max_bytes": 2_000_000, "max_age": 60}
    assert Options(spool=mapping).spool == expected
    assert plain_spool(SPOOL.read('{"directory": "/var/spool", "max_bytes": 2000000, "max_age": 60}')) == expected


def test_a_relative_directory_is_one_of_the_current_directory_for_good(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Options(spool="traces").spool.directory == str(tmp_path / "traces")


def test_the_home_directory_may_be_named(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert Options(spool="~/traces").spool.directory == str(tmp_path / "traces")


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("", "empty"),
        (7, "got int"),
        ({"max_bytes": 2_000_000}, "directory must be a path"),
        ({"directory": "/x", "max_byte": 1}, 'did you mean "max_bytes"'),
        ({"directory": "/x", "max_bytes": 10}, "at least 1048576, got 10"),
        ({"directory": "/x", "max_bytes": True}, "max_bytes"),
        ({"directory": "/x", "max_age": 0}, "max_age must be a number of seconds"),
    ],
)
def test_what_is_wrong_is_named_with_the_fix(value, fault):
    with pytest.raises(ConfigError, match=fault):
        Options(spool=value)


def test_durable_needs_a_spool():
    with pytest.raises(ConfigError, match="durable needs spool=DIRECTORY"):
        Options(destinations=(Destination(endpoint="http://localhost", durable=True),))
