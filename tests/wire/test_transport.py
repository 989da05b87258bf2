"""Sending spans in the encoding a destination takes, or through an exporter handed over."""

from __future__ import annotations

import gzip

import pytest
from opentelemetry import context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from llm_otel_broadcast import Destination
from llm_otel_broadcast.delivery.sender import post
from llm_otel_broadcast.receiver.server import Reply
from llm_otel_broadcast.wire.oversized import OversizedError
from llm_otel_broadcast.wire.transport import MAX_BODY_BYTES, make_transport
from tests.support.any_spans import span
from tests.support.scripted_backends import Backend, serving


@pytest.fixture
def transport(receiver):
    made = []

    def make(provider=None, service_name=None, **more):
        destination = Destination(**({"endpoint": receiver.endpoint} | more))
        made.append(make_transport(destination, "1", service_name, lambda: provider))
        return made[-1]

    yield make
    for one in made:
        one.close()


def send(transport, spans):
    return post(transport, transport.encode(spans), spans).answer


def media(receiver):
    return [request.content_type for request in receiver.requests]


@pytest.mark.parametrize(
    ("encoding", "sent"),
    [("auto", "application/json"), ("json", "application/json"), ("protobuf", "application/x-protobuf")],
)
def test_the_encoding_is_the_one_asked_for(transport, receiver, encoding, sent):
    assert send(transport(encoding=encoding), [span()]).kind == "ok"
    assert media(receiver) == [sent]


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_a_destination_has_resource_attributes_of_its_own_which_win(transport, receiver, encoding):
    provider = TracerProvider(resource=Resource({"service.name": "shop", "team": "search"}))
    mine = {"wandb.project": "p", "team": "ml", "tier": 1}
    assert send(transport(provider, encoding=encoding, resource_attributes=mine), [span()]).kind == "ok"
    (sent,) = receiver.store.spans()
    assert {**sent.resource} | {"service.name": "shop", **mine} == sent.resource


def test_a_webhook_may_want_put(transport):
    with serving(Backend()) as server:
        assert send(transport(endpoint=server.endpoint, method="PUT"), [span()]).kind == "ok"
        assert send(transport(endpoint=server.endpoint), [span()]).kind == "ok"
    assert [request.method for request in server.requests] == ["PUT", "POST"]


def test_after_a_415_it_stays_with_protobuf(transport, receiver):
    receiver.json_allowed = False
    sending = transport()
    assert [send(sending, [span()]).kind for _ in range(2)] == ["ok", "ok"]
    assert media(receiver) == ["application/json", "application/x-protobuf", "application/x-protobuf"]
    assert len(receiver.store.spans()) == 2


def test_one_415_of_a_proxys_does_not_turn_to_protobuf_for_good(transport, receiver):
    """The backend takes JSON only; what has worked is gone back to."""
    receiver.script(Reply(415), Reply(415))
    sending = transport()
    assert [send(sending, [span()]).kind for _ in range(3)] == ["unsupported_media", "ok", "ok"]
    assert [kind.rpartition("/")[2] for kind in media(receiver)] == ["json", "x-protobuf", "json", "json"]


def test_a_backend_that_changes_its_mind_gets_the_other_encoding_again(transport, receiver):
    receiver.script(Reply(415))
    sending = transport()
    assert send(sending, [span()]).kind == "ok"
    receiver.script(Reply(415))
    assert [send(sending, [span()]).kind for _ in range(2)] == ["ok", "ok"]
    assert [kind.rpartition("/")[2] for kind in media(receiver)] == ["json", "x-protobuf", "x-protobuf", "json", "json"]


def test_an_encoding_is_not_stayed_with_before_it_was_taken(transport, receiver):
    receiver.script(Reply(415), Reply(503))
    sending = transport()
    body, answer = post(sending, sending.encode([span()]), [span()])
    assert (body.encoding, answer.kind) == ("protobuf", "retry")
    assert send(sending, [span()]).kind == "ok"
    assert [kind.rpartition("/")[2] for kind in media(receiver)] == ["json", "x-protobuf", "json"]


