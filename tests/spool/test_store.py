"""The bodies on disk: bounded, oldest first, one sender at a time, and whatever happens to the file."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from pathlib import Path

import pytest

from llm_otel_broadcast.spool import file as file_module
from llm_otel_broadcast.spool import store as store_module
from llm_otel_broadcast.spool.directory import SpoolError, damaged_files
from llm_otel_broadcast.spool.file import FILE_NAME
from llm_otel_broadcast.spool.identity import identity_of, is_same_address
from llm_otel_broadcast.spool.store import SpoolStore
from llm_otel_broadcast.wire.exchange import Body

DAY_S = 86_400.0
LEASE_S = 10.0


def body(text: str = "{}", spans: int = 1) -> Body[bytes]:
    return Body(text.encode(), spans, "json")


@pytest.fixture
def opened(tmp_path):
    def open_store(max_bytes: int = 10_000_000, max_age_s: float = 7 * DAY_S) -> SpoolStore:
        return SpoolStore(tmp_path / "spool", max_bytes, max_age_s)

    return open_store


@pytest.fixture
def clock(monkeypatch):
    """The wall clock, as the test sets it."""

    class Clock:
        now = 1_800_000_000.0

    monkeypatch.setattr(store_module.time, "time", lambda: Clock.now)
    return Clock


def contents(store: SpoolStore, identity: str = "d") -> list[str]:
    claimed = iter(lambda: store.claim(identity, "reader", LEASE_S), None)
    return [stored.body.content.decode() for stored in claimed]


def test_a_body_comes_back_as_it_was_the_oldest_first(opened):
    store = opened()
    packed = Body(b"\x1f\x8b\x00", 3, "protobuf", "gzip")
    store.add("d", "owner", packed, 2)
    store.add("d", "owner", body("second"), 1)
    first = store.claim("d", "me", LEASE_S)
    assert (first.body, first.records, first.owner) == (packed, 2, "owner")
    assert store.claim("d", "me", LEASE_S).body.content == b"second"
    assert store.claim("d", "me", LEASE_S) is None


def test_a_destination_gets_its_own_bodies_alone(opened):
    store = opened()
    store.add("one", "owner", body("of one"), 1)
    assert store.claim("other", "me", LEASE_S) is None
    assert contents(store, "one") == ["of one"]


def test_a_claimed_body_is_nobody_elses_until_the_claim_ends(opened, clock):
    here, there = opened(), opened()
    here.add("d", "owner", body(), 1)
    assert here.claim("d", "here", LEASE_S)
    assert there.claim("d", "there", LEASE_S) is None
    # the process that had it was killed
    clock.now += LEASE_S + 1
    assert there.claim("d", "there", LEASE_S)


def test_what_is_released_may_be_sent_and_what_is_removed_is_gone(opened):
    store = opened()
    number = store.add("d", "owner", body(), 1)
    store.claim("d", "me", LEASE_S)
    store.release(number)
    assert store.claim("d", "me", LEASE_S).id == number
    store.remove(number)
    store.release(number)
    assert store.claim("d", "me", LEASE_S) is None


@pytest.mark.parametrize("step_s", [-1_000_000.0, -3600.0])
def test_a_clock_that_steps_back_holds_up_nothing(opened, clock, step_s):
    store = opened()
    store.introduce("d", "backend", "http://localhost")
    store.add("d", "owner", body("claimed"), 1)
    store.claim("d", "me", 1.0)
    store.pause("d", 30.0)
    clock.now += step_s - 10_000.0
    assert contents(store) == ["claimed"]


def test_nobody_sends_to_a_destination_that_has_asked_for_a_pause(opened, clock):
    here, there = opened(), opened()
    here.introduce("d", "backend", "http://localhost")
    here.add("d", "owner", body(), 1)
    here.pause("d", 20.0)
    assert there.claim("d", "there", LEASE_S) is None
    clock.now += 21.0
    assert there.claim("d", "there", LEASE_S)


def test_over_its_bytes_the_oldest_go_and_their_owner_hears_of_it(opened):
    store, losses = opened(max_bytes=1_000), []
    store.watch("mine", lambda reason, records: losses.append((reason, records)))
    store.add("d", "mine", body("a" * 400), 7)
    store.add("d", "mine", body("b" * 400), 1)
    store.add("d", "mine", body("c" * 400), 1)
    assert losses == [("spool_full", 7)]
    assert [text[0] for text in contents(store)] == ["b", "c"]


def test_what_is_being_sent_is_not_removed_for_want_of_room(opened):
    store = opened(max_bytes=1_000)
    store.add("d", "owner", body("a" * 400), 1)
    claimed = store.claim("d", "me", LEASE_S)
    store.add("d", "owner", body("b" * 400), 1)
    store.add("d", "owner", body("c" * 400), 1)
    store.release(claimed.id)
    assert [text[0] for text in contents(store)] == ["a", "c"]


def test_a_body_larger_than_the_spool_is_refused_and_takes_nothing_along(opened):
    store = opened(max_bytes=1_000)
    store.add("d", "owner", body("small"), 1)
    with pytest.raises(SpoolError, match="1000 bytes"):
        store.add("d", "owner", body("x" * 2_000), 1)
    assert contents(store) == ["small"]


def test_what_is_too_old_goes_and_its_owner_hears_of_it(opened, clock):
    store, losses = opened(max_age_s=DAY_S), []
    store.watch("mine", lambda reason, records: losses.append((reason, records)))
    store.add("d", "mine", body("old"), 3)
    clock.now += DAY_S + 1
    store.add("d", "mine", body("new"), 1)
    assert losses == [("spool_expired", 3)]
    assert contents(store) == ["new"]


def test_nothing_of_what_was_removed_is_left_on_disk(opened, tmp_path):
    store = opened()
    number = store.add("d", "owner", body("a prompt of somebody's " * 500), 1)
    store.remove(number)
    store.tidy()
    assert not any(b"a prompt" in file.read_bytes() for file in (tmp_path / "spool").iterdir())


def test_only_its_owner_may_read_it(opened, tmp_path):
    os.umask(os.umask(0o022))
    opened().add("d", "owner", body(), 1)
    directory = tmp_path / "spool"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()} == {0o600}


def test_no_symbolic_link_is_followed(opened, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "spool").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SpoolError, match="symbolic link"):
        opened().add("d", "owner", body(), 1)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_link_in_the_place_of_its_file_is_refused(opened, tmp_path):
    (tmp_path / "spool").mkdir(mode=0o700)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "spool" / FILE_NAME).symlink_to(victim)
    with pytest.raises(SpoolError, match="not a plain file"):
        opened().add("d", "owner", body(), 1)
    assert victim.read_text() == "precious"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs modes of files")
def test_a_directory_that_others_may_write_to_is_refused_with_a_way_out(opened, tmp_path):
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool").chmod(0o777)
    with pytest.raises(SpoolError, match="directory inside it"):
        opened().add("d", "owner", body(), 1)


def test_without_a_home_directory_nothing_is_made_in_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpoolError, match="absolute path"):
        SpoolStore(Path("~/spool"), 1_000, DAY_S).add("d", "owner", body(), 1)
    assert not list(tmp_path.iterdir())


def damage_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * 3996
    path.write_bytes(content)


DAMAGES = {
    "no database": lambda path: path.write_bytes(b"this is no database" * 1000),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "a page damaged": damage_page,
    "another version's": lambda path: sqlite3.connect(path).execute("PRAGMA user_version = 99").connection.commit(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(opened, tmp_path, damage, caplog):
    caplog.set_level("INFO")
    store = opened()
    for number in range(20):
        store.add("d", "owner", body(f"{number}" * 1000), 1)
    store.tidy()
    store.close()
    path = tmp_path / "spool" / FILE_NAME
    DAMAGES[damage](path)
    for companion in ("-wal", "-shm"):
        Path(f"{path}{companion}").unlink(missing_ok=True)
    after = opened()
    with pytest.raises(SpoolError, match="new one is begun"):
        for _ in range(20):
            claimed = after.claim("d", "me", LEASE_S)
            after.remove(claimed.id)
    after.add("d", "owner", body("after"), 1)
    assert contents(after) == ["after"]
    assert len(damaged_files(path)) == 1
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_body_that_was_damaged_is_not_sent(opened, tmp_path):
    store, losses = opened(), []
    store.watch("mine", lambda reason, records: losses.append((reason, records)))
    number = store.add("d", "mine", body("sound"), 5)
    store.add("d", "mine", body("next"), 1)
    connection = sqlite3.connect(tmp_path / "spool" / FILE_NAME)
    connection.execute("UPDATE bodies SET content = ? WHERE id = ?", (b"soUnd", number))
    connection.commit()
    connection.close()
    assert contents(store) == ["next"]
    assert losses == [("spool_damaged", 5)]


def test_a_spool_that_was_removed_is_made_anew(opened, tmp_path):
    store = opened()
    store.add("d", "owner", body("gone"), 1)
    for file in (tmp_path / "spool").iterdir():
        file.unlink()
    store.add("d", "owner", body("new"), 1)
    assert contents(opened()) == ["new"]


def test_a_directory_that_cannot_be_made_is_said_once(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    store = SpoolStore(tmp_path / "file" / "spool", 1_000, DAY_S)
    for _ in range(2):
        with pytest.raises(SpoolError, match="Not a directory"):
            store.add("d", "owner", body(), 1)
    assert len(caplog.records) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_is_for_reading_only_is_said_once(tmp_path, caplog):
    tmp_path.chmod(0o500)
    store = SpoolStore(tmp_path / "spool", 1_000, DAY_S)
    for _ in range(2):
        with pytest.raises(SpoolError, match="Permission denied"):
            store.add("d", "owner", body(), 1)
    assert len(caplog.records) == 1


def test_a_file_that_became_one_for_reading_only_is_said_once_and_so_is_its_end(opened, caplog, monkeypatch):
    caplog.set_level("INFO")
    store = opened()
    store.add("d", "owner", body(), 1)
    store._file._connection.execute("PRAGMA query_only = ON")
    for _ in range(2):
        with pytest.raises(SpoolError, match="may not be written to"):
            store.add("d", "owner", body(), 1)
    monkeypatch.setattr(store._file, "_not_before", 0.0)
    store.add("d", "owner", body(), 1)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_full_disk_is_said_once_and_so_is_its_end(opened, caplog, monkeypatch):
    caplog.set_level("INFO")
    store = opened()
    store.add("d", "owner", body(), 1)
    connection = store._file._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(SpoolError, match="disk is full"):
        store.add("d", "owner", body("x" * 100_000), 1)
    with pytest.raises(SpoolError, match="disk is full"):
        store.add("d", "owner", body("x" * 100_000), 1)
    monkeypatch.setattr(store._file, "_not_before", 0.0)
    store.add("d", "owner", body("x" * 100_000), 1)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_what_was_claimed_in_a_file_that_was_replaced_takes_nothing_out_of_the_next(opened, tmp_path):
    store = opened()
    store.add("d", "owner", body("of the first"), 1)
    claimed = store.claim("d", "me", LEASE_S)
    for file in (tmp_path / "spool").iterdir():
        file.unlink()
    store.add("d", "owner", body("of the second"), 1)
    store.remove(claimed.id)
    assert contents(store) == ["of the second"]


def test_what_is_delivered_is_not_sent_again_though_the_disk_lets_nothing_be_removed(opened, monkeypatch):
    store = opened()
    number = store.add("d", "owner", body("delivered"), 1)
    store.add("d", "owner", body("next"), 1)
    store.claim("d", "me", 0.01)
    monkeypatch.setattr(store._file, "_not_before", time.monotonic() + 60.0)
    store.close()
    with pytest.raises(SpoolError):
        store.remove(number)
    monkeypatch.setattr(store._file, "_not_before", 0.0)
    time.sleep(0.02)
    assert contents(store) == ["next"]


def test_two_threads_and_two_connections_lose_nothing(opened):
    import threading

    stores = [opened(), opened()]
    threads = [
        threading.Thread(target=lambda store=store: [store.add("d", "owner", body(), 1) for _ in range(50)])
        for store in stores
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stores[0].count("d") == 200
    assert len(contents(stores[1])) == 200


def test_the_identity_tells_keys_apart_and_shows_none():
    salt = b"0" * 16
    first = identity_of("n", "http://h?key=1", "http://h", {"Authorization": "secret-a"}, salt)
    assert first == identity_of("n", "http://h?key=1", "http://h", {"authorization": "secret-a"}, salt)
    others = [
        identity_of("n", "http://h?key=1", "http://h", {"Authorization": "secret-b"}, salt),
        identity_of("n", "http://h?key=2", "http://h", {"Authorization": "secret-a"}, salt),
        identity_of("n", "http://h?key=1", "http://h", {"Authorization": "secret-a"}, b"1" * 16),
    ]
    assert first not in others
    assert all(is_same_address(first, other) for other in others)
    assert not is_same_address(first, identity_of("m", "http://h?key=1", "http://h", {}, salt))


def test_another_process_that_writes_for_long_is_no_fault_of_the_disk(opened, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(file_module, "_BUSY_TIMEOUT_S", 0.05)
    store = opened()
    store.add("d", "owner", body("first"), 1)
    writer = sqlite3.connect(tmp_path / "spool" / FILE_NAME)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(SpoolError, match="locked"):
        store.add("d", "owner", body("second"), 1)
    writer.rollback()
    writer.close()
    store.add("d", "owner", body("third"), 1)
    assert contents(store) == ["first", "third"]
    assert caplog.records == []


def test_who_finds_nothing_to_send_keeps_no_writer_waiting(opened, tmp_path):
    store = opened()
    store.add("other", "owner", body(), 1)
    writer = sqlite3.connect(tmp_path / "spool" / FILE_NAME)
    writer.execute("BEGIN IMMEDIATE")
    start = time.monotonic()
    assert store.claim("d", "me", LEASE_S) is None
    assert time.monotonic() - start < 2.0
    writer.close()
