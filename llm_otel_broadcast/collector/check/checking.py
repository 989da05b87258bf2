"""A check of a Collector's configuration: what would keep it from starting, lose traces, or tear them apart.

It knows the parts that traces go through, not every option of every component: `otelcol-contrib validate` is the last word.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from llm_otel_broadcast.collector.check import credentials, endpoints, queues, sampling
from llm_otel_broadcast.collector.check.findings import Finding, Report
from llm_otel_broadcast.collector.check.kinds import GONE, KNOWN, RENAMED, kind_of, suggestion
from llm_otel_broadcast.collector.check.yaml_tree import Node, UnreadableError, read
from llm_otel_broadcast.collector.plan import Role

_SECTIONS: Final = (*KNOWN, "service")
_SIGNALS: Final = ("traces", "metrics", "logs", "profiles")
_PARTS: Final = ("receivers", "processors", "exporters")


def check(text: str, role: Role | None = None) -> list[Finding]:
    """Return everything that is wrong with a configuration, in the order of its lines.

    Args:
        text: of the file.
        role: what it is meant for: an agent should listen to its own machine only.
    """
    try:
        config = read(text)
    except UnreadableError as unreadable:
        return [Finding("error", "", str(unreadable), unreadable.line)]
    report = Report()
    _sections(config, report)
    _kinds(config, report)
    _pipelines(config, report)
    _uses(config, report)
    _extensions(config, report)
    queues.check(config, report)
    sampling.check(config, report)
    endpoints.check(config, report, agent=role == "agent")
    credentials.check(config, report)
    return sorted(report.findings, key=lambda found: (found.line or 0, found.where, found.message))


def failed(findings: list[Finding]) -> bool:
    """Say whether one of them is an error."""
    return any(found.severity == "error" for found in findings)


def _sections(config: Node, report: Report) -> None:
    for name, section in config.items():
        if name not in _SECTIONS:
            report.error(section, name, f"no section of a collector configuration: {', '.join(_SECTIONS)}")
        elif section.entries is None and not section.empty:
            report.error(section, name, "must be a mapping")
    if config.at("service") is None:
        report.error(config, "service", "is missing: without pipelines nothing runs")
    elif not list(config.items("service", "pipelines")):
        report.error(config.at("service") or config, "service.pipelines", "is missing or empty: nothing would run")


def _kinds(config: Node, report: Report) -> None:
    for section in KNOWN:
        for name, node in config.items(section):
            kind, where = kind_of(name), f"{section}.{name}"
            if section == "exporters" and kind in RENAMED:
                report.warning(node, where, f"an old name: {RENAMED[kind]} since 0.144")
            elif kind in GONE[section]:
                report.error(node, where, f"no longer exists: use {GONE[section][kind]}")
            elif kind not in KNOWN[section]:
                meant = suggestion(section, kind)
                if meant is not None:
                    report.error(node, where, f'no kind of {section[:-1]}: "{meant}"?')
                else:
                    report.warning(node, where, f"a kind of {section[:-1]} that this check does not know")


def _pipelines(config: Node, report: Report) -> None:
    for name, pipeline in config.items("service", "pipelines"):
        where = f"service.pipelines.{name}"
        if kind_of(name) not in _SIGNALS:
            report.error(
                pipeline, where, f"a pipeline is named after its signal: {', '.join(_SIGNALS)}, or e.g. traces/second"
            )
        for part, node in pipeline.items():
            if part not in _PARTS:
                report.error(node, f"{where}.{part}", f"no part of a pipeline: {', '.join(_PARTS)}")
            elif node.elements is None and not node.empty:
                report.error(node, f"{where}.{part}", "must be a list")
        for part in ("receivers", "exporters"):
            if not names_in(pipeline, part):
                report.error(pipeline, where, f"has no {part}")
        _names(config, pipeline, where, report)
        _memory_limiter_first(pipeline, where, report)


def _names(config: Node, pipeline: Node, where: str, report: Report) -> None:
    for part in _PARTS:
        seen: set[str] = set()
        for name, node in names_in(pipeline, part):
            defined = config.at(part, name) or (config.at("connectors", name) if part != "processors" else None)
            if defined is None:
                report.error(node, f"{where}.{part}", f'"{name}" is not defined under {part}')
            if name in seen:
                report.error(node, f"{where}.{part}", f'"{name}" stands here twice')
            seen.add(name)


def _memory_limiter_first(pipeline: Node, where: str, report: Report) -> None:
    processors = names_in(pipeline, "processors")
    places = [place for place, (name, _) in enumerate(processors) if kind_of(name) == "memory_limiter"]
    if not places:
        report.warning(pipeline, where, "has no memory_limiter: a burst or a dead backend can end the process")
    elif places[0]:
        node = processors[places[0]][1]
        report.error(
            node, f"{where}.processors", "memory_limiter must be the first, or it cannot refuse anything in time"
        )


def _uses(config: Node, report: Report) -> None:
    used: dict[str, set[str]] = {section: set() for section in KNOWN}
    sides: dict[str, set[str]] = {}
    for _, pipeline in config.items("service", "pipelines"):
        for part in _PARTS:
            for name, _ in names_in(pipeline, part):
                used[part].add(name)
                if config.at("connectors", name) is not None and part != "processors":
                    sides.setdefault(name, set()).add(part)
    for section in _PARTS:
        for name, node in config.items(section):
            if name not in used[section]:
                report.warning(node, f"{section}.{name}", "is defined but in no pipeline")
    for name, node in config.items("connectors"):
        if sides.get(name) != {"receivers", "exporters"}:
            report.error(node, f"connectors.{name}", "must end one pipeline (exporters) and begin another (receivers)")


def _extensions(config: Node, report: Report) -> None:
    listed = config.at("service", "extensions")
    names = {str(node.value): node for node in (listed.elements or ())} if listed is not None else {}
    for name, node in names.items():
        if config.at("extensions", name) is None:
            report.error(node, "service.extensions", f'"{name}" is not defined under extensions')
    wanted = dict(_wanted_extensions(config))
    for name, node in config.items("extensions"):
        if name not in names and name not in wanted:
            report.warning(
                node, f"extensions.{name}", "is defined but not listed in service.extensions: it will not run"
            )
    for name, (node, where) in wanted.items():
        if config.at("extensions", name) is None:
            report.error(node, where, f'names the extension "{name}", which is not defined under extensions')
        elif name not in names:
            report.error(node, where, f'names the extension "{name}", which is not listed in service.extensions')


def _wanted_extensions(config: Node) -> Iterator[tuple[str, tuple[Node, str]]]:
    """Find what other components name: storage of queues, authenticators."""
    for section in _PARTS:
        for name, component in config.items(section):
            for where, node in queues.walk(component, f"{section}.{name}"):
                if (
                    where.endswith((".sending_queue.storage", ".auth.authenticator", f"receivers.{name}.storage"))
                    and node.value
                ):
                    yield str(node.value), (node, where)


def names_in(pipeline: Node, part: str) -> list[tuple[str, Node]]:
    """Return the components that a pipeline lists under a part."""
    node = pipeline.at(part)
    return [(str(each.value), each) for each in (node.elements or ())] if node is not None else []
