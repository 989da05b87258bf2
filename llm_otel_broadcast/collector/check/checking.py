"""Checks a Collector's configuration for faults with which it starts all the same: traces are lost, torn apart or exposed.

Syntax, names of components and their limits are not checked here but by the Collector: `validator.py` runs it.
"""

from __future__ import annotations

from llm_otel_broadcast.collector.check import endpoints, extensions, secrets, whole_traces
from llm_otel_broadcast.collector.check.findings import Finding, Report
from llm_otel_broadcast.collector.check.yaml_tree import SECTIONS, UnreadableError, kind_of, read
from llm_otel_broadcast.collector.plan import Role


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
    for section in SECTIONS:
        names = {name for _, pipeline in config.items("service", "pipelines") for name, _ in pipeline.names(section)}
        for name, node in config.items(section):
            if name not in names:
                report.warning(node, f"{section}.{name}", "is defined but in no pipeline")
    extensions.check(config, report)
    whole_traces.check(config, report)
    endpoints.check(config, report, agent=role == "agent")
    secrets.check(config, report)
    # As a person reads the file, whatever the order of the checks.
    return sorted(report.findings, key=lambda finding: (finding.line or 0, finding.path, finding.message))


def failed(findings: list[Finding]) -> bool:
    """Return whether one of them is an error."""
    return any(finding.severity == "error" for finding in findings)
