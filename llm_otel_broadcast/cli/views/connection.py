"""Connection tests and test traces on the terminal, as they happen, and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from llm_otel_broadcast.connection.report import ConnectionReport, SentTrace, Step
from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.endpoints import redact_url
from llm_otel_broadcast.settings.presets import PRESETS, Preset, where_to_look

_NAME_WIDTH: Final = 7
_TIME_WIDTH: Final = 7
_ARGUMENT: Final = re.compile(rf"\b({'|'.join(Destination.__dataclass_fields__)})=(?=[\s,;.)]|$)")


class StepLines:
    """Prints each step as soon as it is done; on a terminal a spinner says that one is under way."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def testing(self, destination: Destination) -> Iterator[None]:
        """Print what is tested, and be busy meanwhile."""
        self.console.print(Text(destination.name, "bold"))
        with busy(self.console, "  testing ..."):
            yield

    def step(self, step: Step) -> None:
        """Print a step that is done."""
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=2, justify="right")
        grid.add_column(width=_NAME_WIDTH)
        grid.add_column(width=_TIME_WIDTH, justify="right")
        grid.add_column(overflow="fold")
        style = "green" if step.ok else "red" if step.name != "try" else "yellow"
        grid.add_row(
            Text(mark(self.console, ok=step.ok), style), step.name, Text(_time(step.seconds), "dim"), _detail(step)
        )
        self.console.print(grid)


def mark(console: Console, *, ok: bool) -> str:
    """Return the mark of what went well or not; in letters where the output's encoding has no signs for it."""
    sign = "✓" if ok else "✗"
    try:
        sign.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return "ok" if ok else "x"
    return sign


@contextmanager
def busy(console: Console, text: str) -> Iterator[None]:
    """Show a spinner on a terminal, nothing elsewhere."""
    if not console.is_terminal:
        yield
        return
    with console.status(Text(text, "dim")):
        yield


def _detail(step: Step) -> Text:
    failed = not step.ok and step.name != "try"
    return Text(
        _as_options(step.detail), "red" if failed else "dim" if step.name in ("URL", "try") and not step.ok else ""
    )


def _as_options(text: str) -> str:
    """Return a text that names fields as arguments of Python's (`certificate=`) with the options of the command line."""
    return _ARGUMENT.sub(lambda match: f"--{match[1].replace('_', '-')}", text)


def _time(seconds: float) -> str:
    if seconds < 0.001:  # noqa: PLR2004  # a millisecond
        return "<1 ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def shown_suggestion(suggestion: Mapping[str, object]) -> dict[str, object]:
    """Return a suggestion as it may be shown."""
    return {name: redact_url(str(value)) if name == "endpoint" else value for name, value in suggestion.items()}


def options_for(suggestion: Mapping[str, object]) -> str:
    """Return a suggestion as options of the command line."""
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in shown_suggestion(suggestion).items())


def verdict(destination: Destination, report: ConnectionReport) -> Text:
    """Return the last line of a test."""
    if not report.ok:
        return Text.assemble((f"  {destination.name} does not work", "bold red"))
    look = where_to_look(destination.endpoint, destination.name, report.trace_id) if report.trace_id else None
    return Text.assemble(
        (f"  {destination.name} works", "bold green"), ("  probe: ", "dim"), (look or f"trace {report.trace_id}", "dim")
    )


def report_json(destination: Destination, report: ConnectionReport) -> dict[str, Any]:
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


def sent_json(destination: Destination, sent: SentTrace) -> dict[str, Any]:
    """Return the same as a JSON document."""
    return {"name": destination.name, **asdict(sent)}


def preset_table() -> Table:
    """Return all presets, and what each wants to know."""
    table = Table.grid(padding=(0, 2))
    for preset in PRESETS.values():
        table.add_row(Text(preset.name, "bold"), _wants(preset), Text(preset.docs, "dim"))
    return table


def _wants(preset: Preset) -> Text:
    """Return the names of a preset's values; in brackets those that need not be given."""
    names = ((one.name, "") if one.default is None else (f"[{one.name}]", "dim") for one in preset.parameters)
    return Text(" ").join(Text(name, style) for name, style in names)


def preset_lines(preset: Preset) -> Group:
    """Return one preset in full."""
    grid = Table.grid(padding=(0, 2))
    for parameter in preset.parameters:
        optional = (
            "optional" if parameter.default == "" else f"default {parameter.default}" if parameter.default else ""
        )
        hidden = "secret" if parameter.secret else ""
        about = ", ".join(filter(None, [hidden, optional]))
        grid.add_row(f"  {parameter.name}", Text.assemble(parameter.prompt, (f"  {about}", "dim")))
    encoding = "JSON, else protobuf" if preset.encoding == "auto" else preset.encoding
    takes = encoding + (", gzip" if preset.compression == "gzip" else "")
    lines = [Text(f"  {preset.note}", "yellow")] if preset.note else []
    return Group(
        Text.assemble((preset.name, "bold"), f"  {preset.endpoint}"),
        grid,
        *lines,
        Text(f"  {takes}  {preset.docs}", "dim"),
    )


def preset_json(preset: Preset) -> dict[str, Any]:
    """Return one preset as a JSON document."""
    return {
        "name": preset.name,
        "endpoint": preset.endpoint,
        "headers": dict(preset.headers),
        "encoding": preset.encoding,
        "compression": preset.compression,
        "docs": preset.docs,
        "note": preset.note or None,
        "parameters": [asdict(parameter) for parameter in preset.parameters],
    }
