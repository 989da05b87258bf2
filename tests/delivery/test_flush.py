"""flush(): all destinations side by side, queue and requests in flight, in bounded time."""

from __future__ import annotations

import threading
import time

import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.delivery.broadcaster import Broadcaster
from llm_otel_broadcast.receiver import OtlpReceiver, Reply
from tests.support import broken_backends
from tests.support.broken_backends import backend, refusing
from tests.support.client_calls import chat
from tests.support.deadlines import until
from tests.support.lanes import record, running


def timed(work):
    started = time.monotonic()
    return work(), time.monotonic() - started


def test_it_waits_for_what_is_in_flight(receiver):
    receiver.script(Reply(200, delay=0.3, store=True))
    with running(receiver.endpoint) as lane:
        broadcaster = Broadcaster([lane])
        broadcaster.put_generation(record())
        receiver.wait_for_requests(1)
        done, seconds = timed(lambda: broadcaster.flush(5.0))
    assert done
    assert seconds > 0.1


def test_it_does_not_wait_for_a_batch_to_fill(receiver):
    with running(receiver.endpoint, batch_delay=3_600.0) as lane:
        broadcaster = Broadcaster([lane])
        broadcaster.put_generation(record())
        done, seconds = timed(lambda: broadcaster.flush(5.0))
    assert done
    assert seconds < 4.0


def test_it_leaves_all_destinations_at_the_timeout_together():
    with (
        backend(broken_backends.hangs) as hanging,
        backend(broken_backends.drips_body) as dripping,
        running(hanging.endpoint) as first,
        running(dripping.endpoint) as second,
        running(refusing(), delay=lambda *_: 30.0) as third,
    ):
        broadcaster = Broadcaster([first, second, third])
        broadcaster.put_generation(record())
        done, seconds = timed(lambda: broadcaster.flush(0.8))
        assert not done
        assert 0.75 < seconds < 1.5  # one after the other they would take 2.4
        assert [lane.status().queued_records for lane in broadcaster.lanes] == [1, 1, 1]


def test_it_says_no_when_something_is_lost_and_yes_the_next_time(receiver):
    receiver.script(Reply(400))
    with running(receiver.endpoint) as lane:
        broadcaster = Broadcaster([lane])
        broadcaster.put_generation(record())
        assert not broadcaster.flush(5.0)
        assert broadcaster.flush(5.0)


def test_with_nothing_to_send_it_says_yes_at_once():
    with running(refusing(), started=False) as lane:
        done, seconds = timed(lambda: Broadcaster([lane]).flush(5.0))
    assert done
    assert seconds < 0.1


def test_it_reaches_what_was_recorded_under_settings_that_were_replaced(stand_in, receiver):
    with OtlpReceiver() as older:
        older.hang = threading.Event()
        llm_otel_broadcast.instrument(endpoint=older.endpoint)
        chat("sync", stand_in.base_url)
        llm_otel_broadcast.instrument(endpoint=receiver.endpoint)
        older.wait_for_requests(1)
        assert not llm_otel_broadcast.flush(0.2)
        older.hang.set()
        assert llm_otel_broadcast.flush(5.0)
        assert len(older.store.spans()) == 1


def test_many_settings_one_after_the_other_leave_nothing_behind(receiver):
    from llm_otel_broadcast.runtime.runs import registry

    for _ in range(5):
        llm_otel_broadcast.instrument(destinations=[Destination(endpoint=receiver.endpoint)])
    until(lambda: len(registry.running) == 1)


class Holding:
    """An exporter that holds back what it gets until it is flushed."""

    def __init__(self, answer=True):
        self.held, self.sent, self.waits, self.answer = [], [], [], answer

    def export(self, spans):
        from opentelemetry.sdk.trace.export import SpanExportResult

        self.held += [span.name for span in spans]
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis=30_000):
        self.waits.append(timeout_millis)
        self.sent, self.held = self.sent + self.held, []
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def shutdown(self):
        pass


def test_an_exporter_that_holds_back_is_flushed_too(stand_in):
    exporter = Holding()
    handle = llm_otel_broadcast.instrument(destinations=[Destination(exporter=exporter, timeout=2.0, batch_delay=0.0)])
    chat("sync", stand_in.base_url)
    assert handle.flush()
    assert exporter.sent == ["chat gpt-4o-mini"]
    assert exporter.waits == [2_000]


@pytest.mark.parametrize("answer", [False, RuntimeError("cannot")])
def test_an_exporter_that_cannot_flush_makes_it_a_no(stand_in, answer):
    handle = llm_otel_broadcast.instrument(exporter=Holding(answer))
    chat("sync", stand_in.base_url)
    assert not handle.flush()
    assert handle.status().destinations[0].delivered == 1
