"""What might help when a destination refuses the probe: other settings to try. Pure.

Only what stays with the same host is tried by itself: nothing of a header goes elsewhere, or unencrypted, without consent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit, urlunsplit

from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.endpoints import TRACES_PATH, endpoint_faults, redact_url
from llm_otel_broadcast.wire.advice import SUCCESS
from llm_otel_broadcast.wire.exchange import Answer
from llm_otel_broadcast.wire.network_errors import cause, is_http2, is_timeout

_GRPC_PORT: Final = 4317
_HTTP_PORT: Final = 4318
_HTTPS_PORT: Final = 443
_WRONG_CONTENT: Final = frozenset({400, 415, 422})
_UNPACKED: Final = frozenset({400, 415, 422, 500})
_WRONG_PATH: Final = frozenset({400, 404, 405, 410, 501})
_BAD_REQUEST: Final = 400
_UNSUPPORTED: Final = 415


@dataclass(frozen=True, slots=True)
class Remedy:
    """Fields to change; `is_tried`: they may be probed without asking."""

    changes: Mapping[str, object]
    is_tried: bool = True

    @property
    def label(self) -> str:
        """The change as it may be shown, without credentials in an address."""
        return " ".join(
            f"{name}={redact_url(str(value)) if name == 'endpoint' else value}" for name, value in self.changes.items()
        )


def remedies(destination: Destination, answer: Answer) -> Iterator[Remedy]:
    """Yield what might help, the likeliest first."""
    endpoint = destination.endpoint or ""
    status = answer.status
    if status is None:
        yield from _of_ports(endpoint, answer)
        return
    if answer.location:
        yield from _of_redirect(endpoint, answer.location)
    # A server of HTTPS was spoken to without TLS; nginx says so: "plain HTTP request was sent to HTTPS port".
    parts = urlsplit(endpoint)
    says_so = status == _BAD_REQUEST and "https" in answer.excerpt.lower()
    if parts.scheme == "http" and (says_so or parts.port == _HTTPS_PORT):
        yield Remedy({"endpoint": _secured(endpoint)})
    # Some receivers take gzip for a broken body, and one answers 500.
    if destination.compression == "gzip" and status in _UNPACKED:
        yield Remedy({"compression": "none"})
    if status in _WRONG_CONTENT and not (destination.encoding == "auto" and status == _UNSUPPORTED):
        yield Remedy({"encoding": "json" if destination.encoding == "protobuf" else "protobuf"})
    if status in _WRONG_PATH or answer.is_page or (answer.kind == "refused" and status in SUCCESS):
        path = parts.path.rstrip("/")
        # An endpoint to which a program has added the path that it had already.
        paths = [path[: -len(TRACES_PATH)]] if path.endswith(TRACES_PATH + TRACES_PATH) else []
        if path.endswith(TRACES_PATH):
            paths.append(path)
        else:
            # The intake of another signal, or the base address that OTEL_EXPORTER_OTLP_ENDPOINT has.
            stem = path.removesuffix("/logs").removesuffix("/metrics").removesuffix("/traces").removesuffix("/v1")
            paths += [stem + TRACES_PATH, TRACES_PATH]
        other_paths = [other for other in dict.fromkeys(paths) if other != parts.path]
        endpoints = [urlunsplit(parts._replace(path=other)) for other in other_paths]
        yield from (Remedy({"endpoint": other}) for other in endpoints)
        # VictoriaTraces says so to both mistakes, a wrong path and JSON.
        if status == _BAD_REQUEST and destination.encoding != "protobuf":
            yield from (Remedy({"endpoint": other, "encoding": "protobuf"}) for other in endpoints)


def _of_redirect(endpoint: str, location: str) -> Iterator[Remedy]:
    """Yield where the server points to, if that could be an intake: the same path elsewhere, or a path of traces."""
    target = urljoin(endpoint, location)
    if endpoint_faults(target):
        return
    current, redirected = urlsplit(endpoint), urlsplit(target)
    path = redirected.path.rstrip("/")
    # Anything else is a login, or the front page of a website.
    if path != current.path.rstrip("/") and not path.endswith(TRACES_PATH):
        return
    same_host = current.hostname == redirected.hostname
    is_weaker = current.scheme == "https" and redirected.scheme == "http"
    # Another host, or one without TLS, would be shown the key: that is for the user to decide.
    yield Remedy({"endpoint": target}, is_tried=same_host and not is_weaker)


def _of_ports(endpoint: str, answer: Answer) -> Iterator[Remedy]:
    """Yield another port or scheme where what answered was no HTTP."""
    parts = urlsplit(endpoint)
    # Where nothing listens, another port of the same server is a guess.
    if answer.error is None or cause(answer.error, ConnectionRefusedError):
        return
    # The commonest mistake: both ports of a collector stand side by side in its documentation.
    if parts.port == _GRPC_PORT:
        yield Remedy({"endpoint": with_port(endpoint, _HTTP_PORT)})
    # A server of HTTPS closes a connection that does not begin with a handshake; one of HTTP/2 answers in frames.
    elif parts.scheme == "http" and not is_timeout(answer.error) and not is_http2(answer.error):
        yield Remedy({"endpoint": _secured(endpoint)})


def _secured(endpoint: str) -> str:
    return urlunsplit(urlsplit(endpoint)._replace(scheme="https"))


def with_port(endpoint: str, port: int) -> str:
    """Return the URL with another port."""
    parts = urlsplit(endpoint)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return urlunsplit(parts._replace(netloc=f"{host}:{port}"))
