"""How the spool is shown."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.filesize import decimal
from rich.table import Table

if TYPE_CHECKING:
    from llm_otel_broadcast.runtime.spooled import Sent
    from llm_otel_broadcast.spool.store import Backlog

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def backlog_table(backlogs: Sequence[Backlog], senders: Mapping[str, str]) -> Table:
    """Return what waits as a table; `senders`: by identity, the destination here that may send it, "" where its headers differ."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("destination", "endpoint", "records", "size", "oldest", "sent by"):
        table.add_column(title, justify="right" if title in ("records", "size", "oldest") else "left", overflow="fold")
    senders_shown = {None: "no destination here", "": "other headers: spool send --changed-headers"}
    for backlog in backlogs:
        waited_s = max(0.0, time.time() - backlog.oldest)
        sender = senders.get(backlog.identity)
        table.add_row(
            backlog.name or "?",
            backlog.endpoint or "?",
            str(backlog.records),
            decimal(backlog.bytes),
            # In its largest unit.
            next((f"{waited_s / size:.0f} {unit}" for size, unit in _UNITS if waited_s >= size), "now"),
            senders_shown.get(sender, "the same destination"),
        )
    return table


def backlog_json(backlog: Backlog, sender: str | None) -> dict[str, object]:
    """Return what waits for one destination for scripts."""
    return {
        "destination": backlog.name,
        "endpoint": backlog.endpoint,
        "requests": backlog.bodies,
        "records": backlog.records,
        "bytes": backlog.bytes,
        "oldest": backlog.oldest,
        "sendable": bool(sender),
        "headers_differ": sender == "",
    }


def sent_lines(results: Sequence[Sent], directory: Path) -> Iterator[str]:
    """Say what became of each destination's backlog."""
    touched = [sent for sent in results if sent.records or sent.remaining]
    if not touched:
        yield f"Nothing waits in {directory} for a destination here."
    for sent in touched:
        yield f"{sent.name}: {sent.records} record(s) sent" + (f", {sent.remaining} left" if sent.remaining else "")
        if sent.error:
            yield f"  {sent.error}"
