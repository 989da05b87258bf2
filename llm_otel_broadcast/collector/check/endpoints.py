"""Addresses that a Collector takes and that lead nowhere: wrong ports and paths; and who can reach a receiver."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from llm_otel_broadcast.collector.check.findings import Report
from llm_otel_broadcast.collector.check.yaml_tree import VARIABLE, Node, kind_of

# The names before and since the Collector's 0.144.
_GRPC_EXPORTERS: Final = ("otlp_grpc", "otlp")
_HTTP_EXPORTERS: Final = ("otlp_http", "otlphttp")
_GRPC_PORT: Final = 4317
_HTTP_PORT: Final = 4318
_LOOPBACK: Final = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[?::1\]?)\Z", re.IGNORECASE)
_ANY_ADDRESS: Final = ("0.0.0.0", "::", "[::]", "")  # noqa: S104  # what is looked for


def check(config: Node, report: Report, *, agent: bool) -> None:
    """Check the addresses of OTLP exporters and receivers.

    Args:
        config: the whole file.
        report: where faults go.
        agent: receivers should listen to their own machine only.
    """
    for name, node in config.items("exporters"):
        path, kind = f"exporters.{name}", kind_of(name)
        if kind in _GRPC_EXPORTERS:
            endpoint = node.find("endpoint")
            if endpoint is not None and re.search(rf":{_HTTP_PORT}\Z", _known_part(endpoint.value)):
                report.warning(
                    endpoint, f"{path}.endpoint", f"{_HTTP_PORT} is the port of OTLP over HTTP; gRPC is {_GRPC_PORT}"
                )
        elif kind in _HTTP_EXPORTERS:
            _check_http(node, path, report)
    for name, node in config.items("receivers"):
        # Other roles listen to other machines, which is their purpose.
        if not agent or kind_of(name) != "otlp":
            continue
        for protocol, settings in node.items("protocols"):
            endpoint = settings.find("endpoint")
            if endpoint is None or VARIABLE.fullmatch(str(endpoint.value)) or settings.scalar("transport") == "unix":
                continue
            if _host(_known_part(endpoint.value)) in _ANY_ADDRESS:
                report.warning(
                    endpoint,
                    f"receivers.{name}.protocols.{protocol}.endpoint",
                    "an agent that listens to every network takes traces from anybody: 127.0.0.1",
                )


def is_loopback(endpoint: str) -> bool:
    """Return whether only this machine can reach a listener at an address."""
    return bool(_LOOPBACK.match(_host(endpoint)))


def _host(endpoint: str) -> str:
    return endpoint.rpartition(":")[0] if ":" in endpoint else endpoint


def _known_part(value: object) -> str:
    """Return the text with a digit for each `${...}`, which can stand for a host as well as for a port."""
    return VARIABLE.sub("1", str(value)).strip()


def _check_http(node: Node, path: str, report: Report) -> None:
    base, traces = node.find("endpoint"), node.find("traces_endpoint")
    for key, endpoint in (("endpoint", base), ("traces_endpoint", traces)):
        if endpoint is None or not endpoint.value or VARIABLE.match(str(endpoint.value)):
            continue
        try:
            url = urlsplit(_known_part(endpoint.value))
            port = url.port
        except ValueError:
            continue
        # The exporter adds the path to `endpoint` and to nothing else: with it already there a backend answers 404.
        if key == "endpoint" and url.path.rstrip("/").endswith("/v1/traces") and traces is None:
            report.error(
                endpoint, f"{path}.{key}", "gets /v1/traces added once more: call it traces_endpoint, or cut the path"
            )
        # Not an error: a backend may take traces at its root.
        if key == "traces_endpoint" and url.path in ("", "/"):
            report.warning(endpoint, f"{path}.{key}", "is used as it is and has no path: usually /v1/traces")
        # A gRPC server breaks off a connection that speaks HTTP/1.1, and the exporter's error does not say why.
        if port == _GRPC_PORT:
            report.warning(
                endpoint, f"{path}.{key}", f"{_GRPC_PORT} is the port of OTLP over gRPC; HTTP is {_HTTP_PORT}"
            )
