"""A running program follows its settings file."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import llm_otel_broadcast
from llm_otel_broadcast import trace_context
from llm_otel_broadcast.receiver import OtlpReceiver, Reply
from llm_otel_broadcast.runtime import reload
from llm_otel_broadcast.settings.locations import CONFIG
from tests.support.client_calls import chat
from tests.support.deadlines import until

LOOKING = "llm-otel-broadcast settings"


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    """The settings file, looked at often."""
    monkeypatch.setattr(reload, "_LOOK_INTERVAL_S", 0.01)
    monkeypatch.setattr(reload, "_UNCHANGED_FOR_S", 0.01)
    monkeypatch.setattr(reload, "_LATE_RECORDS_S", 0.05)
    path = tmp_path / "settings.toml"
    monkeypatch.setenv(CONFIG, str(path))
    return path


@pytest.fixture
def other() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as running:
        yield running


def destinations(**endpoints: str) -> str:
    return "".join(
        f'[[destinations]]\nname = "{name}"\nendpoint = "{endpoint}"\nbatch_delay = 0\n'
        for name, endpoint in endpoints.items()
    )


def write(file: Path, text: str) -> None:
    """Write as an editor does, and wait until it has been seen."""
    seen = [source._stamp for source in reload.watcher.sources]
    new = file.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o600)
    new.replace(file)
    if seen:
        until(lambda: all(source._stamp not in seen for source in reload.watcher.sources))


def names(receiver: OtlpReceiver) -> list[str]:
    return [span.name for span in receiver.store.spans()]


def test_instrument_without_an_argument_uses_the_file(file, stand_in, receiver):
    write(file, destinations(one=receiver.endpoint) + '[defaults]\nservice_name = "checkout"\n')
    llm_otel_broadcast.instrument()
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush()
    (span,) = receiver.store.spans()
    assert span.resource["service.name"] == "checkout"
    assert [books.name for books in llm_otel_broadcast.status().destinations] == ["one"]


def test_what_is_recorded_after_an_edit_goes_to_the_new_destination_and_nothing_is_lost_or_doubled(
    file, stand_in, receiver, other
):
    write(file, destinations(one=receiver.endpoint))
    handle = llm_otel_broadcast.instrument()
    for _ in range(20):
        chat("sync", stand_in.base_url)
    write(file, destinations(two=other.endpoint))
    for _ in range(20):
        chat("sync", stand_in.base_url)
    assert handle.flush()
    assert (len(receiver.store.spans()), len(other.store.spans())) == (20, 20)
    assert [(books.name, books.delivered) for books in handle.status().destinations] == [("two", 20)]
    handle.shutdown()
    assert not handle.status().instrumented


def test_calls_made_while_the_file_changes_all_arrive_once(file, stand_in, receiver, other):
    write(file, destinations(one=receiver.endpoint))
    llm_otel_broadcast.instrument()
    done = threading.Event()
    made = []

    def calls() -> None:
        while not done.is_set():
            chat("sync", stand_in.base_url)
            made.append(1)

    threads = [threading.Thread(target=calls) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(6):
        write(file, destinations(one=(other if turn % 2 else receiver).endpoint) + f"# {turn}\n")
    done.set()
    for thread in threads:
        thread.join()
    assert llm_otel_broadcast.flush()
    until(lambda: len(reload.registry.running) == 1)
    spans = [*receiver.store.spans(), *other.store.spans()]
    assert len(spans) == len({span.span_id for span in spans}) == len(made)


def test_a_program_that_began_with_a_wrong_file_records_once_it_is_mended(file, stand_in, receiver):
    write(file, "x = 1\n" + destinations(one=receiver.endpoint))
    handle = llm_otel_broadcast.instrument()
    chat("sync", stand_in.base_url)
    write(file, destinations(one=receiver.endpoint))
    until(lambda: handle.status().instrumented)
    chat("sync", stand_in.base_url)
    assert handle.flush()
    assert len(receiver.store.spans()) == 1


def test_a_program_whose_file_stays_wrong_stays_untraced(file, receiver, caplog):
    write(file, "x = 1\n")
    handle = llm_otel_broadcast.instrument()
    write(file, "y = 1\n" + destinations(one=receiver.endpoint))
    until(lambda: '"y" is no setting' in caplog.text)
    assert not handle.status().instrumented
    handle.shutdown()


def test_a_destination_that_stays_keeps_its_books_and_its_thread(file, stand_in, receiver, other):
    write(file, destinations(one=receiver.endpoint))
    llm_otel_broadcast.instrument()
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush()
    (lane,) = reload.registry.newest.broadcaster.lanes
    write(file, destinations(one=receiver.endpoint, two=other.endpoint))
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush()
    books = llm_otel_broadcast.status().destinations
    assert [(one.name, one.delivered) for one in books] == [("one", 2), ("two", 1)]
    assert reload.registry.newest.broadcaster.lanes[0] is lane
    until(lambda: len(reload.registry.running) == 1)
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush()
    assert len(receiver.store.spans()) == 3
    write(file, destinations(two=other.endpoint))
    until(lambda: not lane.is_running)


def test_a_destination_that_is_replaced_still_gets_what_is_queued_for_it_however_short_the_exit(
    file, stand_in, receiver, other
):
    receiver.script(Reply(503, headers={"Retry-After": "1"}))
    write(file, "[defaults]\nexit_timeout = 0\n" + destinations(one=receiver.endpoint))
    llm_otel_broadcast.instrument()
    chat("sync", stand_in.base_url)
    receiver.wait_for_requests(1)
    write(file, "[defaults]\nexit_timeout = 0\n" + destinations(one=other.endpoint))
    assert len(receiver.store.wait_for(1)) == 1
    assert other.store.spans() == []


def test_a_context_that_is_open_while_settings_change_ends_as_one_tree(file, stand_in, receiver):
    write(file, destinations(one=receiver.endpoint))
    llm_otel_broadcast.instrument()
    with trace_context(trace_name="Root"):
        chat("sync", stand_in.base_url)
        assert llm_otel_broadcast.flush()
        write(file, destinations(one=receiver.endpoint) + 'headers = { X-New = "1" }\n')
    assert llm_otel_broadcast.flush()
    assert sorted(names(receiver)) == ["Root", "chat gpt-4o-mini"]
    assert receiver.requests[-1].headers["x-new"] == "1"


def test_a_broken_file_is_said_once_and_the_old_settings_stay(file, stand_in, receiver, caplog):
    write(file, destinations(one=receiver.endpoint))
    llm_otel_broadcast.instrument()
    chat("sync", stand_in.base_url)
    write(file, "enabled = true\nprivacy_mode = \n")
    until(lambda: caplog.records)
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush()
    assert len(receiver.store.spans()) == 2
    (said,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert said.getMessage() == (
        f"the settings stay as they were: {file}: line 2, column 16: it is not TOML: Invalid value"
    )


def test_only_what_came_from_the_file_changes(file, stand_in, receiver, other, monkeypatch):
    monkeypatch.setenv("LLM_OTEL_BROADCAST_SERVICE_NAME", "variable")
    write(file, '[defaults]\nservice_name = "file"\ncapture_content = true\n')
    llm_otel_broadcast.instrument(endpoint=receiver.endpoint)
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush()
    monkeypatch.setenv("LLM_OTEL_BROADCAST_SERVICE_NAME", "another")
    write(file, '[defaults]\nservice_name = "file 2"\ncapture_content = false\n' + destinations(two=other.endpoint))
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush()
    assert other.store.spans() == []
    before, after = receiver.store.spans()
    assert [span.resource["service.name"] for span in (before, after)] == ["variable", "variable"]
    assert ["gen_ai.input.messages" in span.attributes for span in (before, after)] == [True, False]


def test_switching_off_and_on_again_needs_no_call(file, stand_in, receiver):
    write(file, "enabled = false\n" + destinations(one=receiver.endpoint))
    handle = llm_otel_broadcast.instrument()
    chat("sync", stand_in.base_url)
    assert not handle.status().instrumented
    write(file, destinations(one=receiver.endpoint))
    until(lambda: handle.status().instrumented)
    chat("sync", stand_in.base_url)
    write(file, "enabled = false\n" + destinations(one=receiver.endpoint))
    until(lambda: not handle.status().instrumented)
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush()
    assert len(receiver.store.wait_for(1)) == 1


def test_the_variable_that_says_not_disabled_wins_over_the_file(file, stand_in, receiver, monkeypatch):
    monkeypatch.setenv("LLM_OTEL_BROADCAST_DISABLED", "false")
    write(file, "enabled = false\n" + destinations(one=receiver.endpoint))
    assert llm_otel_broadcast.instrument().status().instrumented


def test_a_file_that_comes_later_is_found(tmp_path, file, stand_in, receiver, monkeypatch):
    monkeypatch.delenv(CONFIG)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    llm_otel_broadcast.instrument()
    monkeypatch.chdir(tmp_path / "elsewhere")
    chat("sync", stand_in.base_url)
    write(tmp_path / "here" / "llm-otel-broadcast.toml", destinations(one=receiver.endpoint))
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush()
    assert len(receiver.store.spans()) == 1


def test_a_file_that_is_empty_or_gone_for_a_moment_changes_nothing(file, receiver):
    """As while an editor writes it."""
    write(file, destinations(one=receiver.endpoint))
    llm_otel_broadcast.instrument()
    (source,) = reload.watcher.sources
    text = file.read_text()
    run = source.run
    file.unlink()
    assert source.check()
    file.write_text("")
    assert source.check()
    file.write_text(text)
    assert source.check()
    assert not source.check()
    assert source.run is run
    file.write_text("")
    assert source.check()
    assert not source.check()
    assert source.run is not run


def test_the_file_is_looked_at_every_half_minute():
    assert reload._LOOK_INTERVAL_S == 30


def test_nobody_watches_where_a_file_could_change_nothing(tmp_path, file, stand_in, receiver, monkeypatch):
    monkeypatch.setenv(CONFIG, os.devnull)
    llm_otel_broadcast.instrument()
    assert reload.watcher.sources == ()
    monkeypatch.delenv(CONFIG)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    llm_otel_broadcast.instrument(endpoint=receiver.endpoint)
    assert reload.watcher.sources == ()


@pytest.mark.parametrize("end", ["uninstrument", "shutdown"])
def test_what_has_been_ended_does_not_come_back_with_a_change(file, stand_in, receiver, end):
    write(file, destinations(one=receiver.endpoint))
    llm_otel_broadcast.instrument()
    chat("sync", stand_in.base_url)
    getattr(llm_otel_broadcast, end)()
    write(file, destinations(two=receiver.endpoint))
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == LOOKING])
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush()
    assert len(receiver.store.spans()) == 1


def test_settings_of_a_single_client_change_in_their_place(file, client, receiver, other):
    write(file, destinations(one=receiver.endpoint))
    handle = llm_otel_broadcast.instrument(client=client)
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    client.chat.completions.create(**asked)
    write(file, destinations(two=other.endpoint))
    client.chat.completions.create(**asked)
    assert handle.flush()
    assert (len(receiver.store.spans()), len(other.store.spans())) == (1, 1)
    handle.shutdown()
    client.chat.completions.create(**asked)
    assert (len(receiver.store.spans()), len(other.store.spans())) == (1, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_follows_the_file_by_itself(file, stand_in, receiver, other):
    write(file, destinations(one=receiver.endpoint))
    llm_otel_broadcast.instrument()
    chat("sync", stand_in.base_url)
    assert llm_otel_broadcast.flush()
    child = os.fork()
    if not child:
        try:
            chat("sync", stand_in.base_url)
            write(file, destinations(two=other.endpoint))
            chat("sync", stand_in.base_url)
            llm_otel_broadcast.flush()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert len(receiver.store.wait_for(2)) == 2
    assert len(other.store.wait_for(1)) == 1
