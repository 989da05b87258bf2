"""Checks a Collector's configuration for faults with which it starts all the same: traces are lost, torn apart or exposed.

Syntax, names of components and their limits are not checked here but by the Collector: `validator.py` runs it.
"""

from __future__ import annotations

from typing import Final

from llm_otel_broadcast.collector.check import endpoints, secrets, whole_traces
from llm_otel_broadcast.collector.check.findings import Finding, Report
from llm_otel_broadcast.collector.check.yaml_tree import Node, UnreadableError, kind_of, read, walk
from llm_otel_broadcast.collector.plan import Role

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
    if not list(config.items("service", "pipelines")):
        # All that follows is about pipelines: without one "nothing wrong" would be said of a file that does nothing.
        report.error(config.find("service") or config, "service.pipelines", "is missing or empty: nothing would run")
    for name, pipeline in config.items("service", "pipelines"):
        path = f"service.pipelines.{name}"
        processors = pipeline.names("processors")
        positions = [position for position, (name, _) in enumerate(processors) if kind_of(name) == "memory_limiter"]
        # The Collector does without, until the kernel ends it.
        if not positions:
            report.warning(pipeline, path, "has no memory_limiter: a burst or a dead backend can end the process")
        elif positions[0]:
            node = processors[positions[0]][1]
            path = f"{path}.processors"
            report.error(node, path, "memory_limiter must be the first, or it cannot refuse anything in time")
    # The Collector takes a component that nothing refers to without a word.
    for section in _PARTS:
        names = {name for _, pipeline in config.items("service", "pipelines") for name, _ in pipeline.names(section)}
        for name, node in config.items(section):
            if name not in names:
                report.warning(node, f"{section}.{name}", "is defined but in no pipeline")
    _check_extensions(config, report)
    whole_traces.check(config, report)
    endpoints.check(config, report, agent=role == "agent")
    secrets.check(config, report)
    # As a person reads the file, whatever the order of the checks.
    return sorted(report.findings, key=lambda finding: (finding.line or 0, finding.path, finding.message))


def failed(findings: list[Finding]) -> bool:
    """Return whether one of them is an error."""
    return any(finding.severity == "error" for finding in findings)


def _check_extensions(config: Node, report: Report) -> None:
    # `validate` does not look for extensions that components name: only the start fails for want of them.
    running = {name for name, _ in config.names("service", "extensions")}
    # Storage of queues, authenticators.
    suffixes = (".sending_queue.storage", ".auth.authenticator")
    references = [
        (str(node.value), node, path)
        for section in _PARTS
        for name, component in config.items(section)
        for path, node in walk(component, f"{section}.{name}")
        if path.endswith((*suffixes, f"receivers.{name}.storage")) and node.value
    ]
    for name, node in config.items("extensions"):
        if name not in running and name not in (reference for reference, _, _ in references):
            report.warning(
                node, f"extensions.{name}", "is defined but not listed in service.extensions: it will not run"
            )
    for name, node, path in references:
        if config.find("extensions", name) is None:
            report.error(node, path, f'names the extension "{name}", which is not defined under extensions')
        elif name not in running:
            report.error(node, path, f'names the extension "{name}", which is not listed in service.extensions')
