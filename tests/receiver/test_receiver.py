"""The receiver over real sockets, with plain requests and with OpenTelemetry's own exporter."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
import time
from contextlib import ExitStack, closing

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from llm_otel_broadcast.receiver import OtlpReceiver, Reply, TraceStore, decode_json, loopback, requests, server
from tests.receiver.test_decoding import proto_request, request_with
from tests.support.deadlines import until

JSON = "application/json"
PROTOBUF = "application/x-protobuf"
BODY = json.dumps(request_with()).encode()


@pytest.fixture
def receiver():
    with OtlpReceiver() as running:
        yield running


@pytest.fixture
def connection(receiver):
    with closing(http.client.HTTPConnection("127.0.0.1", port_of(receiver), timeout=10)) as opened:
        yield opened


def port_of(receiver):
    return int(receiver.endpoint.split(":")[2].split("/")[0])


def post(connection, body=BODY, content_type=JSON, path="/v1/traces", **headers):
    if content_type is not None:
        headers["Content-Type"] = content_type
    connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    return response.status, response.read(), response.headers


def test_json_is_stored_and_answered_in_json(receiver, connection):
    status, body, headers = post(connection)
    assert (status, body, headers["Content-Type"]) == (200, b'{"partialSuccess":{}}', JSON)
    assert [span.name for span in receiver.store.spans()] == ["chat gpt"]


def test_protobuf_is_stored_and_answered_in_protobuf(receiver, connection):
    status, body, headers = post(connection, proto_request()[0].SerializeToString(), PROTOBUF)
    assert (status, body, headers["Content-Type"]) == (200, b"", PROTOBUF)
    assert [span.name for span in receiver.store.spans()] == ["chat gpt"]


def test_one_connection_carries_many_requests(receiver, connection):
    post(connection)
    kept = connection.sock
    for _ in range(20):
        post(connection)
    assert connection.sock is kept
    assert len(receiver.store.spans()) == 21


def test_a_request_is_noted_with_its_decompressed_body(receiver, connection):
    wire = gzip.compress(BODY)
    assert post(connection, wire, Content_Encoding="gzip", Authorization="Bearer secret")[0] == 200
    (noted,) = receiver.requests
    assert (noted.path, noted.body, noted.content_type, noted.wire_bytes) == ("/v1/traces", BODY, JSON, len(wire))
    assert noted.headers["authorization"] == "Bearer secret"
    assert "secret" not in repr(noted)


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_the_official_exporter_delivers_its_spans(receiver, compression):
    provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=receiver.endpoint, compression=compression)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("scope", "1")
    with tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner") as span:
        span.set_attributes({"n": 2**40, "list": ["a", "b"], "cost": 0.5, "yes": True})
        span.add_event("first", {"k": "v"})
    provider.shutdown()
    inner, outer = receiver.store.wait_for(2)
    assert (inner.name, inner.parent_span_id, inner.trace_id) == ("inner", outer.span_id, outer.trace_id)
    assert inner.attributes == {"n": 2**40, "list": ["a", "b"], "cost": 0.5, "yes": True}
    assert [(event.name, event.attributes) for event in inner.events] == [("first", {"k": "v"})]
    assert inner.resource == {"service.name": "shop"}
    assert (inner.scope_name, inner.scope_version, outer.parent_span_id) == ("scope", "1", "")
    assert receiver.store.traces() == {inner.trace_id: [inner, outer]}
    assert receiver.store.trace(inner.trace_id) == [inner, outer]
    assert receiver.requests[0].headers.get("content-encoding") == ("gzip" if compression is Compression.Gzip else None)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (f"{JSON}; charset=utf-8", 400),
        (f"{PROTOBUF};x=1", 400),
        ("text/plain", 415),
        ("Application/JSON", 415),
        (None, 415),
    ],
)
def test_only_the_two_exact_content_types_are_served(receiver, connection, content_type, status):
    assert post(connection, content_type=content_type)[0] == status
    assert receiver.store.spans() == []
    assert post(connection)[0] == 200


def test_another_path_is_not_found(connection):
    assert post(connection, path="/v1/metrics")[0] == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "PATCH", "BREW"])
def test_another_method_is_not_allowed(connection, method):
    connection.request(method, "/v1/traces", headers={"X-Secret": "hidden"})
    response = connection.getresponse()
    assert (response.status, response.headers["Allow"]) == (405, "POST")
    assert b"hidden" not in response.read()


def test_malformed_json_is_answered_with_a_status_in_json(connection):
    status, body, headers = post(connection, b"{", X_Secret="hidden")
    assert (status, headers["Content-Type"]) == (400, JSON)
    assert json.loads(body) == {"code": 3, "message": "the body is not JSON"}


def test_malformed_protobuf_is_answered_with_a_status_in_protobuf(connection):
    status, body, headers = post(connection, b"\xff", PROTOBUF)
    message = b"the body is not an export request in protobuf"
    assert (status, headers["Content-Type"]) == (400, PROTOBUF)
    assert body == b"\x08\x03\x12" + bytes([len(message)]) + message


@pytest.mark.parametrize("wire", [b"plain", gzip.compress(BODY)[:-4], gzip.compress(BODY) + b"more"])
def test_a_broken_gzip_body_is_refused(connection, wire):
    assert post(connection, wire, Content_Encoding="gzip")[0] == 400


def test_an_unknown_content_encoding_is_refused(connection):
    assert post(connection, Content_Encoding="br")[0] == 415


def test_a_zip_bomb_is_refused(receiver, connection):
    bomb = gzip.compress(bytes(17 * 1024 * 1024))
    assert post(connection, bomb, Content_Encoding="gzip")[0] == 413
    assert receiver.requests[0].body == bomb


def test_a_body_over_the_limit_is_refused_and_the_client_reads_the_answer(connection):
    assert post(connection, bytes(9 * 1024 * 1024))[0] == 413
    assert post(connection)[0] == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: -1", b"400"),
        (b"Content-Length: 1e3", b"400"),
        (b"Transfer-Encoding: chunked", b"411"),
        (b"X-None: 1", b"411"),
    ],
)
def test_a_body_of_unknown_length_is_refused(receiver, head, status):
    with socket.create_connection(("127.0.0.1", port_of(receiver)), timeout=10) as raw:
        raw.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n")
        assert raw.makefile("rb").readline().split()[1] == status


def test_bytes_that_are_no_http_are_refused_without_an_echo(receiver):
    with socket.create_connection(("127.0.0.1", port_of(receiver)), timeout=10) as raw:
        raw.sendall(b"secret nonsense\r\n\r\n")
        with raw.makefile("rb") as answer:
            assert b"secret" not in answer.read()


def test_a_client_that_leaves_in_the_middle_of_a_body_is_forgotten(receiver, connection, capfd):
    with socket.create_connection(("127.0.0.1", port_of(receiver)), timeout=10) as raw:
        raw.sendall(b"POST /v1/traces HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")
    assert post(connection)[0] == 200
    assert len(receiver.requests) == 1
    assert capfd.readouterr() == ("", "")


def test_json_can_be_disallowed_as_phoenix_does(receiver, connection):
    receiver.json_allowed = False
    assert post(connection)[0] == 415
    assert post(connection, proto_request()[0].SerializeToString(), PROTOBUF)[0] == 200


def test_scripted_replies_come_first_and_in_order(receiver, connection):
    receiver.script(
        Reply(503, {"Retry-After": "1"}),
        Reply(429, body=b"slow", content_type="text/plain", store=True),
    )
    status, body, headers = post(connection)
    assert (status, body, headers["Retry-After"]) == (503, b"", "1")
    assert receiver.store.spans() == []
    status, body, headers = post(connection)
    assert (status, body, headers["Content-Type"]) == (429, b"slow", "text/plain")
    assert len(receiver.store.spans()) == 1
    assert post(connection)[0] == 200
    assert len(receiver.requests) == 3


def test_a_scripted_reply_comes_even_to_a_request_that_cannot_be_stored(receiver, connection):
    receiver.script(Reply(202, store=True))
    assert post(connection, b"{")[0] == 202


def test_a_reply_can_be_a_dropped_connection(receiver, connection):
    receiver.script(Reply(200, close=True, store=True))
    with pytest.raises(http.client.RemoteDisconnected):
        post(connection)
    assert len(receiver.store.spans()) == 1


def test_a_reply_can_be_late(receiver, connection):
    receiver.script(Reply(200, delay=0.2))
    before = time.monotonic()
    assert post(connection)[0] == 200
    assert time.monotonic() - before >= 0.2


def test_a_hanging_receiver_answers_once_released(receiver, connection):
    receiver.hang = threading.Event()
    connection.request("POST", "/v1/traces", BODY, {"Content-Type": JSON})
    receiver.wait_for_requests(1)
    assert receiver.store.spans() == []
    receiver.hang.set()
    assert connection.getresponse().status == 200


@pytest.mark.parametrize("trouble", ["idle", "hang", "delay"])
def test_stopping_is_quick_and_closes_every_connection(trouble):
    receiver = OtlpReceiver()
    receiver.start()
    with closing(http.client.HTTPConnection("127.0.0.1", port_of(receiver), timeout=10)) as connection:
        post(connection)
        if trouble == "hang":
            receiver.hang = threading.Event()
        if trouble == "delay":
            receiver.script(Reply(200, delay=60))
        if trouble != "idle":
            connection.request("POST", "/v1/traces", BODY, {"Content-Type": JSON})
            receiver.wait_for_requests(2)
        before = time.monotonic()
        receiver.stop()
        assert time.monotonic() - before < 1
        assert connection.sock.recv(1) == b""
    receiver.stop()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("otlp-receiver")]


def test_a_stopped_receiver_comes_back_at_the_same_address():
    receiver = OtlpReceiver()
    with pytest.raises(RuntimeError, match="no port"):
        _ = receiver.endpoint
    with receiver:
        endpoint = receiver.endpoint
        with pytest.raises(RuntimeError, match="already running"):
            receiver.start()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port_of(receiver)))
    with receiver, closing(http.client.HTTPConnection("127.0.0.1", port_of(receiver))) as connection:
        assert receiver.endpoint == endpoint
        assert post(connection)[0] == 200


def test_many_clients_are_served_at_once(receiver):
    def send():
        with closing(http.client.HTTPConnection("127.0.0.1", port_of(receiver), timeout=10)) as own:
            for _ in range(10):
                assert post(own)[0] == 200

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert len(receiver.store.wait_for(200, timeout=20)) == 200
    for thread in threads:
        thread.join()


def test_waiting_ends_when_the_question_is_answered():
    store = TraceStore()
    threading.Timer(0.05, store.add, [decode_json(BODY)]).start()
    assert [span.name for span in store.wait_for(lambda spans: any(span.kind == 3 for span in spans))] == ["chat gpt"]


def test_waiting_in_vain_names_what_arrived():
    store = TraceStore()
    store.add(decode_json(BODY))
    with pytest.raises(TimeoutError, match=r"2 spans; 1 arrived: 'chat gpt'"):
        store.wait_for(2, timeout=0.01)
    with pytest.raises(TimeoutError, match="the awaited spans"):
        store.wait_for(lambda spans: not spans, timeout=0)


def test_waiting_for_requests_in_vain_says_how_many_came(receiver):
    with pytest.raises(TimeoutError, match="1 requests; 0 arrived"):
        receiver.wait_for_requests(1, timeout=0.01)


def test_the_store_drops_the_oldest_beyond_its_bound():
    store = TraceStore(max_spans=2)
    for name in ("a", "b", "c"):
        store.add(decode_json(json.dumps(request_with(name=name)).encode()))
    assert [span.name for span in store.spans()] == ["b", "c"]
    store.clear()
    assert store.spans() == []


def test_the_failure_message_in_protobuf_may_be_long(connection):
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(trace_id=b"1" * 16, span_id=b"1" * 8)
    for _ in range(2):
        span.attributes.add(key="é" * 300)
    status, body, _ = post(connection, request.SerializeToString(), PROTOBUF)
    assert status == 400
    assert "is given twice" in body[4:].decode()


def test_an_idle_connection_is_closed(monkeypatch):
    monkeypatch.setattr(server._Handler, "timeout", 0.1)
    with OtlpReceiver() as receiver, socket.create_connection(("127.0.0.1", port_of(receiver)), timeout=10) as idle:
        idle.sendall(b"POST /v1/traces HTTP/1.1\r\nX: ")
        assert idle.recv(1) == b""


def test_clients_that_hold_their_connections_open_do_not_keep_others_out(receiver):
    with ExitStack() as opened:
        for _ in range(loopback.MAX_CONNECTIONS + 20):
            held = opened.enter_context(socket.create_connection(("127.0.0.1", port_of(receiver)), timeout=10))
            held.sendall(b"POST /v1/traces HTTP/1.1\r\nX: ")
        with closing(http.client.HTTPConnection("127.0.0.1", port_of(receiver), timeout=10)) as late:
            assert post(late)[0] == 200

        def connections():
            return [thread for thread in threading.enumerate() if thread.name == "otlp-receiver-connection"]

        # the thread of one that was shut may need a moment to end
        until(lambda: len(connections()) <= loopback.MAX_CONNECTIONS + 1)


def test_bodies_are_kept_up_to_a_bound_and_requests_beyond_it(monkeypatch, receiver, connection):
    monkeypatch.setattr(requests, "MAX_BODY_BYTES", 3 * len(BODY))
    for _ in range(5):
        post(connection)
    post(connection, b"z" * 2 * len(BODY), "text/plain")
    assert [len(request.body) for request in receiver.requests] == [0, 0, 0, 0, len(BODY), 2 * len(BODY)]


def test_old_requests_go_when_there_are_very_many(monkeypatch, receiver, connection):
    monkeypatch.setattr(requests, "MAX_REQUESTS", 20)
    for number in range(30):
        post(connection, path=f"/{number}")
    assert [request.path for request in receiver.requests][-20:] == [f"/{number}" for number in range(10, 30)]
    assert len(receiver.requests) <= 20
