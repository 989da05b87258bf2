"""Destinations and settings on the terminal and as JSON. Secrets never come this far."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llm_otel_broadcast.settings.endpoints import redact_url
from llm_otel_broadcast.settings.file import FileSettings
from llm_otel_broadcast.settings.manage.last_tests import LastTest, last_test
from llm_otel_broadcast.settings.manage.openrouter_import import Imported
from llm_otel_broadcast.settings.manage.shown import DEFAULT, Effective, Shown, ShownDestination, show

_MINUTE_S: Final = 60
_HOUR_S: Final = 60 * _MINUTE_S
_DAY_S: Final = 24 * _HOUR_S


def emptiness(path: Path) -> Text:
    """Return a line for a file without destinations, with the command that adds one."""
    return Text(f"No destinations in {path}. Add one: llm-otel-broadcast destinations add NAME --endpoint URL")


def destination_table(file: FileSettings) -> Table:
    """Return a row for each destination."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for name in ("name", "enabled", "endpoint", "encoding", "privacy", "sampling", "last test"):
        # Folded and not cut: half of a URL is of no use.
        table.add_column(name, overflow="fold")
    for destination in file.destinations:
        # Off for want of a variable is a fault, off by `enabled = false` is as it was meant.
        off = Text("off", "red" if destination.name in file.unset_variables else "yellow")
        enabled = Text("on", "green") if destination.enabled and destination.name not in file.unset_variables else off
        table.add_row(
            Text(destination.name, "bold"),
            enabled,
            redact_url(destination.endpoint or ""),
            destination.encoding,
            Text("on", "green") if destination.privacy_mode else Text("off", "dim"),
            f"{destination.sampling_rate:g}",
            _test_result(last_test(file.path, destination, os.environ)),
        )
    return table


def remarks(file: FileSettings) -> Iterable[str]:
    """Yield what keeps destinations from sending, a line each."""
    for name, unset_variables in file.unset_variables.items():
        yield f'"{name}" is off: {", ".join(unset_variables)} not set in the environment'
    if not file.enabled:
        yield "broadcasting is off altogether: llm-otel-broadcast enable"


def _test_result(last: LastTest | None) -> Text:
    if last is None:
        return Text("never", "dim")
    age = time.time() - last.tested_at
    units = ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min"))
    ago = next((f"{int(age // seconds)} {name} ago" for seconds, name in units if age >= seconds), "just now")
    return Text(f"{'passed' if last.ok else 'failed'} {ago}", "green" if last.ok else "red")


def destination_json(file: FileSettings, position: int) -> dict[str, object]:
    """Return a destination as a JSON document."""
    destination = file.destinations[position]
    last = last_test(file.path, destination, os.environ)
    fields = show(destination, file.tables[position], file).fields
    return {
        "name": destination.name,
        **{name: field.value for name, field in fields.items()},
        "missing_variables": list(file.unset_variables.get(destination.name, ())),
        "last_test": last.as_json() if last else None,
    }


def destination_lines(file: FileSettings, position: int) -> Group:
    """Return everything about one destination."""
    destination = file.destinations[position]
    last = last_test(file.path, destination, os.environ)
    result = _test_result(last)
    if last and not last.ok:
        result.append(f": {last.message}")
    fields = show(destination, file.tables[position], file)
    return Group(_destination(fields, str(file.path)), Text.assemble("  last test  ", result))


def effective_lines(settings: Effective) -> Group:
    """Return all settings in effect: the stated ones first, each with its origin, the defaults last."""
    path = str(settings.file) if settings.file else ""
    head = Table.grid(padding=(0, 2))
    head.add_row("settings file", path or Text("none", "dim"))
    state = Text(f"off ({_short_origin(settings.off, path)})", "yellow") if settings.off else Text("on", "green")
    head.add_row("broadcasting", state)
    blocks: list[RenderableType] = [head]
    for destination in settings.destinations:
        blocks += ["", _destination(destination, path)]
    if not settings.destinations:
        blocks += ["", Text("no destination", "yellow")]
    return Group(*blocks, "", _settings("settings", settings.options, path))


def _destination(destination: ShownDestination, path: str) -> Group:
    is_on = destination.fields["enabled"].value is True
    state = Text(" on", "green") if is_on else Text(" off", "yellow")
    if destination.unset_variables:
        state = Text(f" off: {', '.join(destination.unset_variables)} not set", "red")
    head = Text.assemble("destination ", (destination.name, "bold"), state)
    return _settings(head, {name: field for name, field in destination.fields.items() if name != "enabled"}, path)


def _settings(head: str | Text, fields: Mapping[str, Shown], path: str) -> Group:
    grid = Table.grid(padding=(0, 2))
    defaults = []
    # Thirty defaults of equal weight would hide the three settings that somebody has made: they share one line.
    for name, field in fields.items():
        if field.origin != DEFAULT:
            grid.add_row(f"  {name}", _text(field.value), Text(_short_origin(field.origin, path), "dim"))
        elif field.value not in (None, {}, []):
            defaults.append(f"{name} {_text(field.value)}")
    blocks: list[RenderableType] = [head]
    if grid.row_count:
        blocks.append(grid)
    if defaults:
        blocks.append(Padding(Text(f"default: {', '.join(defaults)}", "dim"), (0, 0, 0, 2)))
    return Group(*blocks)


def _short_origin(origin: str, path: str) -> str:
    """Return an origin without what stands above or beside it: the file's path, the destination's name."""
    # Each line would repeat the path that stands in the first one.
    short = origin.removeprefix(f"{path}: ") if path else origin
    return "file" if short.startswith("[[destinations]]") else "[defaults]" if short.startswith("[defaults]") else short


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(entry)}" for key, entry in value.items())
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def effective_json(settings: Effective) -> dict[str, object]:
    """Return all settings in effect, each with its origin, as a JSON document."""
    return {
        "ok": not settings.faults,
        "file": str(settings.file) if settings.file else None,
        "enabled": settings.off is None,
        "disabled_by": settings.off,
        "settings": {name: field._asdict() for name, field in settings.options.items()},
        "destinations": [
            {
                "name": destination.name,
                "missing_variables": list(destination.unset_variables),
                **{name: field._asdict() for name, field in destination.fields.items()},
            }
            for destination in settings.destinations
        ],
        "warnings": list(settings.warnings),
        "faults": list(settings.faults),
    }


def import_lines(entries: Sequence[Imported], path: Path, *, dry_run: bool) -> Group:
    """Return a line for each destination of an import with its notes below, and one for all."""
    grid = Table.grid(padding=(0, 2))
    for entry in entries:
        if entry.table is None:
            grid.add_row(Text("skipped", "yellow"), Text(entry.name, "bold"), entry.skipped)
            continue
        grid.add_row(Text("imported", "green"), Text(entry.name, "bold"), redact_url(str(entry.table["endpoint"])))
        for note in entry.notes:
            grid.add_row("", "", note)
    count = sum(entry.table is not None for entry in entries)
    verb = "would be imported" if dry_run else "imported"
    tail = "" if dry_run or not count else "; not tested: llm-otel-broadcast destinations test NAME"
    return Group(grid, Text(f"{count} {verb} into {path}, {len(entries) - count} skipped{tail}"))
