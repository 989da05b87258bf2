"""`llm-otel-broadcast destinations add | edit`: what works is saved, what does not is not."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from llm_otel_broadcast.cli.destination_options import Command, Table, destination_options, read_values, stated_fields
from llm_otel_broadcast.cli.output import as_json, exit_at_faults, faults_as_usage, say_json
from llm_otel_broadcast.cli.settings_file import complete_name, settings_file
from llm_otel_broadcast.settings.destination import FIELD_NAMES, is_default
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.headers import shown_name
from llm_otel_broadcast.settings.references import AllSet

if TYPE_CHECKING:
    from llm_otel_broadcast.cli.suggestions import Interaction
    from llm_otel_broadcast.settings.manage.editor import SettingsFile
    from llm_otel_broadcast.settings.presets import Preset


def _saving_options(command: Command) -> Command:
    command = click.option(
        "--accept-suggestion", "accepts", is_flag=True, help="Take what the test suggests, e.g. the other encoding."
    )(command)
    return click.option("--no-test", "untested", is_flag=True, help="Save without a connection test.")(command)


def complete_preset(_context: click.Context, _parameter: click.Parameter, prefix: str) -> list[str]:
    """Offer the presets to the shell."""
    from llm_otel_broadcast.settings.presets import PRESETS

    return [name for name in PRESETS if name.startswith(prefix)]


@click.command()
@click.argument("name")
@click.option("--preset", metavar="NAME", shell_complete=complete_preset, help="A known backend: axiom, langfuse, ...")
@click.option(
    "--param", "values", metavar="KEY=VALUE", multiple=True, help="A value that the preset needs; repeatable."
)
@destination_options
@_saving_options
@as_json
def add(*, name: str, preset: str | None, values: tuple[str, ...], untested: bool, **options: Any) -> None:
    """Add a destination, if it works.

    It is tested first, and saved only when a span was taken:

    \b
        llm-otel-broadcast destinations add axiom --preset axiom
        llm-otel-broadcast destinations add local --endpoint http://localhost:4318
        llm-otel-broadcast destinations add prod --endpoint https://otlp.example.com/v1/traces \\
            --header 'Authorization=Bearer ${PROD_TOKEN}'

    On a terminal, what is missing is asked for; secrets are not shown. 'destinations presets' lists the known backends.
    Ends with 0: saved; 1: it does not work, nothing is saved; 2: wrong usage.
    """  # noqa: D301  # click's sign for lines to be left alone
    interaction = _interaction(options)
    with exit_at_faults(json=interaction.as_json):
        file = settings_file()
        # Adding is not replacing: a name twice is more often a slip than a wish.
        if name in file.names():
            raise ConfigError(
                [f'{file.label_of(name)} is there already: llm-otel-broadcast destinations edit "{name}"']
            )
        table = _described(preset, read_values(values, "--param"), stated_fields(options), asks=interaction.asks)
        _save(file, name, table, interaction, untested=untested)


@click.command()
@click.argument("name", shell_complete=complete_name)
@destination_options
@click.option("--remove-header", "removed", metavar="KEY", multiple=True, help="Leave a header out; repeatable.")
@_saving_options
@as_json
def edit(*, name: str, removed: tuple[str, ...], untested: bool, **options: Any) -> None:
    """Change a destination, if it then works.

    It is tested with the change before that is saved; what no option names stays as it is. On a terminal without options, endpoint and headers are asked for one by one.
    Ends with 0: saved; 1: it does not work, nothing is changed; 2: wrong usage.
    """
    from llm_otel_broadcast.cli import prompts

    interaction = _interaction(options)
    with exit_at_faults(json=interaction.as_json):
        file = settings_file()
        current: Table = file.table(name)
        changes = stated_fields(options)
        headers = dict(current.get("headers", {}))
        if changes or removed:
            # HTTP does not tell Authorization from authorization, and neither must a file that is edited.
            removed_names = {name.lower() for name in removed}
            unknown = removed_names - {name.lower() for name in headers}
            if unknown:
                raise click.UsageError(f"there is no header {', '.join(sorted(map(shown_name, unknown)))} to remove")
            replaced_names = removed_names | {name.lower() for name in changes.get("headers", {})}
            untouched = {name: value for name, value in headers.items() if name.lower() not in replaced_names}
            table = {**current, **changes, "headers": {**untouched, **changes.get("headers", {})}}
        elif interaction.asks:
            endpoint = prompts.ask_endpoint(current.get("endpoint"))
            table = {**current, "endpoint": endpoint, "headers": prompts.ask_headers(headers)}
        else:
            # A command without any change is a question on a terminal and a mistake in a script.
            raise click.UsageError("what is to change? Name it: --endpoint, --header, --encoding, ...")
        _save(file, name, table, interaction, untested=untested)


def _interaction(options: Mapping[str, bool]) -> Interaction:
    from llm_otel_broadcast.cli.prompts import can_ask
    from llm_otel_broadcast.cli.suggestions import Interaction

    as_json = options["as_json"]
    return Interaction(as_json=as_json, asks=can_ask(as_json=as_json), accepts=options["accepts"])


def _described(preset: str | None, values: dict[str, str], table: Table, *, asks: bool) -> Table:
    """Return the table of a new destination, what is missing asked for."""
    from llm_otel_broadcast.cli import prompts
    from llm_otel_broadcast.settings import presets

    chosen: Preset | None = None
    pasted_endpoint = ""
    if preset is not None:
        with faults_as_usage():
            chosen = presets.find_preset(preset)
    elif "endpoint" not in table and asks:
        answer = prompts.ask_preset()
        chosen, pasted_endpoint = (None, answer) if isinstance(answer, str) else (answer, "")
    if chosen is not None:
        # Where an option states the endpoint, the values that the preset's own would be made of are not needed.
        needless = frozenset(presets.names_in(chosen.endpoint) if "endpoint" in table else ())
        parameters = prompts.ask_parameters(chosen, values, asks=asks, needless=needless)
        with faults_as_usage():
            described = presets.table_of(chosen.name, {**parameters, **table}, FIELD_NAMES)
        # The file says what was chosen and no defaults, so that it stays short and follows defaults that change.
        return {key: value for key, value in described.items() if key != "name" and not is_default(key, value)}
    if values:
        raise click.UsageError("--param needs --preset")
    if "endpoint" not in table:
        if not asks:
            raise click.UsageError("where to? Give --endpoint URL or --preset NAME")
        table["endpoint"] = pasted_endpoint or prompts.ask_endpoint()
        table["headers"] = prompts.ask_headers(table.get("headers", {}))
    return table


def _save(file: SettingsFile, name: str, table: Table, interaction: Interaction, *, untested: bool) -> None:
    if not table.get("headers"):
        table = {key: value for key, value in table.items() if key != "headers"}
    # What is not in the file yet is no fault of the file's: a message about it does not name the file.
    label = "" if name in file.names() else f'destination "{name}"'
    if untested:
        # Variables of the environment may be set only where the program runs: for the check they count as set.
        file.make(name, table, AllSet(), label)
        file.save(name, table)
        if interaction.as_json:
            say_json({"name": name, "file": str(file.path), "saved": True, "tested": False})
        else:
            click.echo(
                f'"{name}" is saved in {file.path}. It was NOT tested: llm-otel-broadcast destinations test {name}'
            )
        return
    from llm_otel_broadcast.cli.suggestions import try_suggestions
    from llm_otel_broadcast.cli.views.connection import report_json
    from llm_otel_broadcast.settings.manage.last_tests import remember

    # A table with the suggestions that were taken is what was tested last, and what is saved.
    attempt = try_suggestions(lambda table: file.make(name, table, os.environ, label), table, interaction)
    report = attempt.report
    if report.ok:
        # Only what took a real span is written: a typing error shows now and not as missing traces.
        file.save(name, attempt.table)
        remember(file.path, attempt.destination, ok=True, message=report.message, environ=os.environ)
    if interaction.as_json:
        say_json(
            {**report_json(attempt.destination, report), "file": str(file.path), "saved": report.ok, "tested": True}
        )
    elif report.ok:
        click.echo(f"  saved in {file.path}")
    else:
        click.echo("  Nothing is saved. --no-test saves it all the same.", err=True)
    sys.exit(0 if report.ok else 1)
