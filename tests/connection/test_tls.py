"""TLS with certificates of our own authority: the right ones pass, each wrong one is explained."""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path

import pytest

import llm_otel_broadcast
from llm_otel_broadcast import ConfigError, Destination
from llm_otel_broadcast import test_connection as try_connection
from llm_otel_broadcast.wire.http import HttpSender
from tests.support.certificates import Authority
from tests.support.scripted_backends import Backend, serving

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), "our-authority")


@pytest.fixture(scope="module")
def server(authority):
    return authority.issue("server")


def test_a_certificate_of_ones_own_authority_passes_and_is_described(authority, server):
    with serving(context=server.server_context()) as running:
        report = try_connection(Destination(endpoint=running.endpoint, certificate=authority.file))
    assert report.ok, report
    step = next(step for step in report.steps if step.name == "TLS")
    assert step.detail.startswith("TLS 1.3, certificate of 127.0.0.1 until 20")


def test_an_authority_that_is_not_known_is_named_with_the_fix(server):
    with serving(context=server.server_context()) as running:
        report = try_connection(Destination(endpoint=running.endpoint))
    assert report.steps[-1].name == "TLS"
    assert "comes from an authority that is not known here: give that one's as certificate=" in report.message
    assert running.requests == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"until": -HOUR}, "its certificate has expired"),
        ({"since": HOUR}, "its certificate is not valid yet: is the clock of this machine right?"),
        ({"host": "other.example"}, "its certificate is for another host (IP address mismatch"),
    ],
)
def test_a_wrong_certificate_is_explained(authority, options, said):
    issued = authority.issue("wrong", **options)
    with serving(context=issued.server_context()) as running:
        report = try_connection(Destination(endpoint=running.endpoint, certificate=authority.file))
    assert not report.ok
    assert report.steps[-1].name == "TLS"
    assert said in report.message


def test_a_name_is_checked_as_an_address_is(authority):
    issued = authority.issue("named", host="other.example")
    with serving(context=issued.server_context()) as running:
        endpoint = running.endpoint.replace("127.0.0.1", "localhost")
        report = try_connection(Destination(endpoint=endpoint, certificate=authority.file))
    assert "is for another host (Hostname mismatch, certificate is not valid for 'localhost')" in report.message


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_is_shown_where_it_is_demanded(authority, server, version):
    client = authority.issue("client")
    with serving(context=server.server_context(authority.file, version)) as running:
        known = {"endpoint": running.endpoint, "certificate": authority.file}
        without = try_connection(Destination(**known))
        apart = Destination(**known, client_certificate=client.certificate, client_key=client.key)
        together = Destination(**known, client_certificate=client.both)
        assert try_connection(apart).ok
        assert try_connection(together).ok
    assert without.steps[-1].name == "TLS"
    assert "it demands a client certificate: give client_certificate= and client_key=" in without.message


def test_a_client_certificate_of_another_authority_is_refused_and_told(authority, server, tmp_path):
    stranger = Authority(tmp_path, "stranger").issue("client")
    with serving(context=server.server_context(authority.file)) as running:
        destination = Destination(
            endpoint=running.endpoint, certificate=authority.file, client_certificate=stranger.both
        )
        report = try_connection(destination)
    assert report.steps[-1].name == "TLS"
    assert "it refuses the client certificate" in report.message


def test_a_plain_server_behind_https_is_told_and_http_is_offered_but_not_tried():
    with serving() as running:
        report = try_connection(Destination(endpoint=running.endpoint.replace("http:", "https:"), headers={"key": "k"}))
        assert running.requests == []
    assert "it does not speak TLS: is it http:// instead of https://?" in report.message
    assert report.suggestion == {"endpoint": running.endpoint}


