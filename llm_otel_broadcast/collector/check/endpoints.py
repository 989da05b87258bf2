"""Addresses: the forms that exporters and receivers take, and who can reach a receiver."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from llm_otel_broadcast.collector.check.findings import Report
from llm_otel_broadcast.collector.check.kinds import kind_of
from llm_otel_broadcast.collector.check.yaml_tree import Node

_GRPC: Final = ("otlp_grpc", "otlp")
_HTTP: Final = ("otlp_http", "otlphttp")
_OPEN: Final = re.compile(r"\$\{[^}]*\}")
_LOOPBACK: Final = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[?::1\]?)\Z", re.IGNORECASE)
_EVERYWHERE: Final = ("0.0.0.0", "::", "[::]", "")  # noqa: S104  # what is looked for


def check(config: Node, report: Report, *, agent: bool) -> None:
    """Check every address of exporters and receivers.

    Args:
        config: the whole file.
        report: where faults go.
        agent: receivers should listen to their own machine only.
    """
    for name, node in config.items("exporters"):
        where, kind = f"exporters.{name}", kind_of(name)
        if kind in _GRPC:
            _grpc(node, where, report)
        elif kind in _HTTP:
            _http(node, where, report)
        elif kind in ("loadbalancing", "load_balancing"):
            hosts = node.at("resolver", "static", "hostnames")
            for host in (hosts.elements or ()) if hosts is not None else ():
                _target(host, f"{where}.resolver.static.hostnames", report, port=False)
        elif kind == "kafka":
            _brokers(node, where, report)
    for name, node in config.items("receivers"):
        if kind_of(name) == "kafka":
            _brokers(node, f"receivers.{name}", report)
        if kind_of(name) == "otlp":
            _receiver(node, f"receivers.{name}", report, agent=agent)


def is_loopback(endpoint: str) -> bool:
    """Say whether only this machine can reach a listener there."""
    return bool(_LOOPBACK.match(_host(endpoint)))


def _host(endpoint: str) -> str:
    return endpoint.rpartition(":")[0] if ":" in endpoint else endpoint


def _plain(value: object) -> str:
    """Return the text with a digit for each `${...}`, which can stand for a host as well as for a port."""
    return _OPEN.sub("1", str(value)).strip()


def _grpc(node: Node, where: str, report: Report) -> None:
    found = node.at("endpoint")
    if found is None or not found.value:
        report.error(node, where, "needs an endpoint: HOST:PORT, usually with port 4317")
    elif not _OPEN.fullmatch(str(found.value)):
        _target(found, f"{where}.endpoint", report, port=True)


def _target(node: Node, where: str, report: Report, *, port: bool) -> None:
    """Check `host:port` of a gRPC server."""
    text = re.sub(r"^(https?|dns|passthrough|unix):/{2,3}", "", _plain(node.value))
    if "/" in text:
        report.error(node, where, "gRPC has no path: HOST:PORT only (a URL with a path belongs to otlp_http)")
    elif port and not re.search(r":\d+\Z", text):
        report.error(node, where, "has no port: HOST:PORT, usually with port 4317")
    elif re.search(r":4318\Z", text):
        report.warning(node, where, "4318 is the port of OTLP over HTTP; gRPC is 4317")


def _http(node: Node, where: str, report: Report) -> None:
    base, traces = node.at("endpoint"), node.at("traces_endpoint")
    if (base is None or not base.value) and (traces is None or not traces.value):
        report.error(node, where, "needs traces_endpoint (used as it is) or endpoint (gets /v1/traces added)")
    for key, found in (("endpoint", base), ("traces_endpoint", traces)):
        if found is None or _OPEN.match(str(found.value)) or not found.value:
            continue
        parts = _split(_plain(found.value))
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            report.error(found, f"{where}.{key}", "must be a URL with http:// or https://")
            continue
        if key == "endpoint" and parts.path.rstrip("/").endswith("/v1/traces") and traces is None:
            report.error(
                found, f"{where}.{key}", "gets /v1/traces added once more: call it traces_endpoint, or cut the path"
            )
        if key == "traces_endpoint" and parts.path in ("", "/"):
            report.warning(found, f"{where}.{key}", "is used as it is and has no path: usually /v1/traces")
        if parts.port == 4317:  # noqa: PLR2004  # the port of OTLP over gRPC
            report.warning(found, f"{where}.{key}", "4317 is the port of OTLP over gRPC; HTTP is 4318")


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _brokers(node: Node, where: str, report: Report) -> None:
    brokers = node.at("brokers")
    for broker in (brokers.elements or ()) if brokers is not None else ():
        if not re.fullmatch(r"[^/\s]+:\d+", _plain(broker.value)) and not _OPEN.fullmatch(str(broker.value)):
            report.error(broker, f"{where}.brokers", "a broker is HOST:PORT, usually with port 9092")


def _receiver(node: Node, where: str, report: Report, *, agent: bool) -> None:
    if not list(node.items("protocols")):
        report.error(node, where, "needs protocols: http, grpc or both")
    for protocol, settings in node.items("protocols"):
        place = f"{where}.protocols.{protocol}"
        if protocol not in ("http", "grpc"):
            report.error(settings, place, "no protocol of this receiver: http or grpc")
            continue
        endpoint = settings.at("endpoint")
        if endpoint is None or _OPEN.fullmatch(str(endpoint.value)) or settings.scalar("transport") == "unix":
            continue
        text = _plain(endpoint.value)
        if "/" in text or not re.search(r":\d+\Z", text):
            report.error(endpoint, f"{place}.endpoint", "must be ADDRESS:PORT, without http:// and path")
        elif agent and _host(text) in _EVERYWHERE:
            report.warning(
                endpoint,
                f"{place}.endpoint",
                "an agent that listens to every network takes traces from anybody: 127.0.0.1",
            )
