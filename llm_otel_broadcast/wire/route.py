"""How requests to an endpoint go: by which proxy, and with which certificates."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.util.ssl_ import create_urllib3_context

from llm_otel_broadcast.settings.destination import Destination, redact_url

_PORTS: Final = {"http": 80, "https": 443}
_NO_PASSWORD: Final = ""
"""OpenSSL would ask the terminal for the password of an encrypted key, and wait."""


class UnusableFileError(OSError):
    """A certificate or key is not what it should be; the text may be shown."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy, and what names it."""

    url: str = field(repr=False)
    variable: str
    host: str
    port: int
    headers: dict[str, str] = field(repr=False)
    """Its `Proxy-Authorization`, if the URL has credentials."""

    @property
    def shown(self) -> str:
        """The proxy as it may be shown."""
        return f"{redact_url(self.url)} ({self.variable})"


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for a URL that the environment, or else the system, names: `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`.

    Raises:
        ValueError: it is none that we can use.
    """
    parts = urlsplit(url)
    known = getproxies()
    everywhere = known.get("all", "")
    if not everywhere.startswith(("http://", "https://")):  # SOCKS is often set for browsers alone
        everywhere = ""
    found = known.get(parts.scheme) or everywhere
    if not found or proxy_bypass(parts.netloc.rpartition("@")[2]) or proxy_bypass(parts.hostname or ""):
        return None
    named = found if "://" in found else f"http://{found}"
    variable = _variable(found, parts.scheme)
    proxy = urlsplit(named)
    if proxy.scheme not in _PORTS or not proxy.hostname:
        raise ValueError(f"{variable} must be an http:// or https:// proxy, it is {redact_url(named)}")
    credentials = unquote(proxy.netloc.rpartition("@")[0])
    headers = urllib3.make_headers(proxy_basic_auth=credentials) if credentials else {}
    return Proxy(named, variable, proxy.hostname, proxy.port or _PORTS[proxy.scheme], dict(headers))


def _variable(value: str, scheme: str) -> str:
    names = (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY")
    return next((name for name in names if os.environ.get(name) == value), "the system's settings")


def tls_context(destination: Destination) -> ssl.SSLContext:
    """Return what TLS connections to a destination are made with.

    Raises:
        OSError: a certificate or key cannot be used; the text says which file and why.
    """
    made = create_urllib3_context()  # urllib3 1.26 checks the host's name itself, after the handshake
    if destination.certificate is None:
        made.load_default_certs()
    else:
        _load(made.load_verify_locations, "certificate", destination.certificate)
    if destination.client_certificate is not None:
        certificate, key = destination.client_certificate, destination.client_key or destination.client_certificate
        load = partial(made.load_cert_chain, keyfile=_path(key), password=lambda: _NO_PASSWORD)
        _load(load, "client_certificate", certificate, key)
    return made


def _load(load: Callable[[str], object], what: str, file: str, key: str = "") -> None:
    try:
        load(_path(file))
    except ssl.SSLError as error:
        raise UnusableFileError(f'{what} "{file}" cannot be used: {_why(error, file, key)}') from None
    except OSError as error:
        raise UnusableFileError(f'{what} "{file}" cannot be read: {error.strerror}') from None


def _why(error: ssl.SSLError, file: str, key: str) -> str:
    text, secret = (Path(_path(one)).read_text(encoding="latin-1") if one else "" for one in (file, key))
    if "ENCRYPTED" in secret:
        return "its key is encrypted: give one without a password"
    if error.reason == "KEY_VALUES_MISMATCH":
        return "client_key is the key of another certificate"
    if "-----BEGIN" not in text:
        return "it is not in PEM format (-----BEGIN CERTIFICATE-----)"
    return str(error.reason or "it holds no certificate").lower().replace("_", " ")


def _path(file: str) -> str:
    return os.path.expanduser(file)  # noqa: PTH111  # `Path.expanduser` raises where there is no home
