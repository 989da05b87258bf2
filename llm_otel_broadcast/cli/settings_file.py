"""The settings file that the commands read and change, and how they name a destination in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llm_otel_broadcast.settings.locations import CONFIG

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from llm_otel_broadcast.settings.manage.editor import SettingsFile

config_option = click.option(
    "--config",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="The settings file that counts here, instead of the one that is looked for.",
)


def use_settings_file(path: str | None) -> None:
    """Make a settings file the one in effect, here and in the programs that are started; None: change nothing."""
    if path is not None:
        # Every reader of settings looks into the environment, and programs of `run` inherit it; they may start in another
        # directory, so the path is absolute.
        os.environ[CONFIG] = str(Path(path).absolute())


def settings_file() -> SettingsFile:
    """Return the settings file in effect here; it need not exist yet."""
    from llm_otel_broadcast.settings.manage.editor import SettingsFile

    return SettingsFile.in_use_or_new(os.environ)


def complete_name(_context: click.Context, _parameter: click.Parameter, prefix: str) -> list[CompletionItem]:
    """Offer the names of the destinations to the shell."""
    from click.shell_completion import CompletionItem

    from llm_otel_broadcast.settings.errors import ConfigError

    # A broken file has no names to offer, and the middle of a line that is typed is no place for its faults.
    try:
        return [CompletionItem(name) for name in settings_file().names() if name.startswith(prefix)]
    except ConfigError:
        return []
