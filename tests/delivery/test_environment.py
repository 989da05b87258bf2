"""The OpenTelemetry environment variables, from the variable to the bytes at the backend."""

from __future__ import annotations

import pytest

import llm_otel_broadcast
from tests.support.client_calls import chat


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
        ({"ENDPOINT": "{base}/api/otel?token=abc"}, "/api/otel/v1/traces?token=abc"),
        ({"ENDPOINT": "{base}/api/otel#part"}, "/api/otel/v1/traces"),
        ({"TRACES_ENDPOINT": "{base}"}, "/"),
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


@pytest.mark.parametrize(
    "variables",
    [
        {"PROTOCOL": "grpc"},
        {"HEADERS": "Content-Type=text/plain,secret,x-team=red"},
        {"TIMEOUT": "10s"},
        {"TIMEOUT": "10000"},
        {"COMPRESSION": "zstd"},
        {"CERTIFICATE": "/not/there.pem"},
        {"CLIENT_KEY": "/not/there.pem"},
    ],
    ids=str,
)
def test_what_others_need_in_the_environment_never_keeps_a_call_from_its_trace(arrived_with, variables, caplog):
    (request,) = arrived_with(ENDPOINT="{base}", **variables)
    assert request.path == "/v1/traces"
    if "HEADERS" in variables:
        assert request.headers["x-team"] == "red"
    (variable,) = variables
    if variables != {"TIMEOUT": "10000"}:
        assert f"OTEL_EXPORTER_OTLP_{variable}: " in caplog.text
    assert "secret" not in caplog.text


def test_an_endpoint_that_is_none_is_logged_once_and_the_program_goes_on(arrived_with, caplog):
    assert arrived_with(ENDPOINT="backend:4318") == []
    assert caplog.text.count("OTEL_EXPORTER_OTLP_ENDPOINT: endpoint") == 1


def test_where_traces_are_not_exported_nothing_goes_to_the_endpoint_of_the_environment(arrived_with, monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    assert arrived_with(ENDPOINT="{base}") == []


def test_a_destination_of_our_own_stays_where_traces_are_exported_otherwise(arrived_with, monkeypatch, receiver):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setenv("LLM_OTEL_BROADCAST_ENDPOINT", receiver.endpoint)
    assert len(arrived_with(ENDPOINT="http://127.0.0.1:1")) == 1


@pytest.mark.parametrize("value", ["1", "yes", "TRUE "])
def test_a_switch_that_opentelemetry_does_not_know_is_named(monkeypatch, value, caplog):
    monkeypatch.setenv("OTEL_SDK_DISABLED", value)
    is_on = llm_otel_broadcast.instrument(endpoint="http://127.0.0.1:1").status().instrumented
    assert (is_on, f"OTEL_SDK_DISABLED={value} counts as false" in caplog.text) == (
        (True,) * 2 if value in "1yes" else (False,) * 2
    )
