"""How requests to an endpoint go: straight, or by which proxy."""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from dataclasses import dataclass, field
from http.client import responses
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from llm_otel_broadcast.settings.endpoints import redact_url

PORTS: Final = {"http": 80, "https": 443}


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
    def label(self) -> str:
        """The proxy as it may be shown, without credentials, and the variable that names it."""
        return f"{redact_url(self.url)} ({self.variable})"


class ProxyError(OSError):
    """The proxy cannot be reached, its cause says why; or it refused the tunnel, then there is a status."""

    def __init__(self, proxy: Proxy, status: int | None = None, reason: str = "") -> None:
        super().__init__(f"the proxy {proxy.label}")
        self.proxy = proxy
        self.status = status
        self.reason = reason or responses.get(status or 0, "")


def bare_host(host: str) -> str:
    """Return a host's name as it goes over the wire: in ASCII, an address without brackets."""
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for a URL that the environment, or else the system, names: `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`.

    Raises:
        ValueError: it is none that we can use.
    """
    parts = urlsplit(url)
    # The standard library's: it knows the registry of Windows and the settings of macOS, and is wary of CGI's HTTP_PROXY.
    proxies = getproxies()
    for_all = proxies.get("all", "")
    # SOCKS is often set for browsers alone.
    if not for_all.startswith(("http://", "https://")):
        for_all = ""
    value = proxies.get(parts.scheme) or for_all
    if not value:
        return None
    # The clients of a program read NO_PROXY differently: urllib knows names and `host:port`, requests IPv4 networks as well,
    # httpx2 networks of both kinds, `*.domain` and `scheme://host`, curl blanks between entries. Where any of them would go
    # straight we do, too: a proxy that was to be left out must not see what is sent.
    host = (parts.hostname or "").rstrip(".")
    # With the port and without it: urllib compares entries with what it is given.
    if proxy_bypass(parts.netloc.rpartition("@")[2]) or proxy_bypass(host):
        return None
    port = parts.port or PORTS[parts.scheme]
    entries = filter(None, re.split(r"[,;\s]+", proxies.get("no", "").lower()))
    if any(_names(entry, parts.scheme, host, port) for entry in entries):
        return None
    # `HTTPS_PROXY=proxy:8080`, which every client reads as http.
    proxy_url = value if "://" in value else f"http://{value}"
    names = (f"{parts.scheme}_proxy", f"{parts.scheme}_proxy".upper(), "all_proxy", "ALL_PROXY")
    variable = next((name for name in names if os.environ.get(name) == value), "the system's settings")
    proxy = urlsplit(proxy_url)
    if proxy.scheme not in PORTS or not proxy.hostname:
        raise ValueError(f"{variable} must be an http:// or https:// proxy, it is {redact_url(proxy_url)}")
    credentials = unquote(proxy.netloc.rpartition("@")[0])
    basic = base64.b64encode(credentials.encode()).decode("ascii")
    headers = {"Proxy-Authorization": f"Basic {basic}"} if credentials else {}
    return Proxy(proxy_url, variable, bare_host(proxy.hostname), proxy.port or PORTS[proxy.scheme], headers)


def _names(entry: str, scheme: str, host: str, port: int) -> bool:
    """Return whether an entry of NO_PROXY names a host."""
    entry_scheme, separator, rest = entry.partition("://")
    if separator:
        if entry_scheme not in ("all", scheme):
            return False
        entry = rest.rstrip("/")
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        try:
            network = ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
        except ValueError:
            return False
        return address is not None and address in network
    # `host:1`, `[::1]:1`; in `::1` there is no port.
    name, entry_port = entry, ""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        entry_port = rest.removeprefix(":")
    elif entry.count(":") == 1:
        name, _, entry_port = entry.partition(":")
    if entry_port.isascii() and entry_port.isdigit() and int(entry_port) != port:
        return False
    if address is not None:
        return _address(name) == address
    # `example.com`, `.example.com` and `*.example.com` all mean the domain and what is below it.
    domain = name.removeprefix("*").strip(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    # Behind `%` stands the interface of a link-local address.
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    # `::ffff:10.0.0.1` is 10.0.0.1.
    return getattr(address, "ipv4_mapped", None) or address
