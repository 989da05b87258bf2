"""From a host's name to a connected socket, in bounded time also where a resolver or the first of several addresses is dead."""

from __future__ import annotations

import errno
import ipaddress
import itertools
import os
import selectors
import socket
import threading
import time
from collections.abc import Sequence
from typing import Final, TypeAlias, cast

# How long the next address waits for its predecessor, as RFC 8305, section 5, recommends.
_NEXT_ADDRESS_S: Final = 0.25
# What a connection that does not block answers while it is under way; the last one is Windows'.
_PENDING: Final = frozenset(
    {0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN, getattr(errno, "WSAEWOULDBLOCK", 0)}
)

SocketAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
AddressInfo: TypeAlias = tuple[socket.AddressFamily, socket.SocketKind, int, str, SocketAddress]
"""A row of `socket.getaddrinfo`: family, kind, protocol, canonical name, address."""

_lookups: dict[tuple[str, int], _Lookup] = {}


class _Lookup(threading.Thread):
    """A call of the system's resolver, which has no timeout of its own: with a dead server it takes 10 s or more."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(name="llm-otel-broadcast resolver", daemon=True)
        self._host = host
        self._port = port
        self.addresses: Sequence[AddressInfo] | None = None
        self.error: OSError | UnicodeError = socket.gaierror(socket.EAI_AGAIN, "the resolver failed")

    def run(self) -> None:
        try:
            self.addresses = _getaddrinfo(self._host, self._port)
        except (OSError, UnicodeError) as error:
            self.error = error


def resolve(host: str, port: int, timeout: float) -> Sequence[AddressInfo]:
    """Return the addresses of a host in the form of `socket.getaddrinfo`.

    Args:
        host: a name or an address.
        port: a number.
        timeout: seconds to wait for the resolver. It goes on in the background; who asks again waits for the same call.

    Raises:
        TimeoutError: the resolver takes longer.
        OSError: the name is not known.
        UnicodeError: no such name can exist.
    """
    if is_address(host):
        return _getaddrinfo(host, port)
    # One call for all who ask meanwhile: threads that wait for a dead resolver must not pile up.
    lookup = _lookups.get((host, port))
    if lookup is None or not lookup.is_alive():
        lookup = _Lookup(host, port)
        try:
            lookup.start()
        except RuntimeError:
            # At the end of the process Python starts no thread any more.
            return _getaddrinfo(host, port)
        _lookups[host, port] = lookup
    lookup.join(timeout)
    if lookup.is_alive():
        raise TimeoutError(f"the name {host} was not resolved in time")
    _lookups.pop((host, port), None)
    if lookup.addresses is None:
        raise lookup.error
    return lookup.addresses


def is_address(host: str) -> bool:
    """Return whether a host is an address already."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _getaddrinfo(host: str, port: int) -> Sequence[AddressInfo]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def connect(addresses: Sequence[AddressInfo], timeout: float) -> tuple[socket.socket, SocketAddress]:
    """Connect to the first address that answers; each further one is tried a quarter of a second after the one before.

    Args:
        addresses: as `resolve` returns them.
        timeout: seconds for all of them together.

    Returns:
        The socket, and the address as the system has it.

    Raises:
        TimeoutError: none answered in time.
        OSError: the last one's refusal.
    """
    deadline = time.monotonic() + timeout
    # Side by side, as a first address that swallows packets would use up the time of all ("Happy Eyeballs", RFC 8305).
    # The families in turn (RFC 8305, section 4): one that leads nowhere delays the other little.
    families = dict.fromkeys(address[0] for address in addresses)
    rows = [[address for address in addresses if address[0] == family] for family in families]
    attempts = _Attempts([address for row in itertools.zip_longest(*rows) for address in row if address is not None])
    try:
        while attempts.go_on():
            if time.monotonic() >= deadline:
                raise TimeoutError("no address answered in time")
            connected = attempts.wait(deadline)
            if connected is not None:
                return connected
        raise attempts.error
    finally:
        attempts.close()


class _Attempts:
    """Connections that are being made side by side; `error`: the last refusal."""

    def __init__(self, addresses: list[AddressInfo]) -> None:
        self._waiting = addresses
        self._open: dict[socket.socket, SocketAddress] = {}
        self._selector = selectors.DefaultSelector()
        self._next_start = 0.0
        self.error: OSError = OSError("no address")

    def go_on(self) -> bool:
        """Try the next address if it is its turn; return whether there is anything to wait for."""
        while self._waiting and (not self._open or time.monotonic() >= self._next_start):
            family, kind, protocol, _, address = self._waiting.pop(0)
            self._next_start = time.monotonic() + _NEXT_ADDRESS_S
            try:
                attempt = socket.socket(family, kind, protocol)
                self._open[attempt] = address
                # Not blocking: the selector waits for all attempts at once.
                attempt.settimeout(0.0)
                code = attempt.connect_ex(address)
                if code in _PENDING:
                    self._selector.register(attempt, selectors.EVENT_WRITE)
                else:
                    self._fail(attempt, code)
            except OSError as refusal:
                self.error = refusal
        return bool(self._open)

    def wait(self, deadline: float) -> tuple[socket.socket, SocketAddress] | None:
        """Wait until an attempt has ended, it is the next address's turn, or the deadline (monotonic)."""
        until = min(deadline, self._next_start) if self._waiting else deadline
        for key, _ in self._selector.select(max(0.0, until - time.monotonic())):
            attempt = cast("socket.socket", key.fileobj)
            self._selector.unregister(attempt)
            code = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code:
                # Head and body go out one after the other: Nagle's algorithm would hold the second back until the first has
                # been acknowledged.
                attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return attempt, self._open.pop(attempt)
            self._fail(attempt, code)
        return None

    def _fail(self, attempt: socket.socket, code: int) -> None:
        attempt.close()
        del self._open[attempt]
        # The next address need not wait for one that has refused already.
        self.error, self._next_start = OSError(code, os.strerror(code)), 0.0

    def close(self) -> None:
        self._selector.close()
        for attempt in self._open:
            attempt.close()
