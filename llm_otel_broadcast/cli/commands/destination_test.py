"""`llm-otel-broadcast destinations test`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import click

from llm_otel_broadcast.cli.destination_options import Table, destination_options, stated_fields
from llm_otel_broadcast.cli.output import as_json, exit_at_faults, say_json
from llm_otel_broadcast.cli.settings_file import complete_name, settings_file
from llm_otel_broadcast.cli.targets import destinations_in_effect, unsaved_destination
from llm_otel_broadcast.settings.errors import ConfigError

if TYPE_CHECKING:
    from llm_otel_broadcast.cli.suggestions import Interaction
    from llm_otel_broadcast.connection.report import ConnectionReport
    from llm_otel_broadcast.settings.destination import Destination

    _Result: TypeAlias = tuple[Destination, ConnectionReport]


@click.command("test")
@click.argument("name", required=False, shell_complete=complete_name)
@destination_options
@click.option("--accept-suggestion", "accepts", is_flag=True, help="Take what the test suggests; with NAME, save it.")
@as_json
def test(*, name: str | None, accepts: bool, as_json: bool, **options: object) -> None:
    """Send one real span and say how far it got.

    Step by step, with times; the span is marked test=true. NAME is one of the settings file; options change it for this test only. With --endpoint and no NAME, nothing needs to be
    saved. With neither, every destination in effect here is tested, those of the environment too.
    Ends with 0: all work; 1: one does not; 2: wrong usage.
    """
    from llm_otel_broadcast.cli.prompts import can_ask
    from llm_otel_broadcast.cli.suggestions import Interaction, run_test, try_suggestions
    from llm_otel_broadcast.cli.views.connection import report_json

    interaction = Interaction(as_json=as_json, asks=can_ask(as_json=as_json), accepts=accepts)
    with exit_at_faults(json=as_json):
        changes = stated_fields(options)
        if name is not None:
            results = [_test_destination_of_file(name, changes, interaction)]
        elif changes:
            attempt = try_suggestions(unsaved_destination, changes, interaction)
            results = [(attempt.destination, attempt.report)]
        else:
            results = [(destination, run_test(destination, interaction)) for destination in destinations_in_effect()]
            _remember(results)
    ok = all(report.ok for _, report in results)
    if as_json:
        say_json({"ok": ok, "destinations": [report_json(*result) for result in results]})
    sys.exit(0 if ok else 1)


def _test_destination_of_file(name: str, changes: Table, interaction: Interaction) -> _Result:
    """Test a destination of the file with changes; remember the result of an unchanged one, and save what was accepted."""
    from llm_otel_broadcast.cli.suggestions import try_suggestions

    file = settings_file()
    table = file.table(name)
    # A header of the command line replaces one of the same name and leaves the others.
    headers = {**table.get("headers", {}), **changes.get("headers", {})}  # type: ignore[dict-item]
    described = {**table, **changes, **({"headers": headers} if headers else {})}
    attempt = try_suggestions(lambda table: file.make(name, table, os.environ), described, interaction)
    accepted = {key: value for key, value in attempt.table.items() if described.get(key) != value}
    if accepted and attempt.report.ok:
        # The changes were for this test only: what is saved is the file's own table with the suggestion.
        file.save(name, {**table, **accepted})
        if not interaction.as_json:
            click.echo(f"  saved in {file.path}")
    if not changes:
        _remember([(attempt.destination, attempt.report)])
    return attempt.destination, attempt.report


def _remember(results: Sequence[_Result]) -> None:
    """Keep the results of those destinations that the file has."""
    from llm_otel_broadcast.settings.manage.last_tests import remember

    try:
        file = settings_file()
        names = file.names()
    except ConfigError:
        # There is no file, or a broken one: all destinations are of the environment.
        return
    for destination, report in results:
        if destination.name in names:
            # So that `destinations list` can tell when a destination last worked.
            remember(file.path, destination, ok=report.ok, message=report.message, environ=os.environ)
