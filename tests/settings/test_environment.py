"""The OpenTelemetry environment variables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llm_otel_broadcast.settings.otel_environment import destination_from

BASE = "http://backend:4318"


def ambient(**variables):
    return destination_from({f"OTEL_EXPORTER_OTLP_{name}": value for name, value in variables.items()})


def read(**variables):
    """Return the destination of variables that are all right."""
    made = ambient(**variables)
    assert made.warnings == ()
    return made.destination


def test_nothing_set_names_nothing():
    assert read() is None
    assert read(ENDPOINT="  ") is None


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({"ENDPOINT": BASE}, BASE + "/v1/traces"),
        ({"ENDPOINT": BASE + "/"}, BASE + "/v1/traces"),
        ({"ENDPOINT": BASE + "/otlp"}, BASE + "/otlp/v1/traces"),
        ({"ENDPOINT": BASE + "?token=abc"}, BASE + "/v1/traces?token=abc"),
        ({"ENDPOINT": BASE + "/otlp/?token=abc"}, BASE + "/otlp/v1/traces?token=abc"),
        ({"ENDPOINT": BASE + "/otlp#part"}, BASE + "/otlp/v1/traces"),
        ({"TRACES_ENDPOINT": BASE + "/otlp"}, BASE + "/otlp"),
        ({"TRACES_ENDPOINT": BASE}, BASE + "/"),
        ({"TRACES_ENDPOINT": BASE + "?token=abc"}, BASE + "/?token=abc"),
        ({"TRACES_ENDPOINT": BASE + "/otlp#part"}, BASE + "/otlp"),
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


def test_a_traces_endpoint_without_a_path_stays_as_it_is_when_an_argument_completes_it():
    assert replace(read(TRACES_ENDPOINT=BASE), timeout=5).endpoint == BASE + "/"


def test_headers_in_the_form_of_curl_are_read_as_they_stand():
    made = read(ENDPOINT=BASE, HEADERS="Authorization: Basic U0VD%3D==,x-team=red%20team")
    assert made.headers == {"Authorization": "Basic U0VD%3D==", "x-team": "red team"}


@pytest.mark.parametrize(
    ("protocol", "encoding"),
    [("HTTP/JSON", "json"), ("http/json", "json"), ("http/protobuf", "protobuf"), ("", "auto")],
)
def test_the_protocol_fixes_the_encoding(protocol, encoding):
    assert read(ENDPOINT=BASE, PROTOCOL=protocol).encoding == encoding


def test_compression_and_timeout_apply():
    made = read(ENDPOINT=BASE, COMPRESSION="gzip", TIMEOUT="2.5")
    assert (made.compression, made.timeout) == ("gzip", 2.5)


@pytest.mark.parametrize("compression", ["gzip", "GZIP", "Gzip"])
def test_compression_is_read_in_any_case(compression):
    assert read(ENDPOINT=BASE, TRACES_COMPRESSION=compression).compression == "gzip"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10", 10), ("0.5", 0.5), ("999", 999), ("1000", 1), ("10000", 10), ("5e3", 5), ("3600000", 3600)],
)
def test_a_timeout_from_1000_on_is_in_milliseconds_and_below_that_in_seconds(text, seconds):
    assert read(ENDPOINT=BASE, TIMEOUT=text).timeout == seconds


@pytest.mark.parametrize("option", ["ENDPOINT", "TRACES_ENDPOINT"])
@pytest.mark.parametrize(
    "endpoint", ["backend:4318", "backend", "ftp://backend", "http://", "http://[", "http://b:port"]
)
def test_an_endpoint_that_is_none_is_named_and_nothing_is_sent_anywhere(option, endpoint):
    made = ambient(**{"ENDPOINT": BASE, option: endpoint})
    (warning,) = made.warnings
    assert made.destination is None
    assert warning.startswith(f"OTEL_EXPORTER_OTLP_{option}: endpoint ")


LEFT_OUT = {
    "a timeout that is no number": ({"TIMEOUT": "10s"}, "TIMEOUT", {}),
    "a timeout of nothing": ({"TRACES_TIMEOUT": "0"}, "TRACES_TIMEOUT", {}),
    "a timeout before the call": ({"TIMEOUT": "-1"}, "TIMEOUT", {}),
    "a timeout without end": ({"TIMEOUT": "inf"}, "TIMEOUT", {}),
    "a timeout that is not a number": ({"TIMEOUT": "nan"}, "TIMEOUT", {}),
    "no header": ({"HEADERS": "s3cr3t,x=1"}, "HEADERS", {"headers": {"x": "1"}}),
    "a header of the encoding's": ({"HEADERS": "Content-Type=text/plain,x=1"}, "HEADERS", {"headers": {"x": "1"}}),
    "a header with a strange name": ({"TRACES_HEADERS": "a s3cr3t=b,x=1"}, "TRACES_HEADERS", {"headers": {"x": "1"}}),
    "a header with a line break": ({"HEADERS": "a=b%0Ac: s3cr3t,x=1"}, "HEADERS", {"headers": {"x": "1"}}),
    "a header beyond latin-1": ({"HEADERS": "a=%E2%9C%93s3cr3t,x=1"}, "HEADERS", {"headers": {"x": "1"}}),
    "an unknown compression": ({"COMPRESSION": "zstd"}, "COMPRESSION", {}),
    "an unknown protocol": ({"PROTOCOL": "http/thrift"}, "PROTOCOL", {}),
    "an authority that is not there": ({"CERTIFICATE": "/not/there.pem"}, "CERTIFICATE", {}),
    "a certificate that is not there": ({"CLIENT_CERTIFICATE": "/not/there.pem"}, "CLIENT_CERTIFICATE", {}),
    "a key that is not there": ({"CLIENT_CERTIFICATE": __file__, "CLIENT_KEY": "/not/there.pem"}, "CLIENT_KEY", {}),
    "a key without its certificate": ({"CLIENT_KEY": __file__}, "CLIENT_KEY", {}),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_cannot_be_used_is_named_and_left_out_and_the_rest_is_used(case):
    variables, named, rest = LEFT_OUT[case]
    made = ambient(ENDPOINT=BASE, **variables)
    (warning,) = made.warnings
    assert warning.startswith(f"OTEL_EXPORTER_OTLP_{named}: ")
    assert "s3cr3t" not in warning
    assert made.destination == replace(read(ENDPOINT=BASE), **rest)


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({"ENDPOINT": "http://backend:4317"}, "http://backend:4318/v1/traces"),
        ({"ENDPOINT": "http://[::1]:4317/"}, "http://[::1]:4318/v1/traces"),
        ({"TRACES_ENDPOINT": "http://backend:4317"}, "http://backend:4318/v1/traces"),
        ({"TRACES_ENDPOINT": "http://backend:4318/v1/traces"}, "http://backend:4318/v1/traces"),
        ({"ENDPOINT": "https://backend"}, "https://backend/v1/traces"),
    ],
)
def test_where_grpc_is_asked_for_otlp_over_http_goes_to_its_own_port(variables, endpoint):
    """opentelemetry-distro sets PROTOCOL=grpc by itself."""
    made = ambient(PROTOCOL="grpc", **variables)
    (warning,) = made.warnings
    assert made.destination.endpoint == endpoint
    assert warning.startswith("OTEL_EXPORTER_OTLP_PROTOCOL: grpc")
    assert f"sent to {endpoint}." in warning


@pytest.mark.parametrize("exporters", ["none", "console", "zipkin", "console, zipkin", " NONE "])
@pytest.mark.parametrize("variable", ["ENDPOINT", "TRACES_ENDPOINT"])
def test_where_traces_are_exported_otherwise_or_not_at_all_nothing_goes_to_the_endpoint(exporters, variable):
    made = destination_from({f"OTEL_EXPORTER_OTLP_{variable}": BASE, "OTEL_TRACES_EXPORTER": exporters})
    assert made.destination is None
    assert made.warnings == (
        f"OTEL_TRACES_EXPORTER={exporters.strip()}: nothing is sent to OTEL_EXPORTER_OTLP_{variable}",
    )


@pytest.mark.parametrize("exporters", ["", "otlp", "console,otlp", "OTLP", "otlp_proto_http", " , "])
def test_where_otlp_is_among_the_exporters_or_none_is_named_the_endpoint_counts(exporters):
    made = destination_from({"OTEL_EXPORTER_OTLP_ENDPOINT": BASE, "OTEL_TRACES_EXPORTER": exporters})
    assert made.destination.endpoint == BASE + "/v1/traces"
