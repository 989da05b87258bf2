"""A destination gets a root span together with the first generation below it that it takes."""

from __future__ import annotations

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.delivery import sent_spans
from llm_otel_broadcast.receiver import OtlpReceiver, Reply
from tests.support.client_calls import chat
from tests.support.lanes import flushed, record, root, running

FIELDS = {"trace": {"trace_id": "t", "trace_name": "Root"}}


def names(receiver):
    return [span.name for span in receiver.store.spans()]


def test_each_destination_gets_the_root_once(stand_in, receiver):
    with OtlpReceiver() as other:
        handle = llm_otel_broadcast.instrument(
            destinations=[
                Destination(name="a", endpoint=receiver.endpoint),
                Destination(name="b", endpoint=other.endpoint, encoding="protobuf"),
            ]
        )
        for _ in range(2):
            for _ in range(2):
                chat("sync", stand_in.base_url, extra_body=FIELDS)
            assert handle.flush()
        for each in (receiver, other):
            assert sorted(names(each)) == ["Root", *["chat gpt-4o-mini"] * 4]
            above = next(span for span in each.store.spans() if span.name == "Root")
            assert {span.parent_span_id for span in each.store.spans() if span is not above} == {above.span_id}


def test_a_destination_that_refused_the_first_call_gets_the_root_with_the_next(stand_in, receiver):
    with OtlpReceiver() as refusing:
        refusing.script(Reply(400))
        handle = llm_otel_broadcast.instrument(
            destinations=[
                Destination(name="a", endpoint=receiver.endpoint),
                Destination(name="b", endpoint=refusing.endpoint),
            ]
        )
        for expected in (False, True):
            chat("sync", stand_in.base_url, extra_body=FIELDS)
            assert handle.flush() is expected
        assert sorted(names(receiver)) == ["Root", "chat gpt-4o-mini", "chat gpt-4o-mini"]
        assert sorted(names(refusing)) == ["Root", "chat gpt-4o-mini"]


def test_a_failure_does_not_have_a_root_sent_twice_that_has_arrived(receiver):
    above = root()
    with running(receiver.endpoint) as lane:
        lane.enqueue(record("a", root=above))
        assert flushed(lane)
        receiver.script(Reply(400))
        for name in ("lost", "b"):
            lane.enqueue(record(name, root=above))
            flushed(lane)
    assert sorted(names(receiver)) == ["chat a", "chat b", "root"]


def test_a_generation_that_is_too_large_does_not_take_the_root_along(receiver):
    """It was the first below the root; its neighbours came without one."""
    above = root()
    receiver.script(Reply(413), Reply(413))
    with running(receiver.endpoint, started=False) as lane:
        lane.enqueue(record("large", root=above))
        lane.enqueue(record("small", root=above))
        lane.start()
        assert flushed(lane)
        assert lane.status().dropped == {"too_large": 1}
    assert sorted(names(receiver)) == ["chat small", "root"]


def test_a_root_that_may_have_been_rejected_is_sent_again(receiver):
    above = root()
    receiver.script(Reply(200, body=b'{"partialSuccess":{"rejectedSpans":"1"}}'))
    with running(receiver.endpoint) as lane:
        for name in ("first", "second"):
            lane.enqueue(record(name, root=above))
            assert flushed(lane)
    assert sorted(names(receiver)) == ["chat second", "root"]


def test_the_book_of_roots_is_bounded_and_forgets_the_least_used(receiver, monkeypatch):

    monkeypatch.setattr(sent_spans, "_MAX_ENTRIES", 3)
    often = root("often")
    with running(receiver.endpoint) as lane:
        for _ in range(5):
            for above in (often, root("once")):
                lane.enqueue(record(root=above))
                assert flushed(lane)
        assert len(lane.sent_spans._sent) == 3
    assert names(receiver).count("often") == 1
