"""Secrets that stand in the file. Their values are never shown."""

from __future__ import annotations

import re
from typing import Final

from llm_otel_broadcast.collector.check.findings import Report
from llm_otel_broadcast.collector.check.queues import is_open, walk
from llm_otel_broadcast.collector.check.yaml_tree import Node

_KEYS: Final = re.compile(
    r"(authorization|cookie|token|tokens|password|secret|client_secret|passphrase|credential|credentials"
    r"|.*[-_](key|token|secret|password|team|auth)|(api|license|dd)key)\Z",
    re.IGNORECASE,
)
_VALUES: Final = re.compile(r"(bearer|basic|apikey)\s", re.IGNORECASE)
_NOT: Final = re.compile(
    r"(routing|hash|message|metadata|partition|group|attribute|sticky|public)[-_].*key\Z|.*_from_.*_key\Z",
    re.IGNORECASE,
)
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@$]+:[^/\s@$]+@", re.IGNORECASE)


def check(config: Node, report: Report) -> None:
    """Warn of each value that looks like a secret and is written out."""
    for section in ("receivers", "processors", "exporters", "connectors", "extensions"):
        for name, component in config.items(section):
            for where, node in walk(component, f"{section}.{name}"):
                if isinstance(node.value, str | int) and node.value is not True and _is_secret(where, str(node.value)):
                    report.warning(node, where, 'a secret in plain text: take it from the environment, "${env:NAME}"')


def _is_secret(where: str, value: str) -> bool:
    if not value or is_open(value) or value.startswith("$"):
        return False
    key = where.rpartition(".")[2]
    if ".tls." in where or key.endswith("_file") or _NOT.match(key):
        return False
    return bool(_KEYS.match(key) or (".headers." in where and _VALUES.match(value)) or _URL.match(value))
