"""`llm-otel-broadcast destinations list | show | remove | import`: the settings file's destinations."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llm_otel_broadcast.cli.output import as_json, exit_at_faults, say, say_json, warn
from llm_otel_broadcast.cli.settings_file import complete_name, settings_file

if TYPE_CHECKING:
    from llm_otel_broadcast.settings.manage.editor import SettingsFile


@click.group()
def destinations() -> None:
    """Where traces go: the destinations in the settings file."""


name_argument = click.argument("name", shell_complete=complete_name)


def _trusted_file() -> SettingsFile:
    """Return the settings file, after a warning of each that was passed over because others may write to it."""
    from llm_otel_broadcast.settings.locations import look

    warn(look(os.environ).refusals())
    return settings_file()


@destinations.command("list")
@as_json
def list_(*, as_json: bool) -> None:
    """Show all destinations, and how their last test ended."""
    from llm_otel_broadcast.cli.views.settings import destination_json, destination_table, emptiness, remarks

    with exit_at_faults(json=as_json):
        file = _trusted_file()
        settings = file.load(os.environ)
    if as_json:
        # One destination as `show --json` has it: scripts read both alike.
        documents = [destination_json(settings, position) for position in range(len(settings.tables))]
        say_json({"file": str(file.path), "destinations": documents})
        return
    say(destination_table(settings) if settings.destinations else emptiness(file.path))
    for remark in remarks(settings):
        click.echo(remark)
    warn(settings.warnings)


@destinations.command()
@name_argument
@as_json
def show(*, name: str, as_json: bool) -> None:
    """Show one destination, its secrets hidden."""
    from llm_otel_broadcast.cli.views.settings import destination_json, destination_lines

    with exit_at_faults(json=as_json):
        file = _trusted_file()
        # Raises where there is no such destination, with the names that there are.
        file.table(name)
        settings = file.load(os.environ)
    position = [destination.name for destination in settings.destinations].index(name)
    if as_json:
        say_json(destination_json(settings, position))
    else:
        say(destination_lines(settings, position))


@destinations.command()
@name_argument
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@as_json
def remove(*, name: str, yes: bool, as_json: bool) -> None:
    """Take a destination out of the settings file."""
    with exit_at_faults(json=as_json):
        file = _trusted_file()
        file.table(name)
        # A script cannot answer, and is not asked.
        if not (yes or as_json) and sys.stdin.isatty() and sys.stdout.isatty():
            click.confirm(f'Remove "{name}" and its headers from {file.path}?', abort=True)
        file.remove(name)
    if as_json:
        say_json({"ok": True, "removed": name, "file": str(file.path)})
    else:
        click.echo(f'"{name}" is removed from {file.path}')


def _export_from_api(api: str, variable: str) -> str:
    from llm_otel_broadcast.cli.openrouter_api import fetch_export
    from llm_otel_broadcast.settings.errors import ConfigError

    # Of the environment alone: an argument is in the list of processes and in the shell's history.
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError([f"set {variable}: it has to hold a management key of OpenRouter's"])
    return fetch_export(api, key)


def _export_from_file(source: Path, label: str) -> str:
    from llm_otel_broadcast.settings.errors import ConfigError

    try:
        # With a byte order mark the JSON would not begin with a brace.
        return sys.stdin.read() if str(source) == "-" else source.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError([f"{label}: it cannot be read ({error.strerror})"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{label}: it is no UTF-8"]) from None


@destinations.command("import")
@click.argument("source", metavar="[FILE.json]", required=False, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--from-openrouter", "from_api", is_flag=True, help="Ask the API itself, with a management key.")
@click.option(
    "--key-from-env",
    "variable",
    metavar="VARIABLE",
    default="OPENROUTER_MANAGEMENT_KEY",
    show_default=True,
    help="The environment variable that holds that key.",
)
@click.option("--api", metavar="URL", default="https://openrouter.ai/api/v1", show_default=True, help="Where it is.")
@click.option("--dry-run", is_flag=True, help="Say what would be imported, and write nothing.")
@click.option("--replace", is_flag=True, help="Replace destinations that have the same name.")
@as_json
def import_(
    *, source: Path | None, from_api: bool, variable: str, api: str, dry_run: bool, replace: bool, as_json: bool
) -> None:
    """Take over destinations from OpenRouter's destination management API.

    FILE.json is what GET /api/v1/observability/destinations answers: one object, an array, or {"data": [...]}; - reads it
    from standard input, and --from-openrouter from the API. What takes no OTLP is skipped, and said. Secrets that the API has masked become ${VARIABLES}.
    """
    from llm_otel_broadcast.cli.views.settings import import_lines
    from llm_otel_broadcast.settings.errors import ConfigError
    from llm_otel_broadcast.settings.manage.openrouter_import import read_export

    if (source is None) != from_api:
        raise click.UsageError("give FILE.json or --from-openrouter" + (", not both" if from_api else ""))
    with exit_at_faults(json=as_json):
        file = _trusted_file()
        names = () if replace else file.names()
        # An error names where the text came from: the export, not the settings file.
        label = "the API" if source is None else "standard input" if str(source) == "-" else str(source)
        text = _export_from_api(api, variable) if source is None else _export_from_file(source, label)
        try:
            entries = read_export(text, names)
        except ConfigError as error:
            raise ConfigError([f"{label}: {fault}" for fault in error.faults]) from None
        for entry in entries:
            # Without a table: a kind that takes no OTLP, which is only reported.
            if entry.table is not None and not dry_run:
                file.save(entry.name, entry.table)
    imported = [entry for entry in entries if entry.table is not None]
    if as_json:
        say_json(
            {
                "ok": bool(imported),
                "file": str(file.path),
                "dry_run": dry_run,
                "imported": [{"name": entry.name, "notes": list(entry.notes)} for entry in imported],
                "skipped": [{"name": entry.name, "reason": entry.skipped} for entry in entries if entry.table is None],
            }
        )
    else:
        say(import_lines(entries, file.path, dry_run=dry_run))
    # An export of which nothing could be taken over is a failure for a script.
    sys.exit(0 if imported else 1)
