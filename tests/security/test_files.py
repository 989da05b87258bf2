"""Files that we write are their owner's alone, and no link that another account puts in the way leads them elsewhere."""

from __future__ import annotations

import os
import stat
import sys

import pytest

from llm_otel_broadcast import Destination
from llm_otel_broadcast.settings.manage.atomic_writer import replace_file
from llm_otel_broadcast.settings.manage.last_tests import remember

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")


@pytest.fixture(autouse=True)
def careless_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_results_of_tests_are_their_owners_and_replace_a_link(tmp_path):
    destination = Destination(name="x", endpoint="https://backend.example")
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    remember(tmp_path / "f", destination, ok=True, message="fine", environ=environ)
    (written,) = (tmp_path / "state" / "llm-otel-broadcast").iterdir()
    assert (mode_of(written), mode_of(written.parent)) == (0o600, 0o700)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    written.unlink()
    written.symlink_to(victim)
    remember(tmp_path / "f", destination, ok=True, message="fine", environ=environ)
    assert victim.read_text() == "precious"
    assert not written.is_symlink()
    assert mode_of(written) == 0o600


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_root_gives_no_file_away_that_was_put_in_the_place_of_the_new_one(tmp_path, monkeypatch):
    """`sudo llm-otel-broadcast enable` in a directory of another user's, who is quick."""
    theirs, victim = tmp_path / "settings.toml", tmp_path / "victim"
    theirs.write_text("old")
    victim.write_text("root's")
    os.chown(theirs, 12345, 12345)
    real = os.fsync

    def swap(handle):
        real(handle)
        (new,) = tmp_path.glob(".settings.toml.*")
        new.unlink()
        new.symlink_to(victim)

    monkeypatch.setattr(os, "fsync", swap)
    replace_file(theirs, "new")
    assert victim.stat().st_uid == 0
    assert victim.read_text() == "root's"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_root_leaves_a_file_with_its_owner(tmp_path):
    theirs = tmp_path / "settings.toml"
    theirs.write_text("old")
    os.chown(theirs, 12345, 12345)
    replace_file(theirs, "new")
    assert (theirs.stat().st_uid, mode_of(theirs), theirs.read_text()) == (12345, 0o600, "new")
