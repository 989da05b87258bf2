"""`llm-otel-broadcast demo`."""

from __future__ import annotations

import os
import sys

import click

from llm_otel_broadcast.cli.destination_options import checked_headers, endpoint_option, header_option, split_headers
from llm_otel_broadcast.settings.locations import CONFIG


@click.command()
@endpoint_option("Send the same traces to this OTLP/HTTP backend as well.")
@header_option("An HTTP header for --endpoint, for instance its API key; 'Name: value' will do; may be repeated.")
def demo(endpoint: str | None, headers: tuple[str, ...]) -> None:
    """Make real calls to a local stand-in for the API and show the traces that arrive.

    Needs no key, no network and no configuration; takes a few seconds.
    """
    from llm_otel_broadcast.cli.demonstration import run
    from llm_otel_broadcast.cli.output import terminal
    from llm_otel_broadcast.settings.environment import disabling
    from llm_otel_broadcast.settings.errors import ConfigError

    if headers and not endpoint:
        raise click.UsageError("--header needs --endpoint URL")
    # What the demo shows does not depend on a settings file.
    os.environ[CONFIG] = os.devnull
    try:
        # LLM_OTEL_BROADCAST_DISABLED or OTEL_SDK_DISABLED, left in a shell, would make the demo an empty page.
        disabled_by = disabling(os.environ)
        if disabled_by:
            raise click.ClickException(f"{disabled_by} is true, so there would be nothing to see: unset it")
        delivered = run(terminal(), endpoint, checked_headers(split_headers(headers)))
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    if not delivered:
        sys.exit(1)
