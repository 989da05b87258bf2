"""A real collector between us and the backend: what comes out of it is what would have arrived without it.

rotel refuses much of what other readers of OTLP JSON let pass, which makes it a judge of our JSON.
"""

from __future__ import annotations

import json

import pytest

from llm_otel_broadcast.receiver import OtlpReceiver
from tests.backends.broadcasts import broadcast, hashed, reference_call, varied_calls
from tests.backends.http_requests import post
from tests.backends.stored_spans import plain, read_phoenix
from tests.support.installed_programs import free_port, running

pytestmark = pytest.mark.backend

JSON = "application/json"


@pytest.fixture(scope="module")
def start(rotel_agent, tmp_path_factory):
    """Return what runs the collector for the length of a `with` block and what gives its traces URL."""

    def run(forward_to):
        port = free_port()
        command = [rotel_agent, "start", "--otlp-http-endpoint", f"127.0.0.1:{port}"]
        command += ["--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}"]
        command += ["--exporter", "otlp", "--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", forward_to]
        address = f"http://127.0.0.1:{port}"
        return running(command, address, tmp_path_factory.mktemp("rotel"), status=404), f"{address}/v1/traces"

    return run


@pytest.fixture(scope="module")
def behind():
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def collector(start, behind):
    process, endpoint = start(behind.endpoint.removesuffix("/v1/traces"))
    with process:
        yield endpoint


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_json_comes_out_as_it_went_in_to_the_last_attribute(collector, behind, compression):
    behind.store.clear()
    sent = broadcast(collector, calls, encoding="json", compression=compression)
    assert (sent.books.delivered, sent.books.retried, sent.books.dropped) == (3, 0, {})
    arrived = behind.store.wait_for(len(sent.spans), 30.0)
    assert by_id(arrived) == by_id(sent.spans)
    assert len(arrived) == 7


def test_protobuf_comes_out_as_the_json_did(collector, behind):
    behind.store.clear()
    sent = broadcast(collector, calls, encoding="protobuf")
    assert by_id(behind.store.wait_for(len(sent.spans), 30.0)) == by_id(sent.spans)


def test_phoenix_behind_it_gets_from_json_what_it_refuses_as_json(start, phoenix):
    process, endpoint = start(phoenix)
    with process:
        sent = broadcast(endpoint, lambda client: reference_call(client, "through a collector"), encoding="json")
        stored = {span.span_id: span for span in read_phoenix(phoenix, hashed("through a collector"))}
    assert sent.books.delivered == 1
    assert set(stored) == {span.span_id for span in sent.spans}
    for span in sent.spans:
        wanted = plain(span.attributes)
        # Phoenix makes a field of its own of it.
        wanted.pop("openinference.span.kind", None)
        assert wanted.items() <= stored[span.span_id].attributes.items()


def test_it_is_a_strict_judge(collector):
    """Times as numbers, kinds as names, a charset: it refuses them, so the tests above say something of our JSON."""
    sent = broadcast(collector, reference_call, encoding="json")
    body = sent.requests[0].body.decode()
    start = sent.span("Generate Response").start_ns
    as_number = body.replace(f'"startTimeUnixNano":"{start}"', f'"startTimeUnixNano":{start}')
    as_name = body.replace('"kind":3', '"kind":"SPAN_KIND_CLIENT"')
    for other in (as_number, as_name):
        assert json.loads(other) != json.loads(body)
        assert post(collector, other.encode(), {"Content-Type": JSON}) == 400
    assert post(collector, body.encode(), {"Content-Type": f"{JSON}; charset=utf-8"}) == 400
    assert post(collector, body.encode(), {"Content-Type": JSON}) == 200


def calls(client):
    reference_call(client)
    varied_calls(client, "varied")


def by_id(spans):
    return {span.span_id: span for span in spans}
