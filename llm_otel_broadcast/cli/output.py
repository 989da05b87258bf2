"""How the commands speak: one JSON document for scripts, a few short lines for people; what is wrong ends them with 1."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from llm_otel_broadcast.settings.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PIPED_WIDTH: Final = 240
"""No line breaks in the middle of a name where there is no terminal to fit."""

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")


def terminal() -> Console:
    """Return where lines for people go."""
    from rich.console import Console

    return Console(highlight=False) if sys.stdout.isatty() else Console(width=PIPED_WIDTH, highlight=False)


def say(drawn: RenderableType) -> None:
    """Print for people; without the blanks that a column's last cells are filled up with."""
    console = terminal()
    with console.capture() as captured:
        console.print(drawn)
    lines = captured.get().splitlines()
    click.echo("\n".join(line.rstrip() for line in lines))


def warn(warnings: Iterable[str]) -> None:
    """Print what wants the user's eye beside the output."""
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)


def say_json(document: Any) -> None:
    """Print the one document of a command."""
    click.echo(json.dumps(document, indent=2))


@contextmanager
def faults_told(*, json: bool) -> Iterator[None]:
    """End the command with 1 at a ConfigError, every fault on a line of its own."""
    try:
        yield
    except ConfigError as wrong:
        if json:
            say_json({"ok": False, "faults": list(wrong.faults)})
        else:
            for fault in wrong.faults:
                click.echo(f"Error: {fault}", err=True)
        sys.exit(1)


@contextmanager
def usage_told() -> Iterator[None]:
    """Make a ConfigError about what the command line says what it is: wrong usage, which ends the command with 2."""
    try:
        yield
    except ConfigError as wrong:
        raise click.UsageError("; ".join(wrong.faults)) from None
