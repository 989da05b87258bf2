"""`llm-otel-broadcast destinations list | show | remove | import`: the settings file's destinations."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llm_otel_broadcast.cli.output import as_json, faults_told, say, say_json, warn

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from llm_otel_broadcast.settings.manage.editor import SettingsFile
    from llm_otel_broadcast.settings.manage.openrouter_import import Imported


@click.group()
def destinations() -> None:
    """Where traces go: the destinations in the settings file."""


def complete_name(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the names of the destinations to the shell."""
    from click.shell_completion import CompletionItem

    from llm_otel_broadcast.settings.errors import ConfigError
    from llm_otel_broadcast.settings.manage.editor import SettingsFile

    try:
        return [CompletionItem(name) for name in SettingsFile.found(os.environ).names() if name.startswith(typed)]
    except ConfigError:
        return []


name_argument = click.argument("name", shell_complete=complete_name)


def _file() -> SettingsFile:
    from llm_otel_broadcast.settings.locations import look
    from llm_otel_broadcast.settings.manage.editor import SettingsFile

    warn(look(os.environ).refusals())
    return SettingsFile.found(os.environ)


@destinations.command("list")
@as_json
def list_(*, as_json: bool) -> None:
    """Show all destinations, and how their last test ended."""
    from llm_otel_broadcast.cli.views.settings import destination_json, destination_table, emptiness, remarks

    with faults_told(json=as_json):
        file = _file()
        said = file.load(os.environ)
    if as_json:
        say_json(
            {"file": str(file.path), "destinations": [destination_json(said, name) for name in range(len(said.tables))]}
        )
        return
    say(destination_table(said) if said.destinations else emptiness(file.path))
    for remark in remarks(said):
        click.echo(remark)
    warn(said.warnings)


@destinations.command()
@name_argument
@as_json
def show(*, name: str, as_json: bool) -> None:
    """Show one destination, its secrets hidden."""
    from llm_otel_broadcast.cli.views.settings import destination_json, one_destination

    with faults_told(json=as_json):
        file = _file()
        file.table(name)
        said = file.load(os.environ)
    position = [one.name for one in said.destinations].index(name)
    if as_json:
        say_json(destination_json(said, position))
    else:
        say(one_destination(said, position))


@destinations.command()
@name_argument
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@as_json
def remove(*, name: str, yes: bool, as_json: bool) -> None:
    """Take a destination out of the settings file."""
    with faults_told(json=as_json):
        file = _file()
        file.table(name)
        if not (yes or as_json) and sys.stdin.isatty() and sys.stdout.isatty():
            click.confirm(f'Remove "{name}" and its headers from {file.path}?', abort=True)
        file.remove(name)
    if as_json:
        say_json({"ok": True, "removed": name, "file": str(file.path)})
    else:
        click.echo(f'"{name}" is removed from {file.path}')


@destinations.command("import")
@click.argument("source", metavar="FILE.json", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--dry-run", is_flag=True, help="Say what would be imported, and write nothing.")
@click.option("--replace", is_flag=True, help="Replace destinations that have the same name.")
@as_json
def import_(*, source: Path, dry_run: bool, replace: bool, as_json: bool) -> None:
    """Take over destinations from OpenRouter's destination management API.

    FILE.json is what GET /api/v1/observability/destinations answers: one object, an array, or {"data": [...]}; - reads it
    from standard input. What takes no OTLP is skipped, and said. Secrets that the API has masked become ${VARIABLES}.
    """
    from llm_otel_broadcast.cli.views.settings import import_lines

    with faults_told(json=as_json):
        file = _file()
        found = _imported(source, taken=() if replace else file.names())
        for one in found:
            if one.table is not None and not dry_run:
                file.put(one.name, one.table)
    imported = [one for one in found if one.table is not None]
    if as_json:
        say_json(
            {
                "ok": bool(imported),
                "file": str(file.path),
                "dry_run": dry_run,
                "imported": [{"name": one.name, "notes": list(one.notes)} for one in imported],
                "skipped": [{"name": one.name, "reason": one.skipped} for one in found if one.table is None],
            }
        )
    else:
        say(import_lines(found, file.path, dry_run=dry_run))
    sys.exit(0 if imported else 1)


def _imported(source: Path, taken: Collection[str]) -> list[Imported]:
    from llm_otel_broadcast.settings.errors import ConfigError
    from llm_otel_broadcast.settings.manage.openrouter_import import read_export

    content = _content(source)
    try:
        return read_export(content, taken)
    except ConfigError as wrong:
        where = "standard input" if str(source) == "-" else source
        raise ConfigError([f"{where}: {fault}" for fault in wrong.faults]) from None


def _content(source: Path) -> str:
    from llm_otel_broadcast.settings.errors import ConfigError

    try:
        return sys.stdin.read() if str(source) == "-" else source.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError([f"{source}: it cannot be read ({error.strerror})"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{source}: it is no UTF-8"]) from None
