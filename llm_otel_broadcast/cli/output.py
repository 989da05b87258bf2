"""How the commands speak: one JSON document for scripts, a few short lines for people; what is wrong ends them with 1."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from llm_otel_broadcast.settings.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_PIPED_WIDTH: Final = 240
"""Characters. Where there is no terminal to fit, no line breaks in the middle of a name."""

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")


def terminal() -> Console:
    """Return where lines for people go."""
    from rich.console import Console

    # Rich would colour numbers and paths by its own rules; only what is marked has a colour here.
    return Console(highlight=False) if sys.stdout.isatty() else Console(width=_PIPED_WIDTH, highlight=False)


def say(renderable: RenderableType) -> None:
    """Print for people."""
    console = terminal()
    with console.capture() as captured:
        console.print(renderable)
    # Rich fills up the last column of a grid with blanks, in a pipe to the full 240 characters.
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def warn(warnings: Iterable[str]) -> None:
    """Print beside the output, on standard error."""
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)


def say_json(document: object) -> None:
    """Print the one document of a command."""
    click.echo(json.dumps(document, indent=2))


@contextmanager
def exit_at_faults(*, json: bool) -> Iterator[None]:
    """End the command with 1 at a ConfigError, every fault on a line of its own."""
    try:
        yield
    except ConfigError as error:
        if json:
            # Scripts get their one document in every case, and the exit code.
            say_json({"ok": False, "faults": list(error.faults)})
        else:
            for fault in error.faults:
                click.echo(f"Error: {fault}", err=True)
        sys.exit(1)


@contextmanager
def faults_as_usage() -> Iterator[None]:
    """Turn a ConfigError about an argument of the command line into wrong usage, which ends the command with 2."""
    try:
        yield
    except ConfigError as error:
        raise click.UsageError("; ".join(error.faults)) from None
