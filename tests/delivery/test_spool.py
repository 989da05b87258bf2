"""With a spool nothing is lost that a destination does not take: it waits on disk, for this process or the next."""

from __future__ import annotations

import time

import pytest

from llm_otel_broadcast.delivery import poster
from llm_otel_broadcast.receiver import OtlpReceiver, Reply
from llm_otel_broadcast.spool.directory import SpoolError
from llm_otel_broadcast.spool.store import SpoolStore
from llm_otel_broadcast.wire import retry
from llm_otel_broadcast.wire.exchange import Body
from tests.support.books import balanced
from tests.support.broken_backends import answers, backend, hangs
from tests.support.deadlines import until
from tests.support.lanes import flushed, on_disk, record, running, shelf_at


def names(receiver):
    return sorted(span.name for span in receiver.store.spans())


def test_a_destination_that_works_has_nothing_written_to_disk(receiver, spool):
    with running(receiver.endpoint, shelf=shelf_at(spool, receiver.endpoint)) as lane:
        for _ in range(3):
            lane.enqueue(record())
        assert flushed(lane)
        assert (lane.status().delivered, lane.status().spooled) == (3, 0)
    assert not spool.exists()


def test_what_a_dead_destination_does_not_take_waits_on_disk_and_is_counted(nowhere, spool):
    with running(nowhere, shelf=shelf_at(spool, nowhere), delay=retry.delay) as lane:
        for _ in range(3):
            lane.enqueue(record())
        assert not flushed(lane)
        books = lane.status()
        assert (books.spooled, books.dropped, books.queued_records) == (3, {}, 0)
        assert balanced(books)
        assert on_disk(spool, nowhere) == 3


def test_it_arrives_once_the_destination_is_back(spool):
    receiver = OtlpReceiver()
    receiver.start()
    receiver.stop()
    with running(receiver.endpoint, shelf=shelf_at(spool, receiver.endpoint)) as lane:
        for number in range(3):
            lane.enqueue(record(f"model-{number}"))
            flushed(lane)
        with receiver:
            until(lambda: lane.status().delivered == 3)
            assert names(receiver) == ["chat model-0", "chat model-1", "chat model-2"]
        assert (lane.status().spooled, balanced(lane.status())) == (0, True)
        assert on_disk(spool, receiver.endpoint) == 0


def test_the_oldest_goes_first(spool, receiver):
    receiver.script(*[Reply(503)] * 3)
    with running(receiver.endpoint, shelf=shelf_at(spool, receiver.endpoint), durable=True, started=False) as lane:
        for number in range(5):
            lane.enqueue(record(f"model-{number}"))
            lane.start()
            until(lambda: not lane.status().queued_records)
        until(lambda: lane.status().delivered == 5)
    assert [span.name for span in receiver.store.spans()] == [f"chat model-{number}" for number in range(5)]


def test_another_process_sends_what_one_has_left(nowhere, spool):
    with running(nowhere, shelf=shelf_at(spool, nowhere)) as lane:
        lane.enqueue(record("left"))
        flushed(lane)
    receiver = OtlpReceiver(port=int(nowhere.rpartition(":")[2]))
    with receiver, running(nowhere, shelf=shelf_at(spool, nowhere), started=False) as lane:
        lane.start_early()
        until(lambda: lane.status().recovered == 1)
        assert names(receiver) == ["chat left"]
        # they are not its own
        assert (lane.status().produced, lane.status().delivered, balanced(lane.status())) == (0, 0, True)


def test_a_process_that_has_nothing_to_send_looks_now_and_then_for_what_others_left(receiver, spool, monkeypatch):
    monkeypatch.setattr(poster, "_LOOK_INTERVAL_S", 0.05)
    with running(receiver.endpoint, shelf=shelf_at(spool, receiver.endpoint)) as lane:
        lane.enqueue(record("own"))
        assert flushed(lane)
        time.sleep(0.2)
        shelf_at(spool, receiver.endpoint).add(Body(receiver.requests[0].body, 1, "json"), 1)
        until(lambda: lane.status().recovered == 1)


