"""Connection tests and test traces on the terminal, as they happen, and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from llm_otel_broadcast.connection.report import ConnectionReport, SentTrace, Step
from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.endpoints import redact_url
from llm_otel_broadcast.settings.presets import where_to_look

_NAME_CHARACTERS: Final = 7
_TIME_CHARACTERS: Final = 7
_MILLISECOND_S: Final = 0.001
_ARGUMENT: Final = re.compile(rf"\b({'|'.join(Destination.__dataclass_fields__)})=(?=[\s,;.)]|$)")


class StepLines:
    """Prints each step as soon as it is done; on a terminal a spinner says that one is under way."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def testing(self, destination: Destination) -> Iterator[None]:
        """Print the name of the destination, and be busy as long as the block runs."""
        self.console.print(Text(destination.name, "bold"))
        with busy(self.console, "  testing ..."):
            yield

    def step(self, step: Step) -> None:
        """Print a step that is done."""
        # Columns of fixed width, as each step is a table of its own; details break inside theirs on a narrow terminal.
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=2, justify="right")
        grid.add_column(width=_NAME_CHARACTERS)
        grid.add_column(width=_TIME_CHARACTERS, justify="right")
        grid.add_column(overflow="fold")
        # A `try` that fails is no fault of the destination: it only was no way out.
        failed_style, detail_style = ("yellow", "dim") if step.name == "try" else ("red", "red")
        duration = f"{step.seconds * 1000:.0f} ms" if step.seconds < 1 else f"{step.seconds:.1f} s"
        grid.add_row(
            Text(mark(self.console, ok=step.ok), "green" if step.ok else failed_style),
            step.name,
            # A look-up in the system's cache takes microseconds; "0 ms" would look like a step that was left out.
            Text("<1 ms" if step.seconds < _MILLISECOND_S else duration, "dim"),
            Text(_as_options(step.detail), "" if step.ok else detail_style),
        )
        self.console.print(grid)


def mark(console: Console, *, ok: bool) -> str:
    """Return a sign for success or failure; letters where the output's encoding has no such signs."""
    # A Windows console in cp1252, or a pipe in ASCII, ended the test with a UnicodeEncodeError.
    sign = "✓" if ok else "✗"
    try:
        sign.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return "ok" if ok else "x"
    return sign


@contextmanager
def busy(console: Console, text: str) -> Iterator[None]:
    """Show a spinner on a terminal, nothing elsewhere."""
    # Escape codes and turning signs have no business in a log.
    if not console.is_terminal:
        yield
        return
    with console.status(Text(text, "dim")):
        yield


def _as_options(text: str) -> str:
    """Return a text that names fields as Python's arguments (`certificate=`) with the options of the command line."""
    # The advice comes from `test_connection()`, which programs call too: "give it as certificate=" helps nobody in a shell.
    return _ARGUMENT.sub(lambda match: f"--{match[1].replace('_', '-')}", text)


def shown_suggestion(suggestion: Mapping[str, object]) -> dict[str, object]:
    """Return a suggestion as it may be shown."""
    # An endpoint may hold a password or a key in its query.
    return {name: redact_url(str(value)) if name == "endpoint" else value for name, value in suggestion.items()}


def options_for(suggestion: Mapping[str, object]) -> str:
    """Return a suggestion as options of the command line."""
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in shown_suggestion(suggestion).items())


def verdict(destination: Destination, report: ConnectionReport) -> Text:
    """Return the last line of a test."""
    if not report.ok:
        return Text.assemble((f"  {destination.name} does not work", "bold red"))
    # For known backends the page to look at; elsewhere the id to search for.
    page = where_to_look(destination.endpoint, destination.name, report.trace_id) if report.trace_id else None
    return Text.assemble(
        (f"  {destination.name} works", "bold green"), ("  probe: ", "dim"), (page or f"trace {report.trace_id}", "dim")
    )


def report_json(destination: Destination, report: ConnectionReport) -> dict[str, object]:
    """Return a report as a JSON document."""
    return {
        "name": destination.name,
        "endpoint": redact_url(destination.endpoint) if destination.endpoint else None,
        "ok": report.ok,
        "message": report.message,
        "suggestion": shown_suggestion(report.suggestion),
        "trace_id": report.trace_id or None,
        "steps": [{**asdict(step), "seconds": round(step.seconds, 6)} for step in report.steps],
    }


def sent_lines(console: Console, destination: Destination, sent: SentTrace) -> Group:
    """Return what became of a test trace."""
    if not sent.ok:
        return Group(
            Text.assemble(
                (f"{mark(console, ok=False)} ", "red"),
                (destination.name, "bold"),
                ("  not taken: ", "red"),
                _as_options(sent.message),
            ),
            Text(f"  find out more: llm-otel-broadcast destinations test {destination.name}", "dim"),
        )
    first = Text.assemble(
        (f"{mark(console, ok=True)} ", "green"), (destination.name, "bold"), f"  trace {sent.trace_id}"
    )
    return Group(first, Text(f"  {sent.look}")) if sent.look else Group(first)


def sent_json(destination: Destination, sent: SentTrace) -> dict[str, object]:
    """Return what became of a test trace as a JSON document."""
    return {"name": destination.name, **asdict(sent)}
