"""The OpenTelemetry environment variables that name a destination (OTLP exporter specification).

They are written for others: for the programs of all languages on a host, and by distributions on their own. So nothing in
them is an error. What cannot be used is left out and named once in a warning; the rest is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.endpoints import TRACES_PATH, VerbatimEndpoint, endpoint_faults, redact_url
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.headers import read_entries
from llm_otel_broadcast.settings.validators import FILE_OR_NONE

EXPORTER: Final = "OTEL_TRACES_EXPORTER"
_PREFIX: Final = "OTEL_EXPORTER_OTLP_"
_DEFAULT_TIMEOUT_S: Final = 10.0
_MAX_TIMEOUT_S: Final = 3600.0
# The specification counts `..._TIMEOUT` in milliseconds, OpenTelemetry's Python exporters in seconds. A timeout of
# 1000 seconds makes no sense and one of 1000 milliseconds does, so from here on it is milliseconds, and below it is
# seconds.
_MILLISECONDS_FROM: Final = 1000.0
_GRPC_PORT: Final = 4317
_HTTP_PORT: Final = 4318
_ENCODINGS: Final[Mapping[str, Literal["json", "protobuf"]]] = {"http/json": "json", "http/protobuf": "protobuf"}


class AmbientDestination(NamedTuple):
    """What the environment names: a destination, None when it names none that can be used, and what was left out of it."""

    destination: Destination | None = None
    warnings: tuple[str, ...] = ()


class _Variables:
    """The variables of the exporter; the one for traces counts before the one for all signals."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.warnings: list[str] = []

    def name(self, option: str) -> str:
        """Return the name of the variable that sets an option."""
        own = f"{_PREFIX}TRACES_{option}"
        return own if self._environ.get(own, "").strip() else f"{_PREFIX}{option}"

    def text(self, option: str) -> str:
        """Return the value of an option's variable, empty when it is not set."""
        return self._environ.get(self.name(option), "").strip()

    def warn(self, option: str, problem: str) -> None:
        self.warnings.append(f"{self.name(option)}: {problem}")


def destination_from(environ: Mapping[str, str]) -> AmbientDestination:
    """Return the destination the environment names. Raises nothing.

    `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is used verbatim; `OTEL_EXPORTER_OTLP_ENDPOINT` always gets `/v1/traces`, before its
    query. Neither counts where `OTEL_TRACES_EXPORTER` names other exporters than `otlp`, or `none`. Headers
    (`..._TRACES_HEADERS` over `..._HEADERS`) are comma-separated `key=value` pairs, URL-encoded. `..._PROTOCOL`
    `http/protobuf` or `http/json` fixes the encoding; with `grpc`, OTLP/HTTP is sent, to port 4318 instead of 4317.
    `..._COMPRESSION` `gzip`, `..._TIMEOUT` (milliseconds from 1000 on, below that seconds), `..._CERTIFICATE`,
    `..._CLIENT_CERTIFICATE` and `..._CLIENT_KEY` (files) apply.
    """
    variables = _Variables(environ)
    if not variables.text("ENDPOINT"):
        return AmbientDestination()
    if is_switched_off(environ):
        stated = environ[EXPORTER].strip()
        return AmbientDestination(warnings=(f"{EXPORTER}={stated}: nothing is sent to {variables.name('ENDPOINT')}",))
    faults = endpoint_faults(variables.text("ENDPOINT"))
    if faults:
        variables.warn("ENDPOINT", f"{'; '.join(faults)}. Nothing is sent there")
        return AmbientDestination(warnings=tuple(variables.warnings))
    protocol = variables.text("PROTOCOL").lower()
    encoding = _encoding(variables, protocol)
    # One entry that is written wrongly takes no other with it.
    headers, header_faults = read_entries(variables.text("HEADERS"))
    for fault in header_faults:
        variables.warn("HEADERS", f"{fault}; this entry is left out")
    compression = variables.text("COMPRESSION").lower()
    if compression not in ("", "none", "gzip"):
        variables.warn("COMPRESSION", f'"{compression}" is not sent from here: gzip or none; nothing is compressed')
    timeout, certificate = _timeout(variables), _file(variables, "CERTIFICATE")
    client_certificate, client_key = _client_files(variables)
    try:
        destination = Destination(
            endpoint=_endpoint(variables, is_grpc=protocol == "grpc"),
            encoding=encoding,
            headers=headers,
            compression="gzip" if compression == "gzip" else "none",
            timeout=timeout,
            certificate=certificate,
            client_certificate=client_certificate,
            client_key=client_key,
        )
    except ConfigError as wrong:
        variables.warnings += [f"{variables.name('ENDPOINT')}: {fault}" for fault in wrong.faults]
        return AmbientDestination(warnings=tuple(variables.warnings))
    return AmbientDestination(destination, tuple(variables.warnings))


