"""`llm-otel-broadcast config | enable | disable`: the settings file as a whole."""

from __future__ import annotations

import os
import sys

import click

from llm_otel_broadcast.cli.output import as_json, exit_at_faults, say, say_json, warn
from llm_otel_broadcast.cli.settings_file import complete_name, settings_file


@click.command()
@as_json
def config(*, as_json: bool) -> None:
    """Show the settings in effect here and where each comes from, secrets hidden. Ends with 1 if something is wrong."""
    from llm_otel_broadcast.cli.views.settings import effective_json, effective_lines
    from llm_otel_broadcast.settings.manage.shown import effective

    settings = effective(os.environ)
    if as_json:
        say_json(effective_json(settings))
    elif not settings.faults:
        say(effective_lines(settings))
    if not as_json:
        for fault in settings.faults:
            click.echo(f"Error: {fault}", err=True)
        warn(settings.warnings)
    # A script can ask whether the settings are fine without reading the output.
    sys.exit(1 if settings.faults else 0)


@click.command()
@click.argument("name", required=False, shell_complete=complete_name)
@as_json
def enable(*, name: str | None, as_json: bool) -> None:
    """Switch broadcasting on, or only the destination NAME. Running programs follow within 30 seconds."""
    _switch(name, enabled=True, as_json=as_json)


@click.command()
@click.argument("name", required=False, shell_complete=complete_name)
@as_json
def disable(*, name: str | None, as_json: bool) -> None:
    """Switch broadcasting off, or only the destination NAME. Running programs follow within 30 seconds."""
    _switch(name, enabled=False, as_json=as_json)


def _switch(name: str | None, *, enabled: bool, as_json: bool) -> None:
    from llm_otel_broadcast.settings.environment import DISABLED, SDK_DISABLED

    with exit_at_faults(json=as_json):
        file = settings_file()
        if name is None:
            file.enable(enabled)
        else:
            # The whole table is written: headers and all else of it stay as they are.
            file.save(name, {**file.table(name), "enabled": enabled})
    if as_json:
        say_json({"ok": True, "file": str(file.path), "destination": name, "enabled": enabled})
        return
    subject = "broadcasting" if name is None else f'"{name}"'
    click.echo(f"{subject} is {'on' if enabled else 'off'} in {file.path}; running programs follow within 30 seconds")
    # The file says on, and nothing is sent all the same: the most puzzling outcome of `enable`.
    for variable in (DISABLED, SDK_DISABLED):
        if name is None and os.environ.get(variable):
            click.echo(f"Warning: {variable}={os.environ[variable]} is set here and counts more", err=True)
