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
        path: the keys that lead to it, with dots.
        line: from 1; None when the fault has no place.
    """

    severity: Severity
    path: str
    message: str
    line: int | None

    def __str__(self) -> str:
        line = f"line {self.line}: " if self.line else ""
        path = f"{self.path}: " if self.path else ""
        return f"{line}{self.severity}: {path}{self.message}"


@dataclass(slots=True)
class Report:
    """Collects findings."""

    findings: list[Finding] = field(default_factory=list)

    def error(self, node: Node, path: str, message: str) -> None:
        self.findings.append(Finding("error", path, message, node.line))

    def warning(self, node: Node, path: str, message: str) -> None:
        self.findings.append(Finding("warning", path, message, node.line))
