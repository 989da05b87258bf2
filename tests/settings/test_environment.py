"""The OpenTelemetry environment variables."""

from __future__ import annotations

import pytest

from llm_otel_broadcast import ConfigError
from llm_otel_broadcast.settings.environment import destination_from

BASE = "http://backend:4318"


def read(**variables):
    return destination_from({f"OTEL_EXPORTER_OTLP_{name}": value for name, value in variables.items()})


def test_nothing_set_names_nothing():
    assert read() is None
    assert read(ENDPOINT="  ") is None


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({"ENDPOINT": BASE}, BASE + "/v1/traces"),
        ({"ENDPOINT": BASE + "/"}, BASE + "/v1/traces"),
        ({"ENDPOINT": BASE + "/otlp"}, BASE + "/otlp/v1/traces"),
        ({"TRACES_ENDPOINT": BASE + "/otlp"}, BASE + "/otlp"),
        ({"TRACES_ENDPOINT": BASE + "/otlp", "ENDPOINT": "http://other"}, BASE + "/otlp"),
    ],
)
def test_the_base_gets_the_path_and_the_traces_endpoint_is_verbatim(variables, endpoint):
    assert read(**variables).endpoint == endpoint


def test_headers_are_url_decoded():
    made = read(ENDPOINT=BASE, HEADERS="Authorization=Bearer%20abc%3D%3D, x-team = red ,")
    assert made.headers == {"Authorization": "Bearer abc==", "x-team": "red"}


def test_the_traces_headers_win():
    assert read(ENDPOINT=BASE, HEADERS="a=1", TRACES_HEADERS="b=2").headers == {"b": "2"}


def test_a_value_may_hold_an_equals_sign():
    assert read(ENDPOINT=BASE, HEADERS="Authorization=Basic YWI=").headers == {"Authorization": "Basic YWI="}


@pytest.mark.parametrize(("protocol", "encoding"), [("http/json", "json"), ("http/protobuf", "protobuf"), ("", "auto")])
def test_the_protocol_fixes_the_encoding(protocol, encoding):
    assert read(ENDPOINT=BASE, PROTOCOL=protocol).encoding == encoding


def test_compression_and_timeout_apply():
    made = read(ENDPOINT=BASE, COMPRESSION="gzip", TIMEOUT="2.5")
    assert (made.compression, made.timeout) == ("gzip", 2.5)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ENDPOINT": "backend:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"TRACES_ENDPOINT": "backend:4318"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        ({"ENDPOINT": BASE, "PROTOCOL": "grpc"}, "http/protobuf"),
        ({"ENDPOINT": BASE, "TIMEOUT": "long"}, "OTEL_EXPORTER_OTLP_TIMEOUT"),
        ({"ENDPOINT": BASE, "HEADERS": "secret-token"}, "entry 1 is not key=value"),
    ],
)
def test_a_wrong_variable_is_named(variables, said):
    with pytest.raises(ConfigError) as caught:
        read(**variables)
    assert said in str(caught.value)
    assert "secret-token" not in str(caught.value)
