"""`llm-otel-broadcast destinations add | edit`: what works is saved, what does not is not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from llm_otel_broadcast.cli.commands.destinations import complete_name
from llm_otel_broadcast.cli.destination_options import destination_options, read_values, stated
from llm_otel_broadcast.cli.output import as_json, faults_told, say_json, usage_told
from llm_otel_broadcast.settings.destination import FIELD_NAMES, is_default
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.headers import shown_name
from llm_otel_broadcast.settings.references import AllSet

if TYPE_CHECKING:
    from llm_otel_broadcast.cli.suggestions import Manner
    from llm_otel_broadcast.settings.manage.editor import SettingsFile
    from llm_otel_broadcast.settings.presets import Preset

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _saving_options(command: _Command) -> _Command:
    command = click.option(
        "--accept-suggestion", "accepts", is_flag=True, help="Take what the test suggests, e.g. the other encoding."
    )(command)
    return click.option("--no-test", "untested", is_flag=True, help="Save without a connection test.")(command)


def complete_preset(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """Offer the presets to the shell."""
    from llm_otel_broadcast.settings.presets import PRESETS

    return [name for name in PRESETS if name.startswith(typed)]


@click.command()
@click.argument("name")
@click.option("--preset", metavar="NAME", shell_complete=complete_preset, help="A known backend: axiom, langfuse, ...")
@click.option(
    "--param", "values", metavar="KEY=VALUE", multiple=True, help="A value that the preset needs; repeatable."
)
@destination_options
@_saving_options
@as_json
def add(*, name: str, preset: str | None, values: tuple[str, ...], untested: bool, accepts: bool, **given: Any) -> None:
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
    from llm_otel_broadcast.settings.manage.editor import SettingsFile

    manner = _manner(given, accepts=accepts)
    with faults_told(json=manner.as_json):
        file = SettingsFile.found(os.environ)
        if name in file.names():
            raise ConfigError([f'{file.where(name)} is there already: llm-otel-broadcast destinations edit "{name}"'])
        table = _described(preset, read_values(values, "--param"), stated(given), asks=manner.asks)
        _save(file, name, table, manner, untested=untested)


@click.command()
@click.argument("name", shell_complete=complete_name)
@destination_options
@click.option("--remove-header", "removed", metavar="KEY", multiple=True, help="Leave a header out; repeatable.")
@_saving_options
@as_json
def edit(*, name: str, removed: tuple[str, ...], untested: bool, accepts: bool, **given: Any) -> None:
    """Change a destination, if it then works.

    It is tested with the change before that is saved; what no option names stays as it is. On a terminal without options, endpoint and headers are asked for one by one.
    Ends with 0: saved; 1: it does not work, nothing is changed; 2: wrong usage.
    """
    from llm_otel_broadcast.settings.manage.editor import SettingsFile

    manner = _manner(given, accepts=accepts)
    with faults_told(json=manner.as_json):
        file = SettingsFile.found(os.environ)
        before = file.table(name)
        table = _changed(before, stated(given), removed, asks=manner.asks)
        _save(file, name, table, manner, untested=untested)


def _manner(given: Mapping[str, Any], *, accepts: bool) -> Manner:
    from llm_otel_broadcast.cli.prompts import can_ask
    from llm_otel_broadcast.cli.suggestions import Manner

    return Manner(as_json=given["as_json"], asks=can_ask(as_json=given["as_json"]), accepts=accepts)


def _preset(name: str) -> Preset:
    from llm_otel_broadcast.settings.presets import find_preset

    with usage_told():
        return find_preset(name)


def _described(preset: str | None, values: dict[str, str], table: dict[str, Any], *, asks: bool) -> dict[str, Any]:
    """Return the table of a new destination, what is missing asked for."""
    from llm_otel_broadcast.cli import prompts
    from llm_otel_broadcast.settings import presets

    chosen = _preset(preset) if preset is not None else None
    pasted = ""
    if chosen is None and "endpoint" not in table and asks:
        answer = prompts.ask_preset()
        chosen, pasted = (None, answer) if isinstance(answer, str) else (answer, "")
    if chosen is not None:
        in_endpoint = frozenset(presets.names_in(chosen.endpoint) if "endpoint" in table else ())
        known = prompts.complete(chosen, values, asks=asks, without=in_endpoint)
        with usage_told():
            made = presets.table_of(chosen.name, {**known, **table}, FIELD_NAMES)
        return {key: value for key, value in made.items() if key != "name" and not is_default(key, value)}
    if values:
        raise click.UsageError("--param needs --preset")
    if "endpoint" not in table:
        if not asks:
            raise click.UsageError("where to? Give --endpoint URL or --preset NAME")
        table["endpoint"] = pasted or prompts.ask_endpoint()
        table["headers"] = prompts.ask_headers(table.get("headers", {}))
    return table


def _changed(
    before: Mapping[str, Any], table: Mapping[str, Any], removed: tuple[str, ...], *, asks: bool
) -> dict[str, Any]:
    """Return the table of a destination with the changes in it."""
    from llm_otel_broadcast.cli import prompts

    headers = dict(before.get("headers", {}))
    if not table and not removed:
        if not asks:
            raise click.UsageError("what is to change? Name it: --endpoint, --header, --encoding, ...")
        endpoint = prompts.ask_endpoint(before.get("endpoint"))
        return {**before, "endpoint": endpoint, "headers": prompts.ask_headers(headers)}
    gone = {name.lower() for name in removed}
    unknown = gone - {name.lower() for name in headers}
    if unknown:
        raise click.UsageError(f"there is no header {', '.join(sorted(map(shown_name, unknown)))} to remove")
    replaced = gone | {name.lower() for name in table.get("headers", {})}
    kept = {name: value for name, value in headers.items() if name.lower() not in replaced}
    return {**before, **table, "headers": {**kept, **table.get("headers", {})}}


def _save(file: SettingsFile, name: str, table: Mapping[str, Any], manner: Manner, *, untested: bool) -> None:
    if not table.get("headers"):
        table = {key: value for key, value in table.items() if key != "headers"}
    # What is not in the file yet is no fault of the file's.
    where = "" if name in file.names() else f'destination "{name}"'
    if untested:
        file.make(name, table, AllSet(), where)
        file.put(name, table)
        if manner.as_json:
            say_json({"name": name, "file": str(file.path), "saved": True, "tested": False})
        else:
            click.echo(
                f'"{name}" is saved in {file.path}. It was NOT tested: llm-otel-broadcast destinations test {name}'
            )
        return
    from llm_otel_broadcast.cli.suggestions import try_out
    from llm_otel_broadcast.cli.views.connection import report_json
    from llm_otel_broadcast.settings.manage.last_tests import remember

    tried = try_out(lambda said: file.make(name, said, os.environ, where), table, manner)
    report = tried.report
    if report.ok:
        file.put(name, tried.table)
        remember(file.path, tried.destination, ok=True, message=report.message, environ=os.environ)
    if manner.as_json:
        said = report_json(tried.destination, report)
        say_json({**said, "file": str(file.path), "saved": report.ok, "tested": True})
    elif report.ok:
        click.echo(f"  saved in {file.path}")
    else:
        click.echo("  Nothing is saved. --no-test saves it all the same.", err=True)
    sys.exit(0 if report.ok else 1)
