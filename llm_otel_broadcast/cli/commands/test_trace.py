"""`llm-otel-broadcast send-test-trace`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from llm_otel_broadcast.cli.destination_options import destination_options, stated_fields
from llm_otel_broadcast.cli.output import as_json, exit_at_faults, say_json, terminal
from llm_otel_broadcast.cli.settings_file import complete_name, settings_file
from llm_otel_broadcast.cli.targets import destinations_in_effect, unsaved_destination

if TYPE_CHECKING:
    from llm_otel_broadcast.settings.destination import Destination


@click.command("send-test-trace")
@click.argument("name", required=False, shell_complete=complete_name)
@destination_options
@as_json
def send_test_trace(*, name: str | None, as_json: bool, **options: object) -> None:
    """Send a realistic trace, marked as a test.

    It has a root, a span and a generation with tokens and cost, all with test=true, and content unless the destination is
    private. NAME is one of the settings file; --endpoint needs nothing saved; with neither, every destination in effect here
    gets one. Ends with 0: taken; 1: not; 2: wrong usage.
    """
    from llm_otel_broadcast.cli.views.connection import busy, sent_json, sent_lines
    from llm_otel_broadcast.connection import test_trace

    targets: Sequence[Destination]
    with exit_at_faults(json=as_json):
        changes = stated_fields(options)
        if name is not None:
            file = settings_file()
            targets = [file.make(name, {**file.table(name), **changes}, os.environ)]
        elif changes:
            targets = [unsaved_destination(changes)]
        else:
            targets = destinations_in_effect()
    results = []
    for destination in targets:
        if as_json:
            results.append((destination, test_trace.send_test_trace(destination)))
            continue
        console = terminal()
        with busy(console, f"  sending to {destination.name} ..."):
            results.append((destination, test_trace.send_test_trace(destination)))
        console.print(sent_lines(console, *results[-1]))
    ok = all(sent.ok for _, sent in results)
    if as_json:
        say_json({"ok": ok, "destinations": [sent_json(*result) for result in results]})
    sys.exit(0 if ok else 1)
