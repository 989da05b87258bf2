"""`llm-otel-broadcast spool list | send | clear`: what could not be delivered yet, and waits on disk."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llm_otel_broadcast.cli.output import as_json, exit_at_faults, say, say_json, warn
from llm_otel_broadcast.cli.settings_file import complete_name
from llm_otel_broadcast.settings.errors import ConfigError

if TYPE_CHECKING:
    from llm_otel_broadcast.settings.options import Options
    from llm_otel_broadcast.spool.store import SpoolStore


@click.group()
def spool() -> None:
    """Show, send or remove what could not be delivered yet, and waits on disk."""


directory_option = click.option(
    "--directory",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="The spool, instead of the one in the settings.",
)
destination_option = click.option(
    "--destination", "name", metavar="NAME", shell_complete=complete_name, help="Only what waits for this destination."
)


@spool.command("list")
@directory_option
@as_json
def list_(*, directory: str | None, as_json: bool) -> None:
    """Show what waits, by destination, and whether a destination here may send it."""
    from llm_otel_broadcast.cli.views.spool import backlog_json, backlog_table
    from llm_otel_broadcast.runtime.spooled import shelves_of
    from llm_otel_broadcast.spool.directory import damaged_files
    from llm_otel_broadcast.spool.identity import is_same_address

    with exit_at_faults(json=as_json), _disk_faults():
        options, store = _spool_in_use(directory)
        backlogs = store.backlogs() if store.path.exists() else []
        # By identity: which destination here may send it; "" where that has other headers.
        senders: dict[str, str] = {}
        for name, shelf in shelves_of(options).items() if backlogs else ():
            for backlog in backlogs:
                if backlog.identity == shelf.identity:
                    senders[backlog.identity] = name
                elif is_same_address(backlog.identity, shelf.identity):
                    senders.setdefault(backlog.identity, "")
    damaged = [str(path) for path in damaged_files(store.path)]
    if as_json:
        documents = [backlog_json(backlog, senders.get(backlog.identity)) for backlog in backlogs]
        say_json({"directory": str(store.path.parent), "backlogs": documents, "damaged": damaged})
        return
    if backlogs:
        say(backlog_table(backlogs, senders))
    else:
        click.echo(f"Nothing waits in {store.path.parent}.")
    warn(f"{path} is damaged and was moved aside: nothing reads it any more, remove it" for path in damaged)


@spool.command()
@directory_option
@destination_option
@click.option("--timeout", default=600.0, show_default=True, help="Seconds, at most.")
@click.option("--changed-headers", is_flag=True, help="Also what was stored for the same address with other headers.")
@as_json
def send(*, directory: str | None, name: str | None, timeout: float, changed_headers: bool, as_json: bool) -> None:
    """Send what waits to the destinations that are in effect here.

    Each gets what was stored for it: for the same name, address and headers. After a change of a key, --changed-headers sends what was
    stored with the former one. Ends with 1 where something is left.
    """
    from llm_otel_broadcast.cli.views.spool import sent_lines
    from llm_otel_broadcast.runtime.spooled import send_spooled, shelves_of, take_over

    with exit_at_faults(json=as_json), _disk_faults():
        options, store = _spool_in_use(directory)
        chosen = [
            destination
            for destination in options.destinations
            if destination.enabled and name in (None, destination.name)
        ]
        if not chosen:
            raise ConfigError(
                [f'there is no enabled destination "{name}" here' if name else "there is no destination here"]
            )
        options = replace(options, destinations=tuple(chosen))
        if store.path.exists() and changed_headers:
            for shelf in shelves_of(options).values():
                take_over(shelf)
        results = send_spooled(options, timeout) if store.path.exists() else []
    if as_json:
        say_json(
            {"ok": not any(sent.remaining for sent in results), "destinations": [sent._asdict() for sent in results]}
        )
    else:
        for line in sent_lines(results, store.path.parent):
            click.echo(line)
    sys.exit(1 if any(sent.remaining for sent in results) else 0)


@spool.command()
@directory_option
@destination_option
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@as_json
def clear(*, directory: str | None, name: str | None, yes: bool, as_json: bool) -> None:
    """Remove what waits. It is lost then."""
    with exit_at_faults(json=as_json), _disk_faults():
        _, store = _spool_in_use(directory)
        backlogs = [entry for entry in (store.backlogs() if store.path.exists() else []) if name in (None, entry.name)]
        records = sum(backlog.records for backlog in backlogs)
        # A script cannot answer, and is not asked.
        if records and not (yes or as_json) and sys.stdin.isatty() and sys.stdout.isatty():
            click.confirm(f"Remove {records} record(s) that were not delivered?", abort=True)
        removed = sum(store.clear(backlog.identity) for backlog in backlogs)
        if backlogs:
            store.tidy()
    if as_json:
        say_json({"ok": True, "removed": removed, "directory": str(store.path.parent)})
    else:
        click.echo(f"{removed} record(s) removed from {store.path.parent}")


@contextmanager
def _disk_faults() -> Iterator[None]:
    """Turn an error of the disk into one of the settings, which the commands know how to show."""
    from llm_otel_broadcast.spool.directory import SpoolError

    try:
        yield
    except SpoolError as error:
        raise ConfigError([f"the spool cannot be used: {error}"]) from None


def _spool_in_use(directory: str | None) -> tuple[Options, SpoolStore]:
    """Return the settings in effect here, with the spool that is meant, and that spool.

    Raises:
        ConfigError: the settings are wrong, or there is no spool.
    """
    from llm_otel_broadcast.settings.precedence import read_file_in_use, resolve_settings
    from llm_otel_broadcast.settings.spool import SpoolSettings
    from llm_otel_broadcast.spool.store import store_at

    arguments: Mapping[str, object] = {} if directory is None else {"spool": directory}
    settled = resolve_settings(arguments, os.environ, read_file_in_use(os.environ))
    warn(settled.warnings)
    settings = settled.options.spool
    if not isinstance(settings, SpoolSettings):
        raise ConfigError(
            ["there is no spool here: give --directory, set LLM_OTEL_BROADCAST_SPOOL, or name it in the file"]
        )
    return settled.options, store_at(Path(settings.directory), settings.max_bytes, settings.max_age)
