"""Endpoints as URLs: checked, completed, and shown without the secrets that a URL may hold. Pure."""

from __future__ import annotations

import base64
import re
from typing import Final, Literal, NamedTuple, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

Encoding: TypeAlias = Literal["auto", "json", "protobuf"]
Compression: TypeAlias = Literal["none", "gzip"]
TRACES_PATH: Final = "/v1/traces"


class VerbatimEndpoint(str):
    """An endpoint to which nothing is added, not even where it has no path: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`."""

    __slots__ = ()


class CompleteEndpoint(NamedTuple):
    """The URL that requests go to, and the `Authorization` header that its user information stands for, if it has any."""

    url: str
    authorization: str | None


def complete_endpoint(endpoint: str) -> CompleteEndpoint:
    """Return the URL to post to: the traces path added where there is no path, user information and fragment taken out."""
    parts = urlsplit(endpoint.strip())
    # `replace()` completes a destination again: the endpoint must stay verbatim then.
    url_type = VerbatimEndpoint if isinstance(endpoint, VerbatimEndpoint) else str
    if parts.path in ("", "/"):
        parts = parts._replace(path="/" if url_type is VerbatimEndpoint else TRACES_PATH)
    credentials, separator, host = parts.netloc.rpartition("@")
    # A fragment is for the client itself: no request has one (RFC 9110, section 7.1).
    url = url_type(urlunsplit(parts._replace(netloc=host, fragment="")))
    # A URL holds user information percent-encoded (RFC 3986, section 3.2.1); the header takes it decoded, in base64 (RFC 7617,
    # section 2).
    encoded = base64.b64encode(unquote(credentials).encode()).decode("ascii")
    return CompleteEndpoint(url, f"Basic {encoded}" if separator else None)


def redact_url(url: str) -> str:
    """Return the URL without user information, query and fragment, which may hold secrets."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        # `hostname` drops the brackets of an IPv6 address.
        host = f"[{host}]" if ":" in host else host
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        scheme, separator, rest = url.partition("://")
        # Nothing is shown of a text that is no URL where user information cannot be told from the rest.
        if not separator or "@" in rest:
            return "***"
        return f"{scheme}://{re.split('[?#]', rest, maxsplit=1)[0]}"
    if not parts.scheme or not host:
        return url.rpartition("@")[2].partition("?")[0]
    return urlunsplit(SplitResult(parts.scheme, f"{host}{port}", parts.path, "", ""))


def endpoint_faults(endpoint: object) -> list[str]:
    """Say what is wrong with an endpoint, nothing when it is fine."""
    if not isinstance(endpoint, str):
        return [f"endpoint must be a URL as text, got {type(endpoint).__name__}"]
    redacted = redact_url(endpoint)
    try:
        parts = urlsplit(endpoint.strip())
        # `urlsplit` takes any port; reading it raises where it is no number up to 65535.
        _ = parts.port
    except ValueError as error:
        return [f'endpoint "{redacted}" is not a URL: {error}']
    if parts.scheme not in ("http", "https"):
        return [
            f'endpoint "{redacted}" needs http:// or https:// in front, e.g. "http://{redacted.rpartition("://")[2]}"'
        ]
    if not parts.hostname:
        return [f'endpoint "{redacted}" names no host']
    # They would end the request line or the header early, or cannot be encoded at all.
    if any(character <= " " or "\ud800" <= character <= "\udfff" for character in endpoint.strip()):
        return [
            f'endpoint "{redacted.encode("unicode_escape").decode()}" contains white space or control characters: remove them'
        ]
    return []
