"""The figures of `status()` as a table."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from llm_otel_broadcast.instrumentation import Status


def books(status: Status) -> Table:
    """Return a row for each destination; what was lost or last went wrong stands below its name."""
    table = Table(box=box.SIMPLE_HEAD, title="status()", title_justify="left", title_style="bold", padding=(0, 1))
    table.add_column("destination", overflow="fold")
    for name in ("produced", "delivered", "retried", "dropped", "queued"):
        table.add_column(name, justify="right")
    for lane in status.destinations:
        dropped = sum(lane.dropped.values())
        label = Text(lane.name)
        if lane.dropped:
            label.append("\n" + ", ".join(f"{count} {reason}" for reason, count in lane.dropped.items()), "red")
        if lane.last_error and (dropped or lane.queued_records):
            label.append("\n" + lane.last_error, "red")
        table.add_row(
            label,
            str(lane.produced),
            Text(str(lane.delivered), "green" if lane.delivered == lane.produced else "yellow"),
            str(lane.retried),
            Text(str(dropped), "red" if dropped else ""),
            str(lane.queued_records),
        )
    return table
