"""Memory, queues, batches and retries: limits that the Collector refuses, and those that lose what they should keep."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from llm_otel_broadcast.collector.check.findings import Report
from llm_otel_broadcast.collector.check.kinds import kind_of
from llm_otel_broadcast.collector.check.yaml_tree import Node

_SIZERS: Final = ("requests", "items", "bytes")
_DURATION: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_STORAGE: Final = "_storage"


def check(config: Node, report: Report) -> None:
    """Check every memory limiter, queue and batch processor."""
    for name, node in config.items("processors"):
        if kind_of(name) == "memory_limiter":
            _memory_limiter(node, f"processors.{name}", report)
        if kind_of(name) == "batch":
            _batch_processor(node, f"processors.{name}", report)
    for name, exporter in config.items("exporters"):
        for where, node in walk(exporter, f"exporters.{name}"):
            if where.endswith(".sending_queue"):
                _queue(node, where, report)


def walk(node: Node, where: str) -> Iterator[tuple[str, Node]]:
    """Return everything below, each part of the file once, with the keys that lead to it."""
    seen: set[int] = set()
    pending = [(where, node)]
    while pending:
        path, found = pending.pop()
        yield path, found
        if id(found) in seen:
            continue
        seen.add(id(found))
        pending.extend((f"{path}.{key}", value) for key, value in found.items())
        pending.extend((path, each) for each in found.elements or ())


def number(value: Any) -> float | None:
    """Return a number, also one that is written as text; None for anything else, such as `${env:NAME}`."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(str(value).replace("_", ""))
    except ValueError:
        return None


def is_open(value: Any) -> bool:
    """Say whether the value is known only when the Collector starts."""
    return isinstance(value, str) and "${" in value


def is_duration(value: Any) -> bool:
    """Say whether this is a duration as Go writes it: `1m30s`, `0`."""
    text = str(value)
    return text == "0" or (bool(_DURATION.match(text)) and not _DURATION.sub("", text))


def _memory_limiter(node: Node, where: str, report: Report) -> None:
    interval = node.scalar("check_interval")
    if not is_open(interval) and (
        interval is None or not is_duration(interval) or not re.search("[1-9]", str(interval))
    ):
        report.error(node, where, "check_interval must be longer than zero: 1s is the usual")
    mib, percent = node.scalar("limit_mib"), node.scalar("limit_percentage")
    if not (number(mib) or number(percent) or is_open(mib) or is_open(percent)):
        report.error(node, where, "needs limit_mib or limit_percentage")
    for limit, spike in (("limit_mib", "spike_limit_mib"), ("limit_percentage", "spike_limit_percentage")):
        most, rise = number(node.scalar(limit)), number(node.scalar(spike))
        if most is not None and rise is not None and rise >= most:
            report.error(node.at(spike) or node, f"{where}.{spike}", f"must be smaller than {limit}")


def _batch_processor(node: Node, where: str, report: Report) -> None:
    most, size = number(node.scalar("send_batch_max_size")), number(node.scalar("send_batch_size"))
    if most and most < (8192 if size is None else size):
        report.error(
            node.at("send_batch_max_size") or node,
            f"{where}.send_batch_max_size",
            "must not be smaller than send_batch_size (8192 by default)",
        )


def _queue(node: Node, where: str, report: Report) -> None:
    if node.scalar("enabled") is False:
        return
    for key in ("queue_size", "num_consumers"):
        given = number(node.scalar(key))
        if given is not None and given <= 0:
            report.error(node.at(key) or node, f"{where}.{key}", "must be greater than zero")
    sizer = node.scalar("sizer") or "requests"
    if sizer not in _SIZERS and not is_open(sizer):
        report.error(node.at("sizer") or node, f"{where}.sizer", f"must be one of {', '.join(_SIZERS)}")
    storage = node.scalar("storage")
    if storage is not None:
        if not is_open(storage) and not kind_of(str(storage)).endswith(_STORAGE):
            report.error(
                node.at("storage") or node,
                f"{where}.storage",
                f'"{storage}" is no storage extension, e.g. file_storage',
            )
        if node.scalar("wait_for_result") is True:
            report.error(node.at("wait_for_result") or node, f"{where}.wait_for_result", "does not go with storage")
    batch = node.at("batch")
    if batch is not None and batch.scalar("enabled") is not False:
        _batch(batch, node, f"{where}.batch", report)


def _batch(batch: Node, queue: Node, where: str, report: Report) -> None:
    held = queue.scalar("sizer") or "requests"
    sizer = batch.scalar("sizer") or (queue.scalar("sizer") or "items")
    if sizer not in ("items", "bytes") and not is_open(sizer):
        report.error(batch.at("sizer") or batch, f"{where}.sizer", "must be items or bytes")
    least, most = number(batch.scalar("min_size")), number(batch.scalar("max_size"))
    least = 8192 if least is None else least
    if most and most < least:
        report.error(
            batch.at("max_size") or batch, f"{where}.max_size", f"must not be smaller than min_size ({least:,.0f})"
        )
    size = number(queue.scalar("queue_size"))
    if size is not None and held == sizer and least > size:
        report.error(batch.at("min_size") or batch, f"{where}.min_size", "must not be larger than queue_size")
    flush = batch.scalar("flush_timeout")
    if flush is not None and not is_open(flush) and (not is_duration(flush) or not re.search("[1-9]", str(flush))):
        report.error(batch.at("flush_timeout") or batch, f"{where}.flush_timeout", "must be longer than zero, e.g. 1s")
