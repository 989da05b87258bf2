"""From a URL to a connection that could be used: name, proxy, connect, TLS, each a step of its own.

The connection is only looked at and closed; the probe then goes the way of all requests, with the same proxy and certificates.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from http.client import HTTPException
from typing import Final, cast
from urllib.parse import urlsplit, urlunsplit

from llm_otel_broadcast.connection.report import Step, StepError, timed
from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.endpoints import redact_url
from llm_otel_broadcast.wire.addresses import AddressInfo, connect, is_address, resolve
from llm_otel_broadcast.wire.connection import open_tunnel
from llm_otel_broadcast.wire.network_errors import is_no_tls, is_proxy_login, reason_of
from llm_otel_broadcast.wire.proxies import PORTS, Proxy, bare_host, proxy_for
from llm_otel_broadcast.wire.tls import tls_context

_MAX_LISTED_ADDRESSES: Final = 3
_REFUSAL_WAIT_S: Final = 0.15
_OK: Final = 200


class Reaching:
    """Goes the steps to one destination; `failure` has why the last one failed."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._url = urlsplit(destination.endpoint or "")
        self._host = bare_host(self._url.hostname or "")
        self._port = self._url.port or PORTS.get(self._url.scheme, 80)
        self._timeout = destination.timeout
        self._proxy: Proxy | None = None
        self._addresses: Sequence[AddressInfo] = []
        self._socket: socket.socket | None = None
        self.failure: StepError | None = None

    def steps(self) -> Iterator[Step]:
        """Yield one step after the other until one fails."""
        steps = [("URL", self._look_at_url), ("name", self._resolve), ("connect", self._connect)]
        steps += [("proxy", self._pass_proxy), ("TLS", self._secure)] if self._url.scheme == "https" else []
        try:
            for name, action in steps:
                # TLS inside the TLS of a proxy is left to the probe.
                is_proxy_secured = self._proxy is not None and self._proxy.url.startswith("https:")
                # Steps that would say nothing. Decided before each one, because only the first finds the proxy.
                is_needless = {
                    "name": is_address(self._reached()[0]),
                    "proxy": self._proxy is None or is_proxy_secured,
                    "TLS": is_proxy_secured,
                }
                if is_needless.get(name):
                    continue
                step, self.failure = timed(name, action)
                yield step
                if self.failure is not None:
                    return
        finally:
            # Closing a TLS connection may fail where the server has broken it off.
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.close()

    def _reached(self) -> tuple[str, int]:
        return (self._proxy.host, self._proxy.port) if self._proxy else (self._host, self._port)

    def _look_at_url(self) -> str:
        url = redact_url(urlunsplit(self._url))
        try:
            self._proxy = proxy_for(urlunsplit(self._url))
        except ValueError as error:
            raise StepError(f"{error}: unset it, or name the host in NO_PROXY") from None
        return f"{url}, through the proxy {self._proxy.label}" if self._proxy else url

    def _resolve(self) -> str:
        host, port = self._reached()
        whose = "the proxy's name" if self._proxy else "the name"
        try:
            self._addresses = resolve(host, port, self._timeout)
        except TimeoutError:
            raise StepError(f"{whose} {host} is not resolved within {self._timeout:g} s: is DNS reachable?") from None
        except (OSError, UnicodeError) as error:
            reason = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
            raise StepError(f"{whose} {host} is not known{reason}: is it spelt right?") from None
        ips = list(dict.fromkeys(str(address[4][0]) for address in self._addresses))
        listed = ", ".join(ips[:_MAX_LISTED_ADDRESSES])
        return f"{host} is {listed}" + (" and others" if len(ips) > _MAX_LISTED_ADDRESSES else "")

    def _connect(self) -> str:
        host, port = self._reached()
        # Without a step for the name the address is one already, and resolving takes no time.
        deadline = time.monotonic() + self._timeout
        try:
            addresses = self._addresses or resolve(host, port, self._timeout)
            self._socket, address = connect(addresses, max(0.01, deadline - time.monotonic()))
        except OSError as error:
            peer = f"{'the proxy ' if self._proxy else ''}{host} port {port}"
            if isinstance(error, ConnectionRefusedError):
                raise StepError(f"connection refused: nothing listens at {peer}") from None
            if isinstance(error, TimeoutError):
                silence = f"does not answer within {self._timeout:g} s: a firewall, or the wrong address?"
                raise StepError(f"{peer} {silence}") from None
            raise StepError(f"no connection to {peer} ({error.strerror or type(error).__name__})") from None
        return f"{address[0]} port {port}" + (" (the proxy)" if self._proxy else "")

    def _pass_proxy(self) -> str:
        """Ask the proxy for a tunnel."""
        proxy, sock = self._proxy, self._socket
        if proxy is None or sock is None:
            raise StepError("there is no connection")
        target = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        try:
            status, reason = open_tunnel(sock, proxy, self._host, self._port, time.monotonic() + self._timeout)
        except OSError as error:
            raise StepError(f"the proxy {proxy.label} does not answer ({reason_of(error)})") from None
        except HTTPException:
            raise StepError(f"the proxy {proxy.label} does not speak HTTP") from None
        if status != _OK:
            wants = ": it wants a name and password, http://name:password@host" if is_proxy_login(status) else ""
            raise StepError(f"the proxy {proxy.label} answered {status} {reason}".rstrip() + wants)
        return f"{proxy.label} connects to {target}"

    def _secure(self) -> str:
        if self._socket is None:
            raise StepError("there is no connection")
        try:
            context = tls_context(self._destination)
            context.check_hostname = True
            # The lane's own way has one time limit for connecting and TLS; here each step has its own, so as to name it.
            self._socket.settimeout(self._timeout)
            start = time.monotonic()
            self._socket = secured = context.wrap_socket(self._socket, server_hostname=self._host)
            # With TLS 1.3 a server looks at the client's certificate after we think we are done: time to refuse us. Up to
            # TLS 1.2 a refusal is part of the handshake.
            if secured.version() == "TLSv1.3":
                secured.settimeout(_REFUSAL_WAIT_S + 2 * (time.monotonic() - start))
                # Silence, or a server that hangs up after the handshake, is none: it waits for a request.
                with suppress(TimeoutError, ConnectionError):
                    secured.recv(1)

        except (OSError, ValueError) as error:
            # Suggested, never tried by itself: without TLS everybody on the way can read the key.
            plain = urlunsplit(self._url._replace(scheme="http"))
            raise StepError(reason_of(error), {"endpoint": plain} if is_no_tls(error) else None) from None
        version = str(secured.version()).replace("TLSv", "TLS ")
        # Whose certificate it is and until when.
        certificate = secured.getpeercert() or {}
        alternative_names = cast("Iterable[tuple[str, str]]", certificate.get("subjectAltName", ()))
        names = [name for kind, name in alternative_names if kind in ("DNS", "IP Address")]
        until = certificate.get("notAfter")
        if not isinstance(until, str):
            return version
        day = time.strftime("%Y-%m-%d", time.gmtime(ssl.cert_time_to_seconds(until)))
        return f"{version}, certificate{f' of {names[0]}' if names else ''} until {day}"
