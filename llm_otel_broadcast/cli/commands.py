"""The commands and their options; each imports what it runs only when it runs."""

from __future__ import annotations

import os
import sys
from typing import Final

import click

from llm_otel_broadcast.cli.adding import add, edit
from llm_otel_broadcast.cli.collectors import collector_config
from llm_otel_broadcast.cli.destinations import destinations
from llm_otel_broadcast.cli.settings import config, disable, enable
from llm_otel_broadcast.cli.trying import presets, send_test_trace, try_
from llm_otel_broadcast.settings.places import CONFIG
from llm_otel_broadcast.version import __version__

_PIPED_WIDTH: Final = 240
"""No line breaks in the middle of a name where there is no terminal to fit."""


_EPILOG: Final = """\b
Exit codes: 0 fine, 1 what was asked for failed, 2 wrong usage.
Completion, in ~/.bashrc (zsh: zsh_source in ~/.zshrc):
  eval "$(_LLM_OTEL_BROADCAST_COMPLETE=bash_source llm-otel-broadcast)"
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
@click.version_option(__version__)
def cli() -> None:
    """Every LLM call as an OpenTelemetry trace."""


cli.add_command(collector_config)


@cli.command()
@click.option("--endpoint", metavar="URL", help="Send the same traces to this OTLP/HTTP backend as well.")
@click.option(
    "--header",
    "headers",
    metavar="KEY=VALUE",
    multiple=True,
    help="An HTTP header for --endpoint, for instance its API key; may be repeated.",
)
def demo(endpoint: str | None, headers: tuple[str, ...]) -> None:
    """Make real calls to a local stand-in for the API and show the traces that arrive.

    Needs no key, no network and no configuration; takes a few seconds.
    """
    from rich.console import Console

    from llm_otel_broadcast.cli.demo import run
    from llm_otel_broadcast.settings.errors import ConfigError
    from llm_otel_broadcast.settings.variables import disabling

    if headers and not endpoint:
        raise click.UsageError("--header needs --endpoint URL")
    os.environ[CONFIG] = os.devnull  # what it shows does not depend on a settings file
    try:
        disabled_by = disabling(os.environ)
        if disabled_by:
            raise click.ClickException(f"{disabled_by} is true, so there would be nothing to see: unset it")
        console = Console() if sys.stdout.isatty() else Console(width=_PIPED_WIDTH)
        delivered = run(console, endpoint, _parsed(headers))
    except ConfigError as wrong:
        raise click.ClickException(str(wrong)) from None
    if not delivered:
        sys.exit(1)


@cli.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--endpoint", metavar="URL", help="Send the traces to this OTLP/HTTP backend.")
@click.option(
    "--header",
    "headers",
    metavar="KEY=VALUE",
    multiple=True,
    help="An HTTP header for it, for instance its API key; may be repeated.",
)
@click.argument("program", nargs=-1, type=click.UNPROCESSED, required=True, metavar="PROGRAM [ARGS]...")
def run(endpoint: str | None, headers: tuple[str, ...], program: tuple[str, ...]) -> None:
    """Run a program with every LLM call traced, in it and in all Python programs that it starts. Its code stays as it is.

    \b
        llm-otel-broadcast run --endpoint http://localhost:4318 python app.py
        llm-otel-broadcast run gunicorn app:app
        llm-otel-broadcast run -m module          (with this Python)

    Without --endpoint the environment says where to: LLM_OTEL_BROADCAST_ENDPOINT, LLM_OTEL_BROADCAST_HEADERS and so on, else
    OTEL_EXPORTER_OTLP_ENDPOINT and its like. If something is wrong with that, one line says so and the program runs untraced.
    """  # noqa: D301  # click's sign for lines to be left alone
    from llm_otel_broadcast.cli.launch import launch

    if program[0].startswith("-") and (program[0] != "-m" or len(program) == 1):
        raise click.UsageError(f"{program[0]} is no option of run; options of a program stand behind its name")
    launch(program, endpoint, _parsed(headers))


def _parsed(headers: tuple[str, ...]) -> dict[str, str]:
    pairs = [header.partition("=") for header in headers]
    for position, (name, separator, _) in enumerate(pairs):
        if not separator or not name.strip():
            raise click.BadParameter(f"number {position + 1} is not KEY=VALUE", param_hint="--header")
    return {name.strip(): value.strip() for name, _, value in pairs}


cli.add_command(config)
cli.add_command(enable)
cli.add_command(disable)
cli.add_command(destinations)
cli.add_command(send_test_trace)
for command in (add, edit, try_, presets):
    destinations.add_command(command)
