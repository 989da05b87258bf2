"""The OpenTelemetry environment variables, from the variable to the bytes at the backend."""

from __future__ import annotations

import pytest

import llm_otel_broadcast
from tests.clients.calling import chat


@pytest.fixture
def arrived_with(stand_in, receiver, monkeypatch):
    """Set variables (`{base}` is the receiver), make a call, and return the requests that came in."""

    def run(**variables):
        base = receiver.endpoint.removesuffix("/v1/traces")
        for name, value in variables.items():
            monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value.format(base=base))
        handle = llm_otel_broadcast.instrument()
        chat("sync", stand_in.base_url)
        handle.flush()
        return receiver.requests

    return run


@pytest.mark.parametrize(
    ("variables", "path"),
    [
        ({"ENDPOINT": "{base}"}, "/v1/traces"),
        ({"ENDPOINT": "{base}/"}, "/v1/traces"),
        ({"ENDPOINT": "{base}/api/otel"}, "/api/otel/v1/traces"),
        ({"TRACES_ENDPOINT": "{base}/v1/traces"}, "/v1/traces"),
        ({"TRACES_ENDPOINT": "{base}/ingest/"}, "/ingest/"),
        ({"TRACES_ENDPOINT": "{base}/ingest?team=red"}, "/ingest?team=red"),
        ({"TRACES_ENDPOINT": "{base}/traces", "ENDPOINT": "http://127.0.0.1:1"}, "/traces"),
    ],
)
def test_the_endpoint_is_where_the_request_goes(arrived_with, variables, path):
    assert [request.path for request in arrived_with(**variables)] == [path]


@pytest.mark.parametrize("variable", ["HEADERS", "TRACES_HEADERS"])
def test_headers_arrive_decoded(arrived_with, variable):
    (request,) = arrived_with(
        ENDPOINT="{base}", **{variable: "Authorization=Bearer%20a%2Cb%3D%3D,x-team=red%20team, x-plain = a=b "}
    )
    assert request.headers["authorization"] == "Bearer a,b=="
    assert request.headers["x-team"] == "red team"
    assert request.headers["x-plain"] == "a=b"


def test_protocol_compression_and_the_services_name_apply(arrived_with, receiver, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=staging")
    (request,) = arrived_with(ENDPOINT="{base}", PROTOCOL="http/protobuf", COMPRESSION="gzip")
    assert (request.content_type, request.headers["content-encoding"]) == ("application/x-protobuf", "gzip")
    (span,) = receiver.store.spans()
    assert span.resource["service.name"] == "shop"
    assert span.resource["deployment.environment"] == "staging"
