"""Destinations and settings drawn for the terminal, and laid out for JSON. Secrets never come this far."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.endpoints import redact_url
from llm_otel_broadcast.settings.file import FileSettings
from llm_otel_broadcast.settings.manage.last_tests import LastTest, last_test
from llm_otel_broadcast.settings.manage.openrouter_import import Imported
from llm_otel_broadcast.settings.manage.shown import DEFAULT, Effective, Shown, ShownDestination, show

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


def emptiness(path: Path) -> Text:
    """Say that there is nothing, and what to do about it."""
    return Text(f"No destinations in {path}. Add one: llm-otel-broadcast destinations add NAME --endpoint URL")


def destination_table(file: FileSettings) -> Table:
    """Return a row for each destination."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    samples = any(made.name == "sampling_rate" for made in fields(Destination))
    names = ("name", "enabled", "endpoint", "encoding", "privacy", *(("sampling",) if samples else ()), "last test")
    for name in names:
        table.add_column(name, overflow="fold")
    for one in file.destinations:
        cells: list[str | Text] = [
            Text(one.name, "bold"),
            _enabled(file, one),
            redact_url(one.endpoint or ""),
            one.encoding,
        ]
        cells.append(Text("on", "green") if one.privacy_mode else Text("off", "dim"))
        if samples:
            cells.append(f"{getattr(one, 'sampling_rate', 1):g}")
        table.add_row(*cells, _ended(last_test(file.path, one, os.environ)))
    return table


def remarks(file: FileSettings) -> Iterable[str]:
    """Say below the table what keeps destinations from sending."""
    for name, missing in file.missing.items():
        yield f'"{name}" is off: {", ".join(missing)} not set in the environment'
    if not file.enabled:
        yield "broadcasting is off altogether: llm-otel-broadcast enable"


def _enabled(file: FileSettings, one: Destination) -> Text:
    if one.name in file.missing:
        return Text("off", "red")
    return Text("on", "green") if one.enabled else Text("off", "yellow")


def _ended(last: LastTest | None) -> Text:
    if last is None:
        return Text("never", "dim")
    return Text(f"{'passed' if last.ok else 'failed'} {_ago(time.time() - last.at)}", "green" if last.ok else "red")


def _ago(seconds: float) -> str:
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            return f"{int(seconds // unit)} {name} ago"
    return "just now"


def destination_json(file: FileSettings, position: int) -> dict[str, Any]:
    """Return a destination as JSON has it."""
    one = file.destinations[position]
    last = last_test(file.path, one, os.environ)
    said = {name: shown.value for name, shown in show(one, file.tables[position], file).fields.items()}
    missing = list(file.missing.get(one.name, ()))
    return {"name": one.name, **said, "missing_variables": missing, "last_test": asdict(last) if last else None}


def one_destination(file: FileSettings, position: int) -> Group:
    """Return everything about one destination."""
    one = file.destinations[position]
    last = last_test(file.path, one, os.environ)
    told = _ended(last)
    if last and not last.ok:
        told.append(f": {last.message}")
    shown = show(one, file.tables[position], file)
    return Group(_destination(shown, str(file.path)), Text.assemble("  last test  ", told))


def effective_lines(found: Effective) -> Group:
    """Return all settings in effect: what somebody has said first, the defaults last."""
    path = str(found.file) if found.file else ""
    head = Table.grid(padding=(0, 2))
    head.add_row("settings file", path or Text("none", "dim"))
    head.add_row(
        "broadcasting", Text(f"off ({_short(found.off, path)})", "yellow") if found.off else Text("on", "green")
    )
    parts: list[Any] = [head]
    for one in found.destinations:
        parts += ["", _destination(one, path)]
    if not found.destinations:
        parts += ["", Text("no destination", "yellow")]
    return Group(*parts, "", _settings("settings", found.options, path))


def _destination(one: ShownDestination, path: str) -> Group:
    is_on = one.fields["enabled"].value is True
    state = Text(" on", "green") if is_on else Text(" off", "yellow")
    if one.missing:
        state = Text(f" off: {', '.join(one.missing)} not set", "red")
    head = Text.assemble("destination ", (one.name, "bold"), state)
    return _settings(head, {name: shown for name, shown in one.fields.items() if name != "enabled"}, path)


def _settings(head: str | Text, shown: Mapping[str, Shown], path: str) -> Group:
    grid = Table.grid(padding=(0, 2))
    for name, one in shown.items():
        if one.origin != DEFAULT:
            grid.add_row(f"  {name}", _text(one.value), Text(_short(one.origin, path), "dim"))
    defaults = [
        f"{name} {_text(one.value)}"
        for name, one in shown.items()
        if one.origin == DEFAULT and one.value not in (None, {}, [])
    ]
    parts: list[Any] = [head]
    if grid.row_count:
        parts.append(grid)
    if defaults:
        parts.append(Padding(Text(f"default: {', '.join(defaults)}", "dim"), (0, 0, 0, 2)))
    return Group(*parts)


def _short(origin: str, path: str) -> str:
    """Leave out what stands above or beside: the file's path, the name of the destination or of the setting."""
    short = origin.removeprefix(f"{path}: ") if path else origin
    return "file" if short.startswith("[[destinations]]") else "[defaults]" if short.startswith("[defaults]") else short


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(one)}" for key, one in value.items())
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def effective_json(found: Effective) -> dict[str, Any]:
    """Return all settings in effect as JSON has them."""
    return {
        "ok": not found.faults,
        "file": str(found.file) if found.file else None,
        "enabled": found.off is None,
        "disabled_by": found.off,
        "settings": {name: shown._asdict() for name, shown in found.options.items()},
        "destinations": [
            {
                "name": one.name,
                "missing_variables": list(one.missing),
                **{name: shown._asdict() for name, shown in one.fields.items()},
            }
            for one in found.destinations
        ],
        "warnings": list(found.warnings),
        "faults": list(found.faults),
    }


def import_lines(found: Sequence[Imported], path: Path, *, dry_run: bool) -> Group:
    """Return a line for each destination of an import, and one for all."""
    grid = Table.grid(padding=(0, 2))
    for one in found:
        for row in _import_rows(one):
            grid.add_row(*row)
    count = sum(one.table is not None for one in found)
    done = "would be imported" if dry_run else "imported"
    tail = "" if dry_run or not count else "; not tested: llm-otel-broadcast destinations test NAME"
    return Group(grid, Text(f"{count} {done} into {path}, {len(found) - count} skipped{tail}"))


def _import_rows(one: Imported) -> Iterable[tuple[Text, Text, str]]:
    if one.table is None:
        yield Text("skipped", "yellow"), Text(one.name, "bold"), one.skipped
        return
    yield Text("imported", "green"), Text(one.name, "bold"), redact_url(str(one.table["endpoint"]))
    for note in one.notes:
        yield Text(""), Text(""), note
