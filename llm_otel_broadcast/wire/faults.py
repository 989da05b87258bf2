"""What went wrong on the way to a server, in words. Pure."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from http.client import BadStatusLine, LineTooLong, RemoteDisconnected
from typing import Final, TypeVar

from urllib3.exceptions import HTTPError, IncompleteRead, NewConnectionError
from urllib3.exceptions import TimeoutError as TooSlow

from llm_otel_broadcast.wire.route import UnusableFileError

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
_NOT_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
_CLIENT_WANTED: Final = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE")
_CLIENT_REFUSED: Final = ("ALERT_UNKNOWN_CA", "ALERT_BAD_CERTIFICATE", "CERTIFICATE_EXPIRED", "CERTIFICATE_UNKNOWN")
_VERSIONS: Final = ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE")
_HTTP2: Final = "\0\0"
"""How HTTP/2's frames begin, those of a gRPC server's greeting for one; no text does."""


def reason_of(error: BaseException) -> str:
    """Name an error without the URL that urllib3 puts into its text."""
    for known in (UnusableFileError, ssl.SSLError, BadStatusLine, LineTooLong):
        found = cause(error, known)
        if found is not None:
            return _told(found)
    if cause(error, socket.gaierror):
        return "its name is not known"
    if cause(error, ConnectionRefusedError):
        return "connection refused"
    if is_timeout(error):
        return "timeout"
    proxy = next((str(one) for one in causes(error) if str(one).startswith("Tunnel connection failed")), None)
    if proxy is not None:
        return f"the proxy refused: {proxy.partition(': ')[2]}"
    if cause(error, RemoteDisconnected) or cause(error, ConnectionError):
        return "it closed the connection"
    if cause(error, IncompleteRead):
        return "it closed the connection in the middle of its answer"
    return "no connection" if cause(error, NewConnectionError) else type(inner(error)).__name__


def _told(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return tls_reason(error)
    if isinstance(error, RemoteDisconnected):
        return "it closed the connection"
    if is_http2(error):
        return "it speaks HTTP/2 only, as gRPC does: OTLP/HTTP usually has port 4318"
    return str(error) if isinstance(error, UnusableFileError) else "it does not speak HTTP"


def tls_reason(error: ssl.SSLError) -> str:
    """Say what is wrong with a TLS connection, and what can be done."""
    reason = error.reason or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        told = _VERIFYING.get(error.verify_code, f"its certificate is refused: {error.verify_message}")
        names = error.verify_message if error.verify_code in (62, 64) else ""
        return f"{told} ({names.rstrip('.')})" if names else told
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
    nowhere = cause(error, NewConnectionError)  # with urllib3 1.26 that is a timeout too
    return bool(cause(error, TimeoutError) or (cause(error, TooSlow) and not nowhere))


def is_no_tls(error: BaseException) -> bool:
    """Return whether the server answered TLS with something else."""
    found = cause(error, ssl.SSLError)
    return found is not None and any(part in (found.reason or "") for part in _NOT_TLS)


def is_http2(error: BaseException) -> bool:
    """Return whether the server answered HTTP/1 with HTTP/2."""
    found = cause(error, BadStatusLine)
    return found is not None and str(getattr(found, "line", "")).strip("'\"").startswith((_HTTP2, r"\x00\x00"))


def cause(error: BaseException, kind: type[Fault]) -> Fault | None:
    """Return the first error of a kind among an error and what it came from."""
    return next((one for one in causes(error) if isinstance(one, kind)), None)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Go through an error and what it came from, which libraries put in various places."""
    pending, seen = [error], set[int]()
    while pending:
        one = pending.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        near = (*one.args, getattr(one, "reason", None), getattr(one, "original_error", None))
        pending += [part for part in (*near, one.__cause__, one.__context__) if isinstance(part, BaseException)]


def inner(error: BaseException) -> BaseException:
    """Return what a wrapper of urllib3's is about."""
    found = getattr(error, "reason", None)
    return found if isinstance(error, HTTPError) and isinstance(found, BaseException) else error
