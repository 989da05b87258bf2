"""Certificates that are renewed on disk, and a Python whose OpenSSL looks for authorities where there are none."""

from __future__ import annotations

import importlib.util
import os
import shutil
import ssl
import sys
from pathlib import Path

import pytest

from llm_otel_broadcast import Destination
from llm_otel_broadcast.wire import tls
from llm_otel_broadcast.wire.http import HttpSender
from tests.support.certificates import Authority
from tests.support.scripted_backends import serving


@pytest.fixture
def files(tmp_path):
    """Make authorities by name; `use` puts a file of one at the place that settings name, at once."""
    folder = tmp_path / "mounted"
    folder.mkdir()

    class Files:
        def authority(self, name):
            made = tmp_path / name
            made.mkdir()
            return Authority(made, name)

        def use(self, source, name):
            new = folder / f"{name}.new"
            shutil.copy(source, new)
            new.replace(folder / name)
            return str(folder / name)

    return Files()


@pytest.fixture
def sender_to():
    senders = []

    def make(running, **settings):
        senders.append(HttpSender(Destination(endpoint=running.endpoint, **settings), "1"))
        return senders[-1]

    yield make
    for sender in senders:
        sender.close()


def sent(sender):
    answer = sender.send(b"{}", "application/json", 3.0)
    return answer.kind, answer.excerpt


def test_an_authority_that_is_renewed_on_disk_is_believed_without_a_restart(files, sender_to):
    old, new = files.authority("old"), files.authority("new")
    with (
        serving(context=old.issue("a").server_context()) as before,
        serving(context=new.issue("b").server_context()) as after,
    ):
        sender = sender_to(before, certificate=files.use(old.file, "ca.pem"))
        other = sender_to(after, certificate=files.use(old.file, "ca.pem"))
        assert sent(sender) == ("ok", "")
        assert "authority that is not known" in sent(other)[1]
        files.use(new.file, "ca.pem")
        assert sent(other) == ("ok", "")
        assert "authority that is not known" in sent(sender)[1], "the connection of before is used no longer"


def test_a_client_certificate_that_is_renewed_in_two_steps_is_used_once_both_are_there(files, sender_to):
    """Between the two, the old pair goes on; OpenSSL would refuse a certificate with the key of another."""
    servers, first, second = files.authority("servers"), files.authority("first"), files.authority("second")
    old, new = first.issue("old"), second.issue("new")
    certificate, key = files.use(old.certificate, "tls.crt"), files.use(old.key, "tls.key")
    settings = {"certificate": servers.file, "client_certificate": certificate, "client_key": key}
    with (
        serving(context=servers.issue("a").server_context(first.file)) as takes_old,
        serving(context=servers.issue("b").server_context(second.file)) as takes_new,
    ):
        senders = [sender_to(running, **settings) for running in (takes_old, takes_new)]
        assert [sent(sender)[0] for sender in senders] == ["ok", "retry"]
        files.use(new.certificate, "tls.crt")
        assert [sent(sender)[0] for sender in senders] == ["ok", "retry"]
        assert "client_key is the key of another certificate" in sent(senders[1])[1]
        files.use(new.key, "tls.key")
        assert [sent(sender)[0] for sender in senders] == ["retry", "ok"]


def test_a_file_that_is_gone_or_half_written_leaves_the_one_before_in_use(files, sender_to):
    authority = files.authority("authority")
    with serving(context=authority.issue("server").server_context()) as running:
        file = files.use(authority.file, "ca.pem")
        sender = sender_to(running, certificate=file)
        assert sent(sender) == ("ok", "")
        Path(file).write_text("-----BEGIN CERTIFICATE-----\nMIIB")
        assert sent(sender) == ("ok", "")
        Path(file).unlink()
        assert sent(sender) == ("ok", "")


def test_connections_are_kept_while_no_file_changes(files):
    authority = files.authority("authority")
    destination = Destination(endpoint="https://127.0.0.1:1", certificate=files.use(authority.file, "ca.pem"))
    certificates = tls.Certificates(destination)
    context = certificates.context()
    assert certificates.context() is context
    os.utime(files.use(authority.file, "ca.pem"), ns=(1, 1))
    assert certificates.context() is not context


@pytest.fixture
def no_authorities(monkeypatch, tmp_path):
    """Have OpenSSL look where there is nothing, as that of a Python which was built elsewhere does."""
    (tmp_path / "empty").mkdir()
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(variable, raising=False)
    real = ssl.get_default_verify_paths()
    paths = real._replace(cafile=None, capath=str(tmp_path / "empty"))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda *_: None)
    monkeypatch.setattr(tls, "_BUNDLES", ())
    monkeypatch.setattr(tls, "find_spec", lambda _: None)


def reached(running):
    sender = HttpSender(Destination(endpoint=running.endpoint), "1")
    try:
        return sent(sender)
    finally:
        sender.close()


@pytest.mark.usefixtures("no_authorities")
def test_the_bundle_of_the_distribution_is_used_where_openssl_has_no_authorities(files, monkeypatch):
    authority = files.authority("authority")
    with serving(context=authority.issue("server").server_context()) as running:
        assert "authority that is not known" in reached(running)[1]
        monkeypatch.setattr(tls, "_BUNDLES", ("/no/such/bundle.crt", authority.file))
        assert reached(running) == ("ok", "")


@pytest.mark.usefixtures("no_authorities")
def test_the_bundle_of_certifi_is_used_without_importing_it(files, monkeypatch, tmp_path):
    authority = files.authority("authority")
    package = tmp_path / "certifi"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('imported on a thread of ours')")
    shutil.copy(authority.file, package / "cacert.pem")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "certifi", raising=False)
    monkeypatch.setattr(tls, "find_spec", importlib.util.find_spec)
    with serving(context=authority.issue("server").server_context()) as running:
        assert reached(running) == ("ok", "")
    assert "certifi" not in sys.modules


@pytest.mark.usefixtures("no_authorities")
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_the_authorities_that_the_environment_names_are_the_only_ones(files, monkeypatch, variable, tmp_path):
    authority = files.authority("authority")
    monkeypatch.setattr(tls, "_BUNDLES", (authority.file,))
    monkeypatch.setenv(variable, str(tmp_path / "empty"))
    with serving(context=authority.issue("server").server_context()) as running:
        assert "authority that is not known" in reached(running)[1]
