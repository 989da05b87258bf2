"""How much goes into a request, and what happens to what a backend does not take."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from llm_otel_broadcast.host.deferred import Deferred
from llm_otel_broadcast.receiver import Reply
from llm_otel_broadcast.record.generation import Choice
from llm_otel_broadcast.wire.exchange import Answer, Body
from llm_otel_broadcast.wire.transport import MAX_BODY_BYTES
from tests.support.books import balanced
from tests.support.deadlines import until
from tests.support.lanes import flushed, record, root, running

OK = Answer("ok", 200, "", None, 0)
ENCODINGS = ("json", "protobuf")


def large(characters: int, model: str = "large"):
    """Return a generation whose answer has that many characters, some of which need escaping."""
    made = record(model)
    made.wants_content = True
    made.choices = [Choice(content='say "x"\n' * (characters // 8), finish_reason="stop")]
    made.size += characters
    return made


def names(receiver):
    return sorted(span.name for span in receiver.store.spans())


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_request_has_more_than_4_mb(receiver, encoding):
    """Batches by bytes, not only by number."""
    with running(receiver.endpoint, encoding=encoding, started=False) as lane:
        for number in range(60):
            lane.enqueue(large(200_000, f"{number:02}"))
        lane.start()
        assert flushed(lane, 20.0)
        assert lane.status().delivered == 60
    assert names(receiver) == [f"chat {number:02}" for number in range(60)]
    sizes = [request.wire_bytes for request in receiver.requests]
    assert max(sizes) <= MAX_BODY_BYTES
    assert len(sizes) < 12


def test_no_more_is_rendered_at_a_time_than_a_request_may_have():
    """Else a queue full of long answers is encoded whole, only to be halved."""
    transport = Faulty()
    with running(transport=transport, started=False) as lane:
        for number in range(30):
            lane.enqueue(record(str(number), size=500_000))
        lane.start()
        assert flushed(lane)
    assert [len(sent) for sent in transport.sent] == [6] * 5


def test_no_request_has_more_than_512_generations(receiver):
    with running(receiver.endpoint, started=False) as lane:
        for _ in range(1_100):
            lane.enqueue(record())
        lane.start()
        assert flushed(lane)
    assert [request.body.count(b'"spanId"') for request in receiver.requests] == [512, 512, 76]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_batch_that_is_too_large_is_halved_down_to_the_one_that_is(receiver, encoding, caplog):
    """413 took a whole batch along."""
    receiver.script(Reply(413), Reply(413), Reply(413))
    with running(receiver.endpoint, encoding=encoding, started=False) as lane:
        for name in ("a", "b", "c", "d"):
            lane.enqueue(record(name))
        lane.start()
        assert flushed(lane)
        books = lane.status()
    assert names(receiver) == ["chat b", "chat c", "chat d"]
    assert len(receiver.requests) == 5
    assert (books.delivered, books.dropped) == (3, {"too_large": 1})
    assert "too large" in books.last_error
    assert balanced(books)
    (said,) = caplog.records
    assert "1 generation(s) dropped (too_large" in said.getMessage()


def test_one_record_over_the_backends_limit_takes_no_neighbour_along(receiver):
    """The receiver itself takes 8 MB at most."""
    with running(receiver.endpoint, started=False) as lane:
        lane.enqueue(record("before"))
        lane.enqueue(record("x" * 9_000_000))
        lane.enqueue(record("after"))
        lane.start()
        assert flushed(lane)
        books = lane.status()
    assert names(receiver) == ["chat after", "chat before"]
    assert (books.delivered, books.dropped) == (2, {"too_large": 1})
    assert books.queued_bytes == 0


def test_a_large_generation_below_a_root_is_for_the_backend_to_judge_too(receiver):
    with running(receiver.endpoint) as lane:
        lane.enqueue(record("x" * 2_500_000, root=root()))  # its name and its attribute: over 4 MB
        assert flushed(lane)
        assert (lane.status().delivered, lane.status().dropped) == (1, {})
    assert len(receiver.store.spans()) == 2


class Faulty:
    """A transport that answers by a script: an answer, or an error to raise."""

    def __init__(self, *script):
        self.script = list(script)
        self.sent = []

    def encode(self, spans, *, divisible=False):
        return Body([span.name for span in spans], len(spans), "json")

    def post(self, body):
        self.sent.append(body.content)
        answer = self.script.pop(0) if self.script else OK
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def flush(self):
        return True

    def close(self):
        pass


def test_what_comes_while_a_batch_is_sent_waits_for_company():
    """Each full batch had a tail of three small requests: what came while it was sent, and while that was sent."""

    class Busy(Faulty):
        def post(self, body):
            if not self.sent:
                lane.enqueue(record("meanwhile"))
            return super().post(body)

    transport = Busy()
    with running(transport=transport, batch_delay=60.0) as lane:
        for _ in range(512):
            lane.enqueue(record())
        until(lambda: lane.status().delivered == 512, 20.0)
        lane.enqueue(record("later"))
        assert flushed(lane)
    assert [len(sent) for sent in transport.sent] == [512, 2]


TOO_LARGE = Answer("too_large", 413, "too large", None, 0)
REFUSED = Answer("refused", 400, "no", None, 0)


@pytest.mark.parametrize(
    ("second", "dropped"),
    [
        ([RuntimeError("in the second half")], {"internal_error": 2}),
        ([SystemExit(1)], {"internal_error": 2}),
        ([REFUSED], {"refused": 2}),
        ([TOO_LARGE] * 3, {"too_large": 2}),
    ],
    ids=["error", "exit", "refused", "too_large"],
)
def test_half_a_batch_that_fails_is_counted_once_and_the_other_half_is_delivered(second, dropped):
    with running(transport=Faulty(TOO_LARGE, OK, *second), started=False) as lane:
        for _ in range(4):
            lane.enqueue(record())
        lane.start()
        assert flushed(lane)
        books = lane.status()
        assert (books.delivered, books.dropped) == (2, dropped)
        assert balanced(books)
        lane.enqueue(record())
        assert flushed(lane)
        assert lane.status().delivered == 3


def test_a_record_that_cannot_be_rendered_takes_no_neighbour_along(receiver, caplog):
    odd = record("odd")
    odd.pending = Deferred(lambda: 1 / 0)
    with running(receiver.endpoint, started=False) as lane:
        for made in (record("a"), odd, record("b")):
            lane.enqueue(made)
        lane.start()
        assert flushed(lane)
        books = lane.status()
    assert names(receiver) == ["chat a", "chat b"]
    assert (books.delivered, books.dropped) == (2, {"unreadable": 1})
    assert "ZeroDivisionError" in books.last_error
    assert len(caplog.records) == 1


def partial(encoding: str, rejected: int, message: str) -> Reply:
    made = ExportTraceServiceResponse()
    made.partial_success.rejected_spans, made.partial_success.error_message = rejected, message
    text = f'{{"partialSuccess":{{"rejectedSpans":"{rejected}","errorMessage":"{message}"}}}}'.encode()
    return Reply(200, body=text if encoding == "json" else made.SerializeToString())


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_rejected_spans_are_counted_as_dropped_and_the_reason_is_kept(receiver, encoding, caplog):
    receiver.script(*[partial(encoding, 2, "span too old")] * 2)
    with running(receiver.endpoint, encoding=encoding, started=False) as lane:
        for _ in range(3):
            lane.enqueue(record())
        lane.start()
        assert flushed(lane)
        books = lane.status()
        assert (books.delivered, books.dropped) == (1, {"rejected": 2})
        assert "span too old" in books.last_error
        assert books.last_success is not None
        lane.enqueue(record())
        flushed(lane)
        assert lane.status().dropped == {"rejected": 3}  # of one record two spans: never more than there were
        assert balanced(lane.status())
    # the second one is in the last line, with how many there were in all
    first, last = (said.getMessage() for said in caplog.records)
    assert "2 generation(s) dropped (rejected: 2 span(s) rejected: span too old)" in first
    assert "1 more generation(s) dropped (rejected), 3 in all" in last


def test_a_warning_without_rejections_loses_nothing(receiver):
    receiver.script(partial("json", 0, "use a newer version"))
    with running(receiver.endpoint) as lane:
        lane.enqueue(record())
        assert flushed(lane)
        assert (lane.status().delivered, lane.status().dropped) == (1, {})


@pytest.mark.parametrize(("encoding", "other"), [("json", "protobuf"), ("protobuf", "json")])
def test_an_encoding_that_is_fixed_and_not_taken_is_told_with_the_other_one(receiver, encoding, other, caplog):
    receiver.script(Reply(415))
    with running(receiver.endpoint, encoding=encoding) as lane:
        lane.enqueue(record())
        flushed(lane)
        books = lane.status()
    assert books.dropped == {"unsupported_media": 1}
    assert f'encoding="{other}"' in books.last_error
    assert f'encoding="{other}"' in caplog.text
    assert len(receiver.requests) == 1


def test_a_backend_that_takes_neither_encoding_gets_no_third_try(receiver):
    receiver.script(*[Reply(415)] * 4)
    with running(receiver.endpoint) as lane:
        for _ in range(2):
            lane.enqueue(record())
            flushed(lane)
        assert lane.status().dropped == {"unsupported_media": 2}
    kinds = [request.content_type.rpartition("/")[2] for request in receiver.requests]
    assert kinds == ["json", "x-protobuf"] * 2