def test_a_server_of_tls_behind_http_is_found(authority, server, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    with serving(context=server.server_context()) as running:
        report = try_connection(Destination(endpoint=running.endpoint.replace("https:", "http:")))
    assert not report.ok
    assert report.suggestion == {"endpoint": running.endpoint}


@pytest.mark.parametrize(
    ("field", "content", "said"),
    [
        ("certificate", "nonsense", "it is not in PEM format"),
        ("client_certificate", "nonsense", "it is not in PEM format"),
        ("certificate", "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n", "cannot be used"),
    ],
)
def test_a_file_that_is_no_certificate_is_named(tmp_path, field, content, said):
    file = tmp_path / "ca.pem"
    file.write_text(content)
    with serving() as running:
        endpoint = running.endpoint.replace("http:", "https:")
        report = try_connection(Destination(endpoint=endpoint, **{field: str(file)}))
    assert f'{field} "{file}" cannot be used' in report.message
    assert said in report.message


def test_a_key_with_a_password_is_refused_instead_of_asking_the_terminal(authority, server):
    locked = authority.locked("locked")
    with serving(context=server.server_context()) as running:
        report = try_connection(
            Destination(
                endpoint=running.endpoint,
                certificate=authority.file,
                client_certificate=locked.certificate,
                client_key=locked.key,
            )
        )
    assert "its key is encrypted: give one without a password" in report.message


def test_a_key_of_another_certificate_is_told(authority, server):
    one, other = authority.issue("one"), authority.issue("other")
    with serving(context=server.server_context()) as running:
        report = try_connection(
            Destination(
                endpoint=running.endpoint,
                certificate=authority.file,
                client_certificate=one.certificate,
                client_key=other.key,
            )
        )
    assert "client_key is the key of another certificate" in report.message


def test_generations_go_over_tls_with_the_same_certificates(authority, server, client):
    certificate = authority.issue("client")
    with serving(Backend(), server.server_context(authority.file)) as running:
        llm_otel_broadcast.instrument(
            endpoint=running.endpoint,
            certificate=authority.file,
            client_certificate=certificate.certificate,
            client_key=certificate.key,
        )
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
        assert llm_otel_broadcast.flush(5.0)
        assert len(running.requests) == 1


@pytest.mark.parametrize("options", [{"host": "other.example"}, {"host": "127.0.0.2"}, {"until": -HOUR}])
def test_what_is_sent_goes_to_nobody_with_a_wrong_certificate(authority, options):
    """With the steps before left out: urllib3 1.26 checks names elsewhere than 2 does."""
    with serving(context=authority.issue("wrong", **options).server_context()) as running:
        sender = HttpSender(Destination(endpoint=running.endpoint, certificate=authority.file), "1")
        answer = sender.send(b"{}", "application/json", 5.0)
        sender.close()
        assert running.requests == []
    assert (answer.kind, answer.status) == ("retry", None)


def test_the_log_says_what_is_wrong_with_a_certificate(server, client, caplog):
    with serving(context=server.server_context()) as running:
        llm_otel_broadcast.instrument(endpoint=running.endpoint, exit_timeout=0.1)
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
        llm_otel_broadcast.flush(0.5)
    assert "authority that is not known here" in caplog.text


@pytest.mark.parametrize("prefix", ["OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"])
def test_the_certificates_of_opentelemetrys_variables_are_used(authority, server, client, monkeypatch, prefix):
    certificate = authority.issue("client")
    with serving(context=server.server_context(authority.file)) as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.root)
        monkeypatch.setenv(f"{prefix}CERTIFICATE", authority.file)
        monkeypatch.setenv(f"{prefix}CLIENT_CERTIFICATE", certificate.certificate)
        monkeypatch.setenv(f"{prefix}CLIENT_KEY", certificate.key)
        llm_otel_broadcast.instrument()
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
        assert llm_otel_broadcast.flush(5.0)
        assert len(running.requests) == 1


def test_a_file_that_is_missing_is_refused_at_once_by_the_name_it_was_given_under(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match=r'certificate "/no/such.pem": there is no such file'):
        Destination(endpoint="https://example.com", certificate="/no/such.pem")
    with pytest.raises(ConfigError, match="client_key needs client_certificate"):
        file = tmp_path / "key.pem"
        file.write_text("")
        Destination(endpoint="https://example.com", client_key=str(file))
    monkeypatch.setenv("LLM_OTEL_BROADCAST_ENDPOINT", "https://example.com")
    monkeypatch.setenv("LLM_OTEL_BROADCAST_CERTIFICATE", "/no/such.pem")
    with pytest.raises(ConfigError, match=r'LLM_OTEL_BROADCAST_CERTIFICATE: .*"/no/such.pem"'):
        llm_otel_broadcast.instrument()


def test_a_file_that_is_missing_stops_nothing_where_a_variable_of_opentelemetrys_names_it(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://example.com")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such.pem")
    assert llm_otel_broadcast.instrument().status().instrumented
    assert 'OTEL_EXPORTER_OTLP_CERTIFICATE: "/no/such.pem": there is no such file' in caplog.text


def test_a_path_may_start_at_home(authority, server, monkeypatch):
    monkeypatch.setenv("HOME", str(Path(authority.file).parent))
    with serving(context=server.server_context()) as running:
        destination = Destination(endpoint=running.endpoint, certificate=f"~/{Path(authority.file).name}")
        assert try_connection(destination).ok