def test_nobody_sends_it_who_has_another_key(receiver, spool, nowhere):
    with running(nowhere, shelf=shelf_at(spool, receiver.endpoint, headers={"key": "mine"})) as lane:
        lane.enqueue(record())
        flushed(lane)
    stranger = shelf_at(spool, receiver.endpoint, headers={"key": "another team's"})
    with running(receiver.endpoint, shelf=stranger, started=False) as lane:
        lane.start_early()
        lane.start()
        lane.enqueue(record("own"))
        until(lambda: lane.status().delivered == 1)
        time.sleep(0.2)
    assert names(receiver) == ["chat own"]
    assert on_disk(spool, receiver.endpoint) == 1


def test_while_a_server_hangs_what_comes_is_put_on_disk_and_memory_stays_free(spool):
    with backend(hangs) as hanging, running(hanging.endpoint, shelf=shelf_at(spool, hanging.endpoint)) as lane:
        for _ in range(20):
            lane.enqueue(record())
            until(lambda: not lane.status().queued_records)
        assert lane.status().spooled == 20
        assert on_disk(spool, hanging.endpoint) >= 15


def test_the_end_puts_the_rest_on_disk_in_time_whatever_the_server_does(spool):
    with backend(hangs) as hanging, running(hanging.endpoint, shelf=shelf_at(spool, hanging.endpoint)) as lane:
        for _ in range(4):
            lane.enqueue(record())
        until(lambda: hanging.requests)
        start = time.monotonic()
        lane.stop(start + 1.0)
        assert time.monotonic() - start < 3.0
        assert (lane.status().spooled, lane.status().dropped) == (4, {})
        assert on_disk(spool, hanging.endpoint) == 4


def test_a_dead_destination_does_not_hold_the_end_up(nowhere, spool):
    with running(nowhere, shelf=shelf_at(spool, nowhere), delay=retry.delay) as lane:
        lane.enqueue(record())
        until(lambda: lane.status().retried)
        start = time.monotonic()
        lane.stop(start + 30.0)
        assert time.monotonic() - start < 10.0
        assert lane.status().spooled == 1


def test_what_is_durable_is_on_disk_before_it_is_sent(spool):
    with (
        backend(hangs) as hanging,
        running(hanging.endpoint, shelf=shelf_at(spool, hanging.endpoint), durable=True) as lane,
    ):
        lane.enqueue(record())
        until(lambda: hanging.requests)
        assert on_disk(spool, hanging.endpoint) == 1


def test_what_is_durable_and_delivered_leaves_the_disk(receiver, spool):
    with running(receiver.endpoint, shelf=shelf_at(spool, receiver.endpoint), durable=True) as lane:
        for _ in range(3):
            lane.enqueue(record())
            assert flushed(lane)
        assert (lane.status().delivered, lane.status().spooled) == (3, 0)
    assert on_disk(spool, receiver.endpoint) == 0
    assert len(receiver.store.spans()) == 3


def test_the_pause_a_server_asks_for_holds_for_all_processes(receiver, spool):
    receiver.script(Reply(429, {"Retry-After": "30"}))
    endpoint = receiver.endpoint
    with running(endpoint, shelf=shelf_at(spool, endpoint), delay=retry.delay) as lane:
        lane.enqueue(record())
        until(lambda: lane.status().retried)
        with running(endpoint, shelf=shelf_at(spool, endpoint), started=False) as other:
            other.start_early()
            time.sleep(0.3)
            assert len(receiver.requests) == 1
            assert other.status().recovered == 0


@pytest.mark.parametrize("durable", [False, True])
def test_without_a_disk_it_goes_on_in_memory(spool, receiver, durable, monkeypatch):
    monkeypatch.setattr(SpoolStore, "add", refuse)
    receiver.script(Reply(503), Reply(503))
    with running(receiver.endpoint, shelf=shelf_at(spool, receiver.endpoint), durable=durable) as lane:
        for _ in range(3):
            lane.enqueue(record())
        assert flushed(lane)
        assert (lane.status().delivered, lane.status().spooled, balanced(lane.status())) == (3, 0, True)


def refuse(*_: object, **__: object) -> int:
    raise SpoolError("the disk is full")


def test_without_a_disk_memory_is_bounded_and_the_oldest_go(spool, monkeypatch):
    monkeypatch.setattr(SpoolStore, "add", refuse)
    with (
        backend(hangs) as hanging,
        running(hanging.endpoint, shelf=shelf_at(spool, hanging.endpoint), max_bytes=20_000) as lane,
    ):
        for _ in range(60):
            lane.enqueue(record(size=100))
            until(lambda: not lane.status().queued_records)
        books = lane.status()
        assert books.dropped["queue_full"] > 0
        assert balanced(books)
        assert books.spooled < 40


