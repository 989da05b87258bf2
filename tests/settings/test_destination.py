"""A destination is checked where it is made, and never shows a secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast import ConfigError, Destination

URL = "http://backend.example:4318"


def faults(**given):
    with pytest.raises(ConfigError) as caught:
        Destination(**given)
    return caught.value.faults


@pytest.mark.parametrize(
    ("endpoint", "used"),
    [
        (URL, URL + "/v1/traces"),
        (URL + "/", URL + "/v1/traces"),
        (URL + "/traces/otlp/v0.9", URL + "/traces/otlp/v0.9"),
        (URL + "/v1/traces/", URL + "/v1/traces/"),
        (URL + "?key=1", URL + "/v1/traces?key=1"),
        (f"  {URL}  ", URL + "/v1/traces"),
    ],
)
def test_an_endpoint_without_a_path_gets_one(endpoint, used):
    assert Destination(endpoint=endpoint).endpoint == used


def test_it_is_named_after_host_and_port():
    assert Destination(endpoint=URL).name == "backend.example:4318"
    assert Destination(endpoint="https://backend.example/x").name == "backend.example"


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        (None, "endpoint is missing"),
        ("", "needs http:// or https://"),
        ("backend:4318", "needs http:// or https://"),
        ("localhost", "needs http:// or https://"),
        ("grpc://backend", "needs http:// or https://"),
        ("http://", "names no host"),
        ("http://host:port", "is not a URL"),
        ("http://host:99999", "is not a URL"),
        ("http://[::1", "is not a URL"),
        ("http://ho st/", "white space"),
        ("http://host/\ud800", "white space or control"),
        (b"http://host", "must be a URL as text"),
        (4318, "must be a URL as text"),
    ],
)
def test_a_wrong_endpoint_is_named_with_the_fix(endpoint, said):
    (fault,) = faults(endpoint=endpoint)
    assert said in fault


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"X-Axiom-Dataset": 5}, 'header "X-Axiom-Dataset" must be a string, got int 5'),
        ({"Authorization": b"secret"}, 'header "Authorization" must be a string, got bytes'),
        ({"Authorization": ["secret"]}, 'header "Authorization" must be a string, got list'),
        ({"Authorization": None}, 'header "Authorization" must be a string, got NoneType'),
        ({7: "x"}, "a header's name must be a string, got int"),
        ({"Authorization: Basic secret": ""}, 'header name "Authorization..." is not a valid HTTP header name'),
        ({"Basic secret": "="}, 'header name "Basic..." is not a valid HTTP header name'),
        ({"a b": "x"}, "not a valid HTTP header name"),
        ({"": "x"}, "not a valid HTTP header name"),
        ({"X": "secret\r\nY: z"}, "line break"),
        ({"X": "secret\u20ac"}, "latin-1"),
        ({"Content-Type": "text/plain"}, "set by the encoding"),
        ("X=secret", "headers must be a mapping"),
    ],
)
def test_a_wrong_header_is_named_without_its_value(headers, said):
    text = "\n".join(faults(endpoint=URL, name="axiom", headers=headers))
    assert said in text
    assert 'destination "axiom"' in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("encoding", "xml"),
        ("compression", "zstd"),
        ("privacy_mode", 1),
        ("enabled", "yes"),
        ("timeout", 0),
        ("timeout", float("nan")),
        ("timeout", True),
        ("batch_delay", -1),
        ("batch_delay", "1"),
        ("name", 5),
    ],
)
def test_a_wrong_value_is_named_by_field(field, value):
    (fault,) = faults(endpoint=URL, **{field: value})
    assert f"{field} must be" in fault


def test_every_fault_is_told_at_once():
    assert len(faults(endpoint="nowhere", headers={"a b": "x", "X": 1}, timeout=0)) == 4


def test_an_exporter_and_an_endpoint_exclude_each_other():
    class Exporter:
        def export(self, spans): ...

    assert Destination(exporter=Exporter()).name == "Exporter"
    assert "leave one out" in faults(endpoint=URL, exporter=Exporter())[0]
    assert "SpanExporter" in faults(exporter=object())[0]


def test_secrets_are_in_no_repr():
    made = Destination(endpoint="https://user:hidden@host/v1/traces?key=hidden", headers={"Authorization": "hidden"})
    assert "hidden" not in repr(made)
    assert "https://host/v1/traces" in repr(made)


def test_credentials_in_the_url_become_a_basic_authorization_header():
    made = Destination(endpoint="https://user:p%40ss@host:8443/v1/traces")
    assert made.endpoint == "https://host:8443/v1/traces"
    assert made.headers == {"Authorization": "Basic dXNlcjpwQHNz"}


def test_a_header_given_wins_over_credentials_in_the_url():
    made = Destination(endpoint="https://user:pass@host", headers={"authorization": "Bearer x"})
    assert made.headers == {"authorization": "Bearer x"}


def test_secrets_of_a_wrong_endpoint_are_not_told():
    assert "hidden" not in faults(endpoint="ftp://user:hidden@host/x?key=hidden")[0]


def test_later_changes_of_the_headers_change_nothing():
    headers = {"X": "1"}
    made = Destination(endpoint=URL, headers=headers)
    headers["X"] = "2"
    assert made.headers == {"X": "1"}


@given(st.one_of(st.text(), st.integers(), st.binary(), st.none()))
def test_no_endpoint_makes_anything_but_a_clear_error(endpoint):
    told = None
    try:
        made = Destination(endpoint=endpoint)
    except ConfigError as error:
        told = error
    assert told.faults if told else made.endpoint.startswith(("http://", "https://"))


@given(st.dictionaries(st.text() | st.integers(), st.text() | st.integers() | st.binary(), max_size=3))
def test_no_headers_make_anything_but_a_clear_error(headers):
    told = None
    try:
        made = Destination(endpoint=URL, headers=headers)
    except ConfigError as error:
        told = error
    assert told.faults if told else made.headers == headers
