"""Through a real proxy (proxy.py), with and without credentials, to plain and to TLS endpoints; and what goes wrong there."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from llm_otel_broadcast import Destination
from llm_otel_broadcast import test_connection as try_connection
from tests.support.certificates import Authority
from tests.support.scripted_backends import serving, socket_serving

pytest.importorskip("proxy")
PATIENCE = 20.0


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    """A proxy that wants a name and password; yields `host:port`."""
    folder = tmp_path_factory.mktemp("proxy")
    file = folder / "port"
    command = [sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0", "--port-file", str(file)]
    command += ["--num-workers", "1", "--num-acceptors", "1", "--basic-auth", "me:pass word", "--threaded"]
    command += ["--data-dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder) as running:
        yield f"127.0.0.1:{_port(file)}"
        running.terminate()


def _port(file: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if file.exists() and file.read_text().strip():
            return file.read_text().strip()
        time.sleep(0.02)
    raise TimeoutError("the proxy did not start")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), "our-authority")


@pytest.fixture
def server(authority):
    with serving(context=authority.issue("server").server_context()) as running:
        yield running


def details(report):
    return {step.name: step.detail for step in report.steps}


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_plain_endpoint_is_reached_through_the_proxy_and_that_is_said(proxy, monkeypatch, variable):
    monkeypatch.setenv(variable, f"http://me:pass%20word@{proxy}")
    with serving() as running:
        report = try_connection(Destination(endpoint=running.endpoint))
        assert "via" in running.requests[0].headers
    assert report.ok
    assert details(report)["URL"] == f"{running.endpoint}, through the proxy http://{proxy} ({variable})"
    assert details(report)["connect"].endswith("(the proxy)")
    assert "pass" not in repr(report)


def test_a_secure_endpoint_is_reached_through_a_tunnel(proxy, monkeypatch, authority, server):
    monkeypatch.setenv("https_proxy", f"http://me:pass%20word@{proxy}")
    report = try_connection(Destination(endpoint=server.endpoint, certificate=authority.file))
    assert report.ok, report
    assert [step.name for step in report.steps] == ["URL", "connect", "proxy", "TLS", "probe"]
    assert details(report)["proxy"].endswith(f"connects to 127.0.0.1:{server.port}")


def test_a_certificate_is_checked_behind_the_proxy_too(proxy, monkeypatch, server):
    monkeypatch.setenv("https_proxy", f"http://me:pass%20word@{proxy}")
    report = try_connection(Destination(endpoint=server.endpoint))
    assert report.steps[-1].name == "TLS"
    assert "authority that is not known" in report.message


def test_wrong_credentials_for_the_proxy_are_told(proxy, monkeypatch, server):
    monkeypatch.setenv("https_proxy", f"http://me:wrong@{proxy}")
    report = try_connection(Destination(endpoint=server.endpoint))
    assert report.steps[-1].name == "proxy"
    assert f"the proxy http://{proxy} (https_proxy) answered 407" in report.message
    assert "http://name:password@host" in report.message


def test_wrong_credentials_are_told_by_the_probe_where_there_is_no_tunnel(proxy, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://{proxy}")
    with serving() as running:
        report = try_connection(Destination(endpoint=running.endpoint))
    assert not report.ok
    assert "407 Proxy Authentication Required: the proxy wants a name and password" in report.message


@pytest.mark.parametrize("exception", ["127.0.0.1", "*"])
def test_no_proxy_is_honoured(proxy, monkeypatch, exception):
    monkeypatch.setenv("http_proxy", f"http://{proxy}")
    monkeypatch.setenv("no_proxy", exception)
    with serving() as running:
        report = try_connection(Destination(endpoint=running.endpoint))
    assert report.ok
    assert "proxy" not in details(report)["URL"]


def test_a_proxy_that_is_not_there_is_named_as_such(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    report = try_connection(Destination(endpoint="http://backend.example:4318"))
    assert "nothing listens at the proxy 127.0.0.1 port 1" in report.message


def test_a_proxy_whose_name_is_not_known_is_named_as_such(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:1")
    report = try_connection(Destination(endpoint="http://backend.example:4318"))
    assert "the proxy's name proxy.invalid is not known" in report.message


def test_what_is_no_proxy_is_told(monkeypatch):
    def talk(connection):
        connection.recv(65536)
        connection.sendall(b"220 mail.example ESMTP\r\n\r\n")

    with socket_serving(talk) as address:
        monkeypatch.setenv("https_proxy", address.removesuffix("/v1/traces"))
        report = try_connection(Destination(endpoint="https://backend.example"))
    assert "does not speak HTTP" in report.message


def test_a_proxy_of_another_kind_is_told_by_its_variable(monkeypatch):
    monkeypatch.setenv("https_proxy", "socks5://me:canary@127.0.0.1:1080")
    report = try_connection(Destination(endpoint="https://backend.example"))
    assert report.steps[-1].name == "URL"
    assert "https_proxy must be an http:// or https:// proxy, it is socks5://127.0.0.1:1080" in report.message
    assert "canary" not in repr(report)


def test_a_socks_proxy_for_everything_is_left_to_others(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    with serving() as running:
        assert try_connection(Destination(endpoint=running.endpoint)).ok
