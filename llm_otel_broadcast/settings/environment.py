"""The OpenTelemetry environment variables that name a destination (OTLP exporter specification)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from llm_otel_broadcast.settings.destination import TRACES_PATH, Destination
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.kinds import read_pairs

_PREFIX = "OTEL_EXPORTER_OTLP_"
_FILES = ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")


def destination_from(environ: Mapping[str, str]) -> Destination | None:
    """Return the destination the environment names, None when it names none.

    `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is used verbatim; `OTEL_EXPORTER_OTLP_ENDPOINT` always gets `/v1/traces`. Headers
    (`..._TRACES_HEADERS` over `..._HEADERS`) are comma-separated `key=value` pairs, URL-encoded. `..._PROTOCOL`
    `http/protobuf` or `http/json` fixes the encoding, `..._COMPRESSION` `gzip`, `..._TIMEOUT` (seconds), `..._CERTIFICATE`,
    `..._CLIENT_CERTIFICATE` and `..._CLIENT_KEY` (files) apply.

    Raises:
        ConfigError: naming the variable that is wrong.
    """
    verbatim = _value(environ, "TRACES_ENDPOINT")
    base = _value(environ, "ENDPOINT")
    if not verbatim and not base:
        return None
    endpoint = verbatim or (base or "").rstrip("/") + TRACES_PATH
    variable = _PREFIX + ("TRACES_ENDPOINT" if verbatim else "ENDPOINT")
    protocol = _own_or_general(environ, "PROTOCOL")
    if protocol == "grpc":
        raise ConfigError(
            [
                (
                    f"{_PREFIX}PROTOCOL=grpc: only OTLP/HTTP is sent from the environment. Set it to http/protobuf with the "
                    "HTTP port (4318), or pass destinations=[Destination(exporter=OTLPSpanExporter())] with the gRPC exporter"
                )
            ]
        )
    encodings: dict[str, Literal["json", "protobuf"]] = {"http/json": "json", "http/protobuf": "protobuf"}
    compression = _own_or_general(environ, "COMPRESSION")
    try:
        return Destination(
            endpoint=endpoint,
            headers=_headers(environ),
            encoding=encodings.get(protocol or "", "auto"),
            compression="gzip" if compression == "gzip" else "none",
            timeout=_timeout(environ),
            certificate=_own_or_general(environ, "CERTIFICATE"),
            client_certificate=_own_or_general(environ, "CLIENT_CERTIFICATE"),
            client_key=_own_or_general(environ, "CLIENT_KEY"),
        )
    except ConfigError as error:
        raise ConfigError([f"{_named(fault) or variable}: {fault}" for fault in error.faults]) from None


def _named(fault: str) -> str | None:
    """Return the variable of the file that a fault is about."""
    name = fault.removeprefix("destination: ").partition(" ")[0].upper()
    return _PREFIX + name if name in _FILES else None


def _value(environ: Mapping[str, str], name: str) -> str | None:
    return environ.get(_PREFIX + name, "").strip() or None


def _own_or_general(environ: Mapping[str, str], name: str) -> str | None:
    return _value(environ, f"TRACES_{name}") or _value(environ, name)


def _headers(environ: Mapping[str, str]) -> dict[str, str]:
    name = "TRACES_HEADERS" if _value(environ, "TRACES_HEADERS") else "HEADERS"
    try:
        return read_pairs(_value(environ, name) or "")
    except ValueError as error:
        raise ConfigError([f"{_PREFIX}{name}: {error}"]) from None


def _timeout(environ: Mapping[str, str]) -> float:
    name = "TRACES_TIMEOUT" if _value(environ, "TRACES_TIMEOUT") else "TIMEOUT"
    text = _value(environ, name)
    if text is None:
        return 10.0
    try:
        return float(text)
    except ValueError:
        raise ConfigError([f"{_PREFIX}{name} must be a number of seconds, got {text!r}"]) from None
