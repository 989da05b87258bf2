"""The figures of `status()` as a table."""

from __future__ import annotations

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from llm_otel_broadcast.delivery.ledger import UNANSWERED
from llm_otel_broadcast.runtime.runs import Status


def status_table(status: Status) -> Group:
    """Return a row for each destination, and below the table what was lost and the last error."""
    table = Table(box=box.SIMPLE_HEAD, title="status()", title_justify="left", title_style="bold", show_edge=False)
    table.add_column("destination", overflow="fold")
    for name in ("produced", "delivered", "retried", "dropped", "queued"):
        table.add_column(name, justify="right")
    problems = []
    for lane in status.destinations:
        dropped = sum(lane.dropped.values())
        table.add_row(
            lane.name,
            str(lane.produced),
            Text(str(lane.delivered), "green" if lane.delivered == lane.produced else "yellow"),
            str(lane.retried),
            Text(str(dropped), "red" if dropped else ""),
            str(lane.queued_records),
        )
        # What was sent and not answered may be there: "dropped" would be a claim that nobody can make.
        reasons = [f"{count} {reason}" for reason, count in lane.dropped.items() if reason != UNANSWERED]
        if reasons:
            problems.append(f"{lane.name}: dropped {', '.join(reasons)}")
        if UNANSWERED in lane.dropped:
            problems.append(f"{lane.name}: no answer for {lane.dropped[UNANSWERED]} in time; they may have arrived")
        # An error that has been made good by a retry is no news.
        if lane.last_error and (lane.dropped or lane.queued_records):
            problems.append(f"{lane.name}: {lane.last_error}")
    return Group(table, "", *(Text(line, "red") for line in problems)) if problems else Group(table)
