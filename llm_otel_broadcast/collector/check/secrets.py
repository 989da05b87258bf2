"""Secrets that stand in the file. Their values are never shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from llm_otel_broadcast.collector.check.findings import Report
from llm_otel_broadcast.collector.check.yaml_tree import Node, UnreadableError, is_open, read, walk

_SECTIONS: Final = ("receivers", "processors", "exporters", "connectors", "extensions")
_SECRET_KEYS: Final = re.compile(
    r"(authorization|cookie|token|tokens|password|secret|client_secret|passphrase|credential|credentials"
    r"|.*[-_](key|token|secret|password|team|auth)|(api|license|dd)key)\Z",
    re.IGNORECASE,
)
_OTHER_KEYS: Final = re.compile(
    r"(routing|hash|message|metadata|partition|group|attribute|sticky|public)[-_].*key\Z|.*_from_.*_key\Z",
    re.IGNORECASE,
)
"""Keys that end like a secret's and hold none: `routing_key`, `partition_traces_by_key`."""
_SCHEMES: Final = re.compile(r"(bearer|basic|apikey)\s", re.IGNORECASE)
_URL_WITH_PASSWORD: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@$]+:[^/\s@$]+@", re.IGNORECASE)


def check(config: Node, report: Report) -> None:
    """Warn of each value that looks like a secret and is written out."""
    for path, node in _secrets(config):
        report.warning(node, path, 'a secret in plain text: take it from the environment, "${env:NAME}"')


def secrets_in(text: str) -> list[str]:
    """Return the values that look like secrets; none of a file that cannot be read."""
    try:
        return [str(node.value) for _, node in _secrets(read(text))]
    except UnreadableError:
        return []


def _secrets(config: Node) -> Iterator[tuple[str, Node]]:
    nodes = (
        entry
        for section in _SECTIONS
        for name, component in config.items(section)
        for entry in walk(component, f"{section}.{name}")
    )
    for path, node in nodes:
        # A password of digits is a number for YAML; `true` is a switch.
        value = str(node.value) if isinstance(node.value, str | int) and node.value is not True else ""
        if not value or is_open(value) or value.startswith("$"):
            continue
        key = path.rpartition(".")[2]
        # Under `tls` and in `..._file` stand paths of files, `key_file` for instance.
        if ".tls." in path or key.endswith("_file") or _OTHER_KEYS.match(key):
            continue
        is_credential = ".headers." in path and _SCHEMES.match(value)
        if _SECRET_KEYS.match(key) or is_credential or _URL_WITH_PASSWORD.match(value):
            yield path, node