def test_a_fixed_encoding_is_not_changed(transport, receiver):
    receiver.json_allowed = False
    assert send(transport(encoding="json"), [span()]).kind == "unsupported_media"
    assert media(receiver) == ["application/json"]


def test_a_batch_over_4_mb_is_not_sent(transport, receiver):
    half = span(attributes={"content": "x" * (MAX_BODY_BYTES // 2)})
    with pytest.raises(OversizedError):
        transport().encode([half, half], divisible=True)
    assert receiver.requests == []


def test_one_span_over_4_mb_is_for_the_server_to_judge(transport, receiver):
    receiver.script(Reply(413))
    assert send(transport(), [span(attributes={"content": "x" * MAX_BODY_BYTES})]).kind == "too_large"
    assert len(receiver.requests) == 1


def test_a_body_is_what_goes_out_and_can_be_posted_again(transport, receiver):
    """What a spool would keep: nothing of the spans is needed any more."""
    sending = transport(compression="gzip")
    body = sending.encode([span(), span()])
    assert (body.spans, body.encoding, body.compression) == (2, "json", "gzip")
    assert receiver.requests == []
    assert [sending.post(body).kind for _ in range(2)] == ["ok", "ok"]
    first, second = receiver.requests
    assert first.body == second.body == gzip.decompress(body.content)


def test_a_body_in_an_encoding_that_is_not_taken_is_to_be_made_anew_once(transport, receiver):
    receiver.json_allowed = False
    sending = transport()
    refused = sending.post(sending.encode([span()]))
    assert (refused.kind, refused.encode_again) == ("unsupported_media", True)
    assert sending.encode([span()]).encoding == "protobuf"
    assert not transport(encoding="json").post(sending.encode([span()])).encode_again


class Exporter(SpanExporter):
    def __init__(self, result=SpanExportResult.SUCCESS):
        self.result, self.spans, self.suppressed, self.closed = result, [], None, False

    def export(self, spans):
        self.spans += spans
        self.suppressed = context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY)
        return self.result

    def shutdown(self):
        self.closed = True


def test_an_exporter_gets_readable_spans_and_is_shut_down(transport):
    exporter = Exporter()
    sending = transport(endpoint=None, exporter=exporter)
    assert send(sending, [span()]).kind == "ok"
    (read,) = exporter.spans
    assert (read.name, read.context.span_id, read.parent.span_id) == ("chat gpt-4o", 0xCD, 0xEF)
    sending.close()
    assert exporter.closed


def test_an_exporter_that_reports_failure_is_believed(transport):
    answer = send(transport(endpoint=None, exporter=Exporter(SpanExportResult.FAILURE)), [span()])
    assert (answer.kind, answer.message) == ("refused", "Exporter reported failure")


def test_other_instrumentations_do_not_trace_our_requests(transport):
    exporter = Exporter()
    send(transport(endpoint=None, exporter=exporter), [span()])
    assert exporter.suppressed
    assert not context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY)


def test_the_resource_is_the_app_providers(transport, receiver):
    provider = TracerProvider(resource=Resource({"service.name": "shop", "deployment.environment": "staging"}))
    send(transport(provider), [span()])
    assert receiver.store.spans()[0].resource == {"service.name": "shop", "deployment.environment": "staging"}


def test_without_a_provider_the_environment_names_the_service(transport, receiver, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from-environment")
    send(transport(), [span()])
    assert receiver.store.spans()[0].resource["service.name"] == "from-environment"


def test_service_name_wins(transport, receiver):
    send(transport(TracerProvider(resource=Resource({"service.name": "shop"})), "told"), [span()])
    assert receiver.store.spans()[0].resource["service.name"] == "told"


def test_a_resource_value_that_spans_do_not_have_becomes_text(transport, receiver):
    class Odd:
        resource = Resource({})

    Odd.resource._attributes = {"service.name": "shop", "raw": b"\x00"}
    kept = Odd.resource.merge(Resource({})).attributes["raw"]  # older SDKs make text of it themselves
    assert send(transport(Odd()), [span()]).kind == "ok"
    assert receiver.store.spans()[0].resource["raw"] == str(kept)
