"""Extensions that a Collector's components need and that do not run: storage of queues, authenticators."""

from __future__ import annotations

from llm_otel_broadcast.collector.check.findings import Report
from llm_otel_broadcast.collector.check.yaml_tree import SECTIONS, Node, walk


def check(config: Node, report: Report) -> None:
    """Check that each extension which a component names is defined and runs, and that each which is defined runs."""
    # `validate` does not look for extensions that components name: only the start fails for want of them.
    running = {name for name, _ in config.names("service", "extensions")}
    # Storage of queues, authenticators.
    suffixes = (".sending_queue.storage", ".auth.authenticator")
    references = [
        (str(node.value), node, path)
        for section in SECTIONS
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
