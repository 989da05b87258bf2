"""What went wrong on the way to a server, in words. Pure."""

from __future__ import annotations

import socket
import ssl
import zlib
from collections.abc import Iterator
from http.client import BadStatusLine, HTTPException, IncompleteRead, LineTooLong, RemoteDisconnected
from typing import Final, TypeVar

from llm_otel_broadcast.wire.proxies import ProxyError
from llm_otel_broadcast.wire.tls import UnusableFileError

Fault = TypeVar("Fault", bound=BaseException)
# X509_V_ERR_* of OpenSSL.
_VERIFYING: Final = {
    9: "its certificate is not valid yet: is the clock of this machine right?",
    10: "its certificate has expired",
    18: "its certificate is signed by itself: give it as certificate=",
    19: "its certificate comes from an authority that is not known here: give that one's as certificate=",
    20: "its certificate comes from an authority that is not known here: give that one's as certificate=",
    21: "its certificate comes from an authority that is not known here: give that one's as certificate=",
    62: "its certificate is for another host",
    64: "its certificate is for another host",
}
# Parts of OpenSSL's reasons, whose whole names differ between its versions.
_NOT_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
_CLIENT_WANTED: Final = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE")
_CLIENT_REFUSED: Final = ("ALERT_UNKNOWN_CA", "ALERT_BAD_CERTIFICATE", "CERTIFICATE_EXPIRED", "CERTIFICATE_UNKNOWN")
_VERSIONS: Final = ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE")
# How HTTP/2's frames begin, those of a gRPC server's greeting for one; no text does.
_HTTP2: Final = "\0\0"
_PROXY_WANTS_CREDENTIALS: Final = 407
_HTTP2_ONLY: Final = "it speaks HTTP/2 only, as gRPC does: OTLP/HTTP usually has port 4318"
# In this order: most are subclasses of OSError, and some of one another.
_REASONS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (IncompleteRead, "it closed the connection in the middle of its answer"),
    (RemoteDisconnected, "it closed the connection"),
    (BadStatusLine, "it does not speak HTTP"),
    (LineTooLong, "it does not speak HTTP"),
    (socket.gaierror, "its name is not known"),
    (UnicodeError, "its name is not known"),
    (ConnectionRefusedError, "connection refused"),
    (TimeoutError, "timeout"),
    (ConnectionError, "it closed the connection"),
    (zlib.error, "it is not packed as it says"),
    (HTTPException, "it does not speak HTTP"),
)
# What can be done, where the reason does not say it.
_ADVICE: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (socket.gaierror, "is the host name right?"),
    (ConnectionRefusedError, "does it run, and is the port right?"),
    (TimeoutError, "is a firewall in between, or does it need a longer timeout=?"),
)


def reason_of(error: BaseException) -> str:
    """Name an error; one of the proxy's as such."""
    of_proxy = cause(error, ProxyError)
    if of_proxy is not None and of_proxy.status is None:
        why = reason_of(of_proxy.__cause__) if of_proxy.__cause__ is not None else "no connection"
        return f"the proxy {of_proxy.proxy.label}: {why}"
    if of_proxy is not None:
        wants = (
            ": it wants a name and password, http://name:password@host" if is_proxy_login(of_proxy.status or 0) else ""
        )
        return f"the proxy {of_proxy.proxy.label} answered {of_proxy.status} {of_proxy.reason}".rstrip() + wants
    # These two say themselves what is wrong, and may come wrapped in another error.
    unusable, tls_error = cause(error, UnusableFileError), cause(error, ssl.SSLError)
    if unusable is not None:
        return str(unusable)
    if tls_error is not None:
        return tls_reason(tls_error)
    for kind, reason in _REASONS:
        if cause(error, kind):
            return _HTTP2_ONLY if kind is BadStatusLine and is_http2(error) else reason
    return getattr(error, "strerror", None) or type(error).__name__


def advice_on(error: BaseException) -> str:
    """Say what can be done about an error; empty where its reason says it, or nothing can."""
    if cause(error, ProxyError) or cause(error, ssl.SSLError):
        return ""
    return next((advice for kind, advice in _ADVICE if cause(error, kind)), "")


def is_proxy_login(status: int) -> bool:
    """Return whether a proxy asks for credentials."""
    return status == _PROXY_WANTS_CREDENTIALS


def tls_reason(error: ssl.SSLError) -> str:
    """Say what is wrong with a TLS connection, and what can be done."""
    reason = error.reason or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        problem = _VERIFYING.get(error.verify_code, f"its certificate is refused: {error.verify_message}")
        # Which names a certificate is for is in OpenSSL's own words.
        names = error.verify_message if error.verify_code in (62, 64) else ""
        return f"{problem} ({names.rstrip('.')})" if names else problem
    if any(part in reason for part in _NOT_TLS):
        return "it does not speak TLS: is it http:// instead of https://?"
    if any(part in reason for part in _CLIENT_WANTED):
        return "it demands a client certificate: give client_certificate= and client_key="
    if any(part in reason for part in _CLIENT_REFUSED):
        return "it refuses the client certificate"
    if any(part in reason for part in _VERSIONS):
        return "it speaks no version of TLS that is safe"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "it closed the connection during the TLS handshake"
    return f"TLS failed ({reason or type(error).__name__})"


def is_timeout(error: BaseException) -> bool:
    """Return whether there was no answer in time."""
    return cause(error, TimeoutError) is not None


def is_no_tls(error: BaseException) -> bool:
    """Return whether the server answered TLS with something else."""
    tls_error = cause(error, ssl.SSLError)
    return tls_error is not None and any(part in (tls_error.reason or "") for part in _NOT_TLS)


def is_http2(error: BaseException) -> bool:
    """Return whether the server answered HTTP/1 with HTTP/2."""
    bad_line = cause(error, BadStatusLine)
    return bad_line is not None and str(getattr(bad_line, "line", "")).strip("'\"").startswith((_HTTP2, r"\x00\x00"))


def cause(error: BaseException, kind: type[Fault]) -> Fault | None:
    """Return the first error of a kind among an error and what it came from."""
    return next((candidate for candidate in causes(error) if isinstance(candidate, kind)), None)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Go through an error and what it came from, its arguments included."""
    # Wrappers carry the real error as an argument or as their cause, and such chains may be circular.
    pending, visited = [error], set[int]()
    while pending:
        current = pending.pop(0)
        if id(current) in visited:
            continue
        visited.add(id(current))
        yield current
        near = (*current.args, current.__cause__, None if current.__suppress_context__ else current.__context__)
        pending += [part for part in near if isinstance(part, BaseException)]
