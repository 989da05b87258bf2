"""The command `llm-otel-broadcast`: its group, and the commands that are registered with it.

A command's file imports what it runs only when it runs, so that `--help` and shell completion stay quick.
"""

from __future__ import annotations

from typing import Final

import click

from llm_otel_broadcast.cli.commands.collector_config import collector_config
from llm_otel_broadcast.cli.commands.config import config, disable, enable
from llm_otel_broadcast.cli.commands.demo import demo
from llm_otel_broadcast.cli.commands.destination_add import add, edit
from llm_otel_broadcast.cli.commands.destination_test import test
from llm_otel_broadcast.cli.commands.destinations import destinations
from llm_otel_broadcast.cli.commands.presets import presets
from llm_otel_broadcast.cli.commands.run import run
from llm_otel_broadcast.cli.commands.spool import spool
from llm_otel_broadcast.cli.commands.test_trace import send_test_trace
from llm_otel_broadcast.cli.settings_file import config_option, use_settings_file
from llm_otel_broadcast.version import __version__

_EPILOG: Final = """\b
Exit codes: 0 fine, 1 what was asked for failed, 2 wrong usage.
Completion, in ~/.bashrc (zsh: zsh_source in ~/.zshrc):
  eval "$(_LLM_OTEL_BROADCAST_COMPLETE=bash_source llm-otel-broadcast)"
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
@click.version_option(__version__)
@config_option
def cli(config: str | None) -> None:
    """Every LLM call as an OpenTelemetry trace."""
    use_settings_file(config)


for command in (collector_config, demo, run, config, enable, disable, destinations, spool, send_test_trace):
    cli.add_command(command)
for command in (add, edit, test, presets):
    destinations.add_command(command)
