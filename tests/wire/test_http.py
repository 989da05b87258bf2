"""One request, over real HTTP, and what its answer means."""

from __future__ import annotations

import gzip
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from llm_otel_broadcast import Destination
from llm_otel_broadcast.receiver.server import Reply
from llm_otel_broadcast.record.span_data import Scope
from llm_otel_broadcast.wire import otlp_json
from llm_otel_broadcast.wire.answers import partial_success
from llm_otel_broadcast.wire.http import HttpSender, compressed
from tests.support.any_spans import span
from tests.support.installed_programs import free_port

BODY = otlp_json.encode({}, Scope("1"), [span()])


def sender(endpoint, **more):
    return HttpSender(Destination(endpoint=endpoint, **more), "1.2.3")


@pytest.fixture
def post(receiver):
    made = []

    def send(body=BODY, timeout=5.0, **more):
        made.append(sender(receiver.endpoint, **more))
        compression = more.get("compression", "none")
        return made[-1].send(compressed(body, compression), "application/json", timeout, compression=compression)

    yield send
    for one in made:
        one.close()


def test_a_batch_that_is_taken_is_ok(post, receiver):
    answer = post()
    assert (answer.kind, answer.status, answer.rejected) == ("ok", 200, 0)
    assert len(receiver.store.spans()) == 1


def test_headers_and_a_plain_content_type_go_out(post, receiver):
    post(headers={"X-Team": "red"})
    (request,) = receiver.requests
    assert request.headers["x-team"] == "red"
    assert request.content_type == "application/json"
    assert request.headers["user-agent"] == "llm-otel-broadcast/1.2.3"


def test_gzip_goes_out_only_when_asked_for(post, receiver):
    post()
    post(compression="gzip")
    plain, packed = receiver.requests
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.body == BODY
    assert packed.wire_bytes == len(gzip.compress(BODY, 3, mtime=0))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "refused"),
        (401, "refused"),
        (403, "refused"),
        (404, "refused"),
        (413, "too_large"),
        (415, "unsupported_media"),
        (429, "retry"),
        (500, "refused"),
        (502, "retry"),
        (503, "retry"),
        (504, "retry"),
    ],
)
def test_a_status_says_what_to_do(post, receiver, status, kind):
    receiver.script(Reply(status))
    assert post().kind == kind


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "API key"), (404, "/v1/traces"), (405, "web page"), (415, "protobuf"), (422, "header")]
)
def test_a_refusal_says_what_to_try(post, receiver, status, hint):
    receiver.script(Reply(status, body=b"<p>no\x00 way\n</p>", content_type="text/html"))
    message = post().message
    assert hint in message
    assert "no way" in message


@pytest.mark.parametrize("status", [200, 401, 404])
def test_a_web_page_in_answer_is_no_delivery(post, receiver, status):
    """P47: a login page or a portal answers 200 to everything."""
    page = b" <!DOCTYPE html><html><title>Please log in</title><script>x</script></html>"
    receiver.script(Reply(status, body=page, content_type="text/html"))
    answer = post()
    assert (answer.kind, answer.is_page, answer.excerpt) == ("refused", True, "Please log in")
    assert "script" not in answer.message


@pytest.mark.parametrize(
    "body", [b'{"code":3,"message":"no way"}', b'{"detail":"no way"}', b'{"error":{"message":"no way"}}', b"no way"]
)
def test_of_a_json_answer_the_message_is_shown(post, receiver, body):
    receiver.script(Reply(400, body=body, content_type="application/json"))
    assert post().excerpt == "no way"


def test_of_a_protobuf_answer_the_message_is_shown(receiver):
    made = sender(receiver.endpoint)
    answer = made.send(b"\xff", "application/x-protobuf", 5.0)
    made.close()
    assert answer.status == 400
    assert answer.excerpt.isascii()
    assert answer.excerpt[0].isalpha()


def test_retry_after_is_passed_on(post, receiver):
    receiver.script(Reply(429, {"Retry-After": "7"}))
    assert post().retry_after == 7.0


def test_a_redirect_is_not_followed(post, receiver):
    receiver.script(Reply(307, {"Location": receiver.endpoint}))
    answer = post(headers={"Authorization": "Bearer secret"})
    assert answer.kind == "refused"
    assert len(receiver.requests) == 1


def test_a_dropped_connection_is_tried_again(post, receiver):
    receiver.script(Reply(200, close=True))
    assert post().kind == "retry"


def test_nobody_there_is_tried_again_and_named():
    port = free_port()
    made = sender(f"http://user:pw@127.0.0.1:{port}/v1/traces?key=secret")
    answer = made.send(BODY, "application/json", 1.0)
    made.close()
    assert answer.kind == "retry"
    assert (
        f"127.0.0.1:{port}/v1/traces cannot be reached (connection refused): does it run, and is the port right?"
        in (answer.message)
    )
    assert "secret" not in answer.message
    assert "pw" not in answer.message


def test_a_name_nobody_knows_is_told():
    made = sender("http://backend.invalid:4318")
    answer = made.send(BODY, "application/json", 5.0)
    made.close()
    assert answer.kind == "retry"
    assert "its name is not known" in answer.message


def test_a_server_that_hangs_is_left_at_the_timeout(post, receiver):
    receiver.hang = threading.Event()
    started = time.monotonic()
    answer = post(timeout=0.2)
    assert time.monotonic() - started < 2.0
    assert answer.kind == "retry"
    assert "timeout" in answer.message


def test_a_server_that_drips_is_left_at_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_drip, args=(server,), daemon=True).start()
        made = sender(f"http://127.0.0.1:{server.getsockname()[1]}")
        started = time.monotonic()
        answer = made.send(BODY, "application/json", 0.5)
        made.close()
    assert (answer.kind, answer.message) == ("ok", "its answer is incomplete (timeout)")
    assert time.monotonic() - started < 3.0


def _drip(server):
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        try:
            for _ in range(100):
                connection.sendall(b" ")
                time.sleep(0.05)
        except OSError:
            return


def test_a_partial_success_is_understood_in_either_encoding():
    made = ExportTraceServiceResponse()
    made.partial_success.rejected_spans = 3
    made.partial_success.error_message = "too old"
    assert partial_success(made.SerializeToString(), "application/x-protobuf") == (3, "too old")
    text = b'{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}'
    assert partial_success(text, "application/json") == (3, "too old")


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"partialSuccess":{}}', b'{"partialSuccess":null}', b'{"spans_written":1}', b"ok", b"[1]"]
)
def test_an_answer_that_says_nothing_of_it_rejects_nothing(body):
    assert partial_success(body, "application/json") == (0, "")


@given(st.binary(max_size=60), st.sampled_from(["application/json", "application/x-protobuf", ""]))
def test_no_answer_makes_reading_it_fail(body, content_type):
    rejected, message = partial_success(body, content_type)
    assert rejected >= 0
    assert isinstance(message, str)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY"])
def test_a_proxy_of_the_environment_is_used(receiver, monkeypatch, variable):
    monkeypatch.setenv(variable, receiver.endpoint.removesuffix("/v1/traces"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    made = sender("http://backend.invalid:4318")
    made.send(BODY, "application/json", 2.0)
    made.close()
    assert receiver.requests[0].headers["host"] == "backend.invalid:4318"
