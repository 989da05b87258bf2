"""`llm-otel-broadcast destinations test | presets` and `send-test-trace`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from llm_otel_broadcast.cli.commands.destinations import complete_name
from llm_otel_broadcast.cli.destination_options import destination_options, stated
from llm_otel_broadcast.cli.output import as_json, faults_told, say_json, terminal, usage_told, warn
from llm_otel_broadcast.settings.errors import ConfigError

if TYPE_CHECKING:
    from llm_otel_broadcast.cli.suggestions import Manner
    from llm_otel_broadcast.connection.report import ConnectionReport
    from llm_otel_broadcast.settings.destination import Destination
    from llm_otel_broadcast.settings.manage.editor import SettingsFile


@click.command("test")
@click.argument("name", required=False, shell_complete=complete_name)
@destination_options
@click.option("--accept-suggestion", "accepts", is_flag=True, help="Take what the test suggests; with NAME, save it.")
@as_json
def try_(*, name: str | None, accepts: bool, **given: Any) -> None:
    """Send one real span and say how far it got.

    Step by step, with times; the span is marked test=true. NAME is one of the settings file; options change it for this test only. With --endpoint and no NAME, nothing needs to be
    saved. With neither, every destination in effect here is tested, those of the environment too.
    Ends with 0: all work; 1: one does not; 2: wrong usage.
    """
    from llm_otel_broadcast.cli.prompts import can_ask
    from llm_otel_broadcast.cli.suggestions import Manner, tested
    from llm_otel_broadcast.cli.views.connection import report_json

    manner = Manner(as_json=given["as_json"], asks=can_ask(as_json=given["as_json"]), accepts=accepts)
    with faults_told(json=manner.as_json):
        changes = stated(given)
        if name is not None:
            results = [_one_of_file(name, changes, manner)]
        elif changes:
            results = [_ad_hoc(changes, manner)]
        else:
            results = [(one, tested(one, manner)) for one in _in_effect()]
            _remember(results)
    ok = all(report.ok for _, report in results)
    if manner.as_json:
        say_json({"ok": ok, "destinations": [report_json(*result) for result in results]})
    sys.exit(0 if ok else 1)


def _one_of_file(name: str, changes: Mapping[str, Any], manner: Manner) -> Any:
    """Test a destination of the file; remember the result of what stands there, and save what was accepted."""
    from llm_otel_broadcast.cli.suggestions import try_out

    file = _file()
    table = file.table(name)
    headers = {**table.get("headers", {}), **changes.get("headers", {})}  # type: ignore[dict-item]
    asked = {**table, **changes, **({"headers": headers} if headers else {})}
    tried = try_out(lambda said: file.make(name, said, os.environ), asked, manner)
    accepted = {key: value for key, value in tried.table.items() if asked.get(key) != value}
    if accepted and tried.report.ok:
        file.put(name, {**table, **accepted})
        if not manner.as_json:
            click.echo(f"  saved in {file.path}")
    if not changes:
        _remember([(tried.destination, tried.report)])
    return tried.destination, tried.report


def _remember(results: Sequence[tuple[Destination, ConnectionReport]]) -> None:
    """Keep the results of those that stand in the file."""
    from llm_otel_broadcast.settings.manage.last_tests import remember

    try:
        file = _file()
        names = file.names()
    except ConfigError:  # they are all of the environment
        return
    for destination, report in results:
        if destination.name in names:
            remember(file.path, destination, ok=report.ok, message=report.message, environ=os.environ)


def _ad_hoc(table: Mapping[str, Any], manner: Manner) -> Any:
    from llm_otel_broadcast.cli.suggestions import try_out

    tried = try_out(_unsaved, table, manner)
    return tried.destination, tried.report


def _unsaved(table: Mapping[str, Any]) -> Destination:
    """Make the destination that options alone describe."""
    from llm_otel_broadcast.settings.file import make_destination

    if "endpoint" not in table:
        raise click.UsageError("where to? Give NAME or --endpoint URL")
    return make_destination(table, os.environ, "the destination")


def _file() -> SettingsFile:
    from llm_otel_broadcast.settings.manage.editor import SettingsFile

    return SettingsFile.found(os.environ)


def _in_effect() -> Sequence[Destination]:
    """Return the destinations that `instrument()` without arguments would send to here."""
    from llm_otel_broadcast.settings.precedence import read_file_in_use, resolve_settings

    settled = resolve_settings({}, os.environ, read_file_in_use(os.environ))
    warn(settled.warnings)
    enabled = [one for one in settled.options.destinations if one.enabled]
    off = [one.name for one in settled.options.destinations if not one.enabled]
    if not enabled:
        there = f" ({', '.join(off)}: off)" if off else ""
        raise ConfigError(
            [f"there is no destination that is enabled{there}: name one, give --endpoint URL, or add one"]
        )
    warn(f'"{name}" is off and left out here; name it to try it' for name in off)
    return enabled


@click.command("send-test-trace")
@click.argument("name", required=False, shell_complete=complete_name)
@destination_options
@as_json
def send_test_trace(*, name: str | None, **given: Any) -> None:
    """Send a realistic trace, marked as a test.

    It has a root, a span and a generation with tokens and cost, all with test=true, and content unless the destination is
    private. NAME is one of the settings file; --endpoint needs nothing saved; with neither, every destination in effect here
    gets one. Ends with 0: taken; 1: not; 2: wrong usage.
    """
    from llm_otel_broadcast.cli.views.connection import busy, sent_json, sent_lines
    from llm_otel_broadcast.connection import test_trace

    as_json = given["as_json"]
    with faults_told(json=as_json):
        targets = _targets(name, stated(given))
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


def _targets(name: str | None, changes: Mapping[str, Any]) -> Sequence[Destination]:
    if name is not None:
        table = {**_file().table(name), **changes}
        return [_file().make(name, table, os.environ)]
    if changes:
        return [_unsaved(changes)]
    return _in_effect()


@click.command()
@click.argument("name", required=False)
@as_json
def presets(*, name: str | None, as_json: bool) -> None:
    """List the known backends, or show one.

    What each wants to know, for 'destinations add --preset NAME --param KEY=VALUE' and Destination.preset(); in brackets what
    has a default or may be left out.
    """
    from llm_otel_broadcast.cli.views.connection import preset_json, preset_lines, preset_table
    from llm_otel_broadcast.settings.presets import PRESETS, find_preset

    with usage_told():
        chosen = find_preset(name) if name is not None else None
    if as_json:
        say_json([preset_json(preset) for preset in ([chosen] if chosen else PRESETS.values())])
    else:
        terminal().print(preset_lines(chosen) if chosen else preset_table())
