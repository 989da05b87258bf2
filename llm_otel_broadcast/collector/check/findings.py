"""What a check has to say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from llm_otel_broadcast.collector.check.yaml_tree import Node

Severity: TypeAlias = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault. `message` never holds a value that may be secret.

    Attributes:
        severity: `error`: the Collector will not start, or loses or tears apart what it gets; `warning`: it may.
        where: the keys that lead to it, with dots.
        line: from 1; None when the fault has no place.
    """

    severity: Severity
    where: str
    message: str
    line: int | None

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        name = f"{self.where}: " if self.where else ""
        return f"{place}{self.severity}: {name}{self.message}"


@dataclass(slots=True)
class Report:
    """Collects findings."""

    findings: list[Finding] = field(default_factory=list)

    def error(self, node: Node, where: str, message: str) -> None:
        self.findings.append(Finding("error", where, message, node.line))

    def warning(self, node: Node, where: str, message: str) -> None:
        self.findings.append(Finding("warning", where, message, node.line))
