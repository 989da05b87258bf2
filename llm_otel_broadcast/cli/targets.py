"""What a test goes to where no destination of the settings file is named."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from llm_otel_broadcast.cli.output import warn
from llm_otel_broadcast.settings.errors import ConfigError

if TYPE_CHECKING:
    from llm_otel_broadcast.settings.destination import Destination


def unsaved_destination(table: Mapping[str, object]) -> Destination:
    """Return the destination that options alone describe.

    Raises:
        UsageError: there is no endpoint among them.
        ConfigError: one of them is wrong.
    """
    from llm_otel_broadcast.settings.file import make_destination

    if "endpoint" not in table:
        raise click.UsageError("where to? Give NAME or --endpoint URL")
    return make_destination(table, os.environ, "the destination")


def destinations_in_effect() -> Sequence[Destination]:
    """Return the enabled destinations that `instrument()` without arguments would send to here.

    Raises:
        ConfigError: the settings are wrong, or no destination is enabled.
    """
    from llm_otel_broadcast.settings.precedence import read_file_in_use, resolve_settings

    settled = resolve_settings({}, os.environ, read_file_in_use(os.environ))
    warn(settled.warnings)
    destinations = settled.options.destinations
    enabled = [destination for destination in destinations if destination.enabled]
    off = [destination.name for destination in destinations if not destination.enabled]
    # A test of nothing would end with 0, and a script would take it for a success.
    if not enabled:
        names = f" ({', '.join(off)}: off)" if off else ""
        raise ConfigError(
            [f"there is no destination that is enabled{names}: name one, give --endpoint URL, or add one"]
        )
    # Left out in silence, a destination would pass for one that was tested.
    warn(f'"{name}" is off and left out here; name it to try it' for name in off)
    return enabled
