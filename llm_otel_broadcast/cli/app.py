"""The commands and their options; each imports what it runs only when it runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

import click

from llm_otel_broadcast.cli.commands.collector_config import collector_config
from llm_otel_broadcast.cli.commands.config import config, disable, enable
from llm_otel_broadcast.cli.commands.destination_add import add, edit
from llm_otel_broadcast.cli.commands.destination_test import presets, send_test_trace, try_
from llm_otel_broadcast.cli.commands.destinations import complete_name, destinations
from llm_otel_broadcast.cli.destination_options import checked_headers, endpoint_option, header_option, split_headers
from llm_otel_broadcast.settings.locations import CONFIG
from llm_otel_broadcast.version import __version__

_PIPED_WIDTH: Final = 240
"""No line breaks in the middle of a name where there is no terminal to fit."""


_EPILOG: Final = """\b
Exit codes: 0 fine, 1 what was asked for failed, 2 wrong usage.
Completion, in ~/.bashrc (zsh: zsh_source in ~/.zshrc):
  eval "$(_LLM_OTEL_BROADCAST_COMPLETE=bash_source llm-otel-broadcast)"
"""


config_option = click.option(
    "--config",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="The settings file that counts here, instead of the one that is looked for.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
@click.version_option(__version__)
@config_option
def cli(config: str | None) -> None:
    """Every LLM call as an OpenTelemetry trace."""
    _use(config)


def _use(config: str | None) -> None:
    """Have a settings file count, here and in the programs that are started."""
    if config is not None:
        os.environ[CONFIG] = str(Path(config).absolute())


cli.add_command(collector_config)


@cli.command()
@endpoint_option("Send the same traces to this OTLP/HTTP backend as well.")
@header_option("An HTTP header for --endpoint, for instance its API key; 'Name: value' will do; may be repeated.")
def demo(endpoint: str | None, headers: tuple[str, ...]) -> None:
    """Make real calls to a local stand-in for the API and show the traces that arrive.

    Needs no key, no network and no configuration; takes a few seconds.
    """
    from rich.console import Console

    from llm_otel_broadcast.cli.commands.demo import run
    from llm_otel_broadcast.settings.environment import disabling
    from llm_otel_broadcast.settings.errors import ConfigError

    if headers and not endpoint:
        raise click.UsageError("--header needs --endpoint URL")
    os.environ[CONFIG] = os.devnull  # what it shows does not depend on a settings file
    try:
        disabled_by = disabling(os.environ)
        if disabled_by:
            raise click.ClickException(f"{disabled_by} is true, so there would be nothing to see: unset it")
        console = Console() if sys.stdout.isatty() else Console(width=_PIPED_WIDTH)
        delivered = run(console, endpoint, checked_headers(split_headers(headers)))
    except ConfigError as wrong:
        raise click.ClickException(str(wrong)) from None
    if not delivered:
        sys.exit(1)


@cli.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--endpoint", "-e", metavar="URL", help="Send the traces to this OTLP/HTTP backend.")
@header_option("An HTTP header for it, for instance its API key; 'Name: value' will do; may be repeated.")
@click.option(
    "--to",
    metavar="NAME",
    multiple=True,
    shell_complete=complete_name,
    help="Send to this destination of the settings file only; may be repeated.",
)
@click.option("--service-name", metavar="NAME", help="service.name of the program; default: the program's own name.")
@click.option("--privacy-mode", is_flag=True, help="Send no prompts and no answers anywhere.")
@config_option
@click.argument("program", nargs=-1, type=click.UNPROCESSED, required=True, metavar="PROGRAM [ARGS]...")
def run(*, program: tuple[str, ...], headers: tuple[str, ...], config: str | None, **options: Any) -> None:
    """Run a program with every LLM call traced, in it and in all Python programs that it starts. Its code stays as it is.

    \b
        llm-otel-broadcast run --endpoint http://localhost:4318 python app.py
        llm-otel-broadcast run gunicorn app:app
        llm-otel-broadcast run -m module          (with this Python)

    Without --endpoint and --to the environment says where to: LLM_OTEL_BROADCAST_ENDPOINT, LLM_OTEL_BROADCAST_HEADERS and so on, else
    the settings file, else OTEL_EXPORTER_OTLP_ENDPOINT and its like. If something is wrong with that, one line says so and the program runs untraced.
    """  # noqa: D301  # click's sign for lines to be left alone
    from llm_otel_broadcast.cli.commands.run import launch

    if program[0].startswith("-") and (program[0] != "-m" or len(program) == 1):
        raise click.UsageError(f"{program[0]} is no option of run; options of a program stand behind its name")
    if options["to"] and options["endpoint"]:
        raise click.UsageError(
            "--to chooses among the settings file's destinations, --endpoint names one: leave one out"
        )
    _use(config)
    options["headers"] = split_headers(headers)
    launch(program, {name: value for name, value in options.items() if value})


cli.add_command(config)
cli.add_command(enable)
cli.add_command(disable)
cli.add_command(destinations)
cli.add_command(send_test_trace)
for command in (add, edit, try_, presets):
    destinations.add_command(command)