def is_switched_off(environ: Mapping[str, str]) -> bool:
    """Return whether `OTEL_TRACES_EXPORTER` wants traces elsewhere than at OTLP's endpoint, or nowhere.

    It is a list; `otlp_proto_http` and the like are Python's own names of the same exporter. Unset, it means `otlp`.
    """
    names = [name.strip().lower() for name in environ.get(EXPORTER, "").split(",")]
    return any(names) and not any(name.startswith("otlp") for name in names)


def _endpoint(variables: _Variables, *, is_grpc: bool) -> str:
    parts = urlsplit(variables.text("ENDPOINT"))
    # Only the variable for traces is a complete URL; the common one is a base URL (OTLP exporter specification).
    is_verbatim = "_TRACES_" in variables.name("ENDPOINT") and not is_grpc
    if is_verbatim:
        return VerbatimEndpoint(urlunsplit(parts))
    # The default ports of OTLP: 4317 for gRPC, 4318 for HTTP (OTLP specification).
    if is_grpc and parts.port == _GRPC_PORT:
        parts = parts._replace(netloc=parts.netloc.removesuffix(f":{_GRPC_PORT}") + f":{_HTTP_PORT}")
    path = parts.path.rstrip("/")
    # With gRPC the endpoint is a base URL, to which somebody may have added the path of HTTP already.
    parts = parts._replace(path=path if is_grpc and path.endswith(TRACES_PATH) else path + TRACES_PATH)
    return urlunsplit(parts)


def _encoding(variables: _Variables, protocol: str) -> Literal["auto", "json", "protobuf"]:
    if protocol == "grpc":
        variables.warn(
            "PROTOCOL",
            "grpc: the environment's destination gets OTLP/HTTP, "
            f"sent to {redact_url(_endpoint(variables, is_grpc=True))}. Say http/protobuf and the HTTP port (usually "
            f"{_HTTP_PORT}), or pass destinations=[Destination(exporter=OTLPSpanExporter())] with the gRPC exporter",
        )
    elif protocol and protocol not in _ENCODINGS:
        variables.warn("PROTOCOL", f'"{protocol}" is no protocol of OTLP: http/protobuf or http/json; left out')
    return _ENCODINGS.get(protocol, "auto")


def _timeout(variables: _Variables) -> float:
    text = variables.text("TIMEOUT")
    if not text:
        return _DEFAULT_TIMEOUT_S
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    seconds = number / 1000 if number >= _MILLISECONDS_FROM else number
    if 0 < seconds <= _MAX_TIMEOUT_S:
        return max(seconds, 0.001)
    variables.warn(
        "TIMEOUT",
        f'"{text}" is no time to wait: milliseconds from {_MILLISECONDS_FROM:g} on, below that seconds; '
        f"{_DEFAULT_TIMEOUT_S:g} s count instead",
    )
    return _DEFAULT_TIMEOUT_S


def _client_files(variables: _Variables) -> tuple[str | None, str | None]:
    """Return a client's certificate and its key, if they are there: only both together, unless one file holds both."""
    options = ("CLIENT_CERTIFICATE", "CLIENT_KEY")
    certificate, key = (_file(variables, option) for option in options)
    # Half of a client certificate would fail at each connection.
    if any(variables.text(option) and file is None for option, file in zip(options, (certificate, key), strict=True)):
        return None, None
    if key is not None and certificate is None:
        variables.warn(
            "CLIENT_KEY", "it needs the certificate that it is the key of, in ..._CLIENT_CERTIFICATE; left out"
        )
        return None, None
    return certificate, key


def _file(variables: _Variables, option: str) -> str | None:
    text = variables.text(option)
    if not text:
        return None
    if not FILE_OR_NONE.faults(option, text):
        return text
    instead = "the system's authorities count" if option == "CERTIFICATE" else "no client certificate is shown"
    variables.warn(option, f'"{text}": there is no such file; {instead}')
    return None
