"""Testing a destination that is to be saved: suggestions of the test are tried with consent, until it works or there is none left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import click

from llm_otel_broadcast.cli.output import terminal
from llm_otel_broadcast.cli.views.connection import StepLines, options_for, shown_suggestion, verdict
from llm_otel_broadcast.connection.check import test_connection
from llm_otel_broadcast.connection.report import ConnectionReport
from llm_otel_broadcast.settings.destination import Destination

DestinationMaker: TypeAlias = Callable[[Mapping[str, object]], Destination]
"""Makes a destination of the table that describes it."""
_MAX_SUGGESTIONS: Final = 4
"""Taken one after the other; a backend that has something else to suggest after each would otherwise be tested for ever."""


@dataclass(frozen=True, slots=True)
class Interaction:
    """How to speak with the user: as JSON, with questions, and whether suggestions are taken unasked."""

    as_json: bool
    asks: bool
    accepts: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """The last test: the table with all suggestions that were accepted, its destination, and how it went."""

    table: Mapping[str, object]
    destination: Destination
    report: ConnectionReport


def try_suggestions(make: DestinationMaker, table: Mapping[str, object], interaction: Interaction) -> Attempt:
    """Test the destination that a table describes, again with each suggestion that the user accepts.

    Raises:
        ConfigError: the table describes no valid destination.
    """
    attempt = _attempt(make, table, interaction)
    for _ in range(_MAX_SUGGESTIONS):
        suggestion = attempt.report.suggestion
        if not suggestion or not _is_accepted(attempt, interaction):
            break
        attempt = _attempt(make, {**attempt.table, **_with_credentials(suggestion, attempt.table)}, interaction)
    return attempt


def _attempt(make: DestinationMaker, table: Mapping[str, object], interaction: Interaction) -> Attempt:
    destination = make(table)
    return Attempt(table, destination, run_test(destination, interaction))


def run_test(destination: Destination, interaction: Interaction) -> ConnectionReport:
    """Test a destination, and show the steps unless the output is JSON."""
    if interaction.as_json:
        return test_connection(destination)
    lines = StepLines(terminal())
    with lines.testing(destination):
        report = test_connection(destination, on_step=lines.step)
    lines.console.print(verdict(destination, report))
    return report


def _is_accepted(attempt: Attempt, interaction: Interaction) -> bool:
    """Return whether the user takes the suggestion; where nobody can be asked, say how to."""
    suggestion, destination = attempt.report.suggestion, attempt.destination
    endpoint = suggestion.get("endpoint")
    risk = ""
    # What another endpoint would do to the headers, which may hold a key.
    if isinstance(endpoint, str) and destination.headers:
        if _host(endpoint) != _host(destination.endpoint):
            risk = " (another host: it gets your headers)"
        elif urlsplit(endpoint).scheme == "http" and urlsplit(destination.endpoint or "").scheme == "https":
            risk = " (not encrypted: your headers can be read on the way)"
    text = " and ".join(f"{name}={value}" for name, value in shown_suggestion(suggestion).items())
    # `--accept-suggestion` was given for another path or encoding: a key must not go to another host, or unencrypted, for it.
    if interaction.accepts and not risk:
        if not interaction.as_json:
            click.echo(f"  taking {text}\n")
        return True
    if interaction.asks:
        # Enter takes a harmless suggestion, and leaves one with a risk.
        return click.confirm(f"  Use {text}{risk}?", default=not risk)
    if not interaction.as_json:
        reason = "saves a refused request at each start" if attempt.report.ok else "may help"
        remedy = "give it yourself if you want it" if risk else "--accept-suggestion takes it"
        click.echo(f"  {options_for(suggestion)}  {reason}{risk}; {remedy}")
    return False


def _host(endpoint: object) -> str | None:
    return urlsplit(endpoint).hostname if isinstance(endpoint, str) else None


def _with_credentials(suggestion: Mapping[str, object], table: Mapping[str, object]) -> dict[str, object]:
    """Return the suggestion with the name and password of the table's endpoint in its own, for the same host only."""
    current, suggested = table.get("endpoint"), suggestion.get("endpoint")
    if not isinstance(current, str) or not isinstance(suggested, str):
        return dict(suggestion)
    # The test works on the destination, which has them as a header: its suggestions have none, and saved so they were lost.
    credentials = urlsplit(current).netloc.rpartition("@")[0]
    if not credentials or _host(current) != _host(suggested):
        return dict(suggestion)
    url = urlsplit(suggested)
    return {**suggestion, "endpoint": urlunsplit(url._replace(netloc=f"{credentials}@{url.netloc}"))}