def test_without_a_disk_a_body_is_given_up_after_a_minute(spool, nowhere, monkeypatch):
    monkeypatch.setattr(SpoolStore, "add", refuse)
    monkeypatch.setattr(poster, "_MAX_RETRY_S", 0.05)
    with running(nowhere, shelf=shelf_at(spool, nowhere)) as lane:
        lane.enqueue(record())
        until(lambda: lane.status().dropped)
        assert (lane.status().dropped, balanced(lane.status())) == ({"retries_exhausted": 1}, True)


def test_a_refusal_is_final_and_counted(receiver, spool):
    receiver.script(Reply(401))
    with running(receiver.endpoint, shelf=shelf_at(spool, receiver.endpoint), durable=True) as lane:
        lane.enqueue(record())
        flushed(lane)
        assert (lane.status().dropped, balanced(lane.status())) == ({"refused": 1}, True)
    assert on_disk(spool, receiver.endpoint) == 0


@pytest.mark.parametrize("durable", [False, True])
def test_what_a_server_finds_too_large_goes_in_smaller_parts(receiver, spool, durable):
    receiver.script(Reply(413), Reply(413))
    with running(receiver.endpoint, batch_delay=0.3, shelf=shelf_at(spool, receiver.endpoint), durable=durable) as lane:
        for number in range(4):
            lane.enqueue(record(f"model-{number}"))
        until(lambda: lane.status().delivered == 4)
        assert balanced(lane.status())
    assert names(receiver) == [f"chat model-{number}" for number in range(4)]
    assert len(receiver.requests) > 3


def test_a_server_that_takes_protobuf_alone_gets_what_lies_there_as_json(receiver, spool, nowhere):
    with running(nowhere, shelf=shelf_at(spool, receiver.endpoint)) as lane:
        lane.enqueue(record("left"))
        flushed(lane)
    receiver.script(Reply(415))
    with running(receiver.endpoint, shelf=shelf_at(spool, receiver.endpoint), started=False) as lane:
        lane.start_early()
        until(lambda: lane.status().recovered == 1)
    assert [request.content_type for request in receiver.requests] == ["application/json", "application/x-protobuf"]
    assert names(receiver) == ["chat left"]


def test_what_the_spool_has_no_room_for_is_counted(nowhere, spool):
    with running(nowhere, shelf=shelf_at(spool, nowhere, max_bytes=4_000)) as lane:
        for _ in range(20):
            lane.enqueue(record())
            until(lambda: not lane.status().queued_records)
        until(lambda: lane.status().dropped.get("spool_full"))
        assert balanced(lane.status())


def test_the_log_says_where_what_is_recorded_waits(nowhere, spool, caplog):
    with running(nowhere, shelf=shelf_at(spool, nowhere)) as lane:
        lane.enqueue(record())
        flushed(lane)
    assert "wait on disk" in caplog.text


def test_a_backlog_leaves_the_destination_room_for_what_is_new(spool, receiver, nowhere):
    with running(nowhere, shelf=shelf_at(spool, receiver.endpoint)) as lane:
        for number in range(30):
            lane.enqueue(record(f"old-{number}"))
            until(lambda: not lane.status().queued_records)
    with running(receiver.endpoint, shelf=shelf_at(spool, receiver.endpoint), started=False) as lane:
        lane.start_early()
        until(lambda: lane.status().recovered > 1)
        lane.start()
        lane.enqueue(record("new"))
        assert flushed(lane)
        assert lane.status().recovered < 30
        until(lambda: lane.status().recovered == 30, 10.0)


def test_an_error_that_nobody_thought_of_loses_nothing(receiver, spool, monkeypatch):
    calls = []

    def fail(*_: object, **__: object) -> int:
        calls.append(1)
        raise OSError("of the test's")

    monkeypatch.setattr(SpoolStore, "add", fail)
    with running(receiver.endpoint, shelf=shelf_at(spool, receiver.endpoint), durable=True) as lane:
        for _ in range(2):
            lane.enqueue(record())
            assert flushed(lane)
        assert (lane.status().delivered, len(calls)) == (2, 2)


def test_the_connection_that_answers_is_kept(spool):
    with backend(answers) as kept, running(kept.endpoint, shelf=shelf_at(spool, kept.endpoint)) as lane:
        for _ in range(3):
            lane.enqueue(record())
            assert flushed(lane)
        assert kept.connections == 1
