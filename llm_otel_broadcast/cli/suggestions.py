"""Testing a destination that is to be saved: what the test suggests is tried with consent, until it works or there is nothing left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import click

from llm_otel_broadcast.cli.output import terminal
from llm_otel_broadcast.cli.views.connection import StepLines, options_for, shown_suggestion, verdict
from llm_otel_broadcast.connection.check import test_connection
from llm_otel_broadcast.connection.report import ConnectionReport
from llm_otel_broadcast.settings.destination import Destination

Maker: TypeAlias = Callable[[Mapping[str, Any]], Destination]
"""Makes a destination of the table that describes it."""
_MOST: Final = 4
"""Suggestions taken one after the other."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How to speak with the user: as JSON, with questions, and whether suggestions are taken unasked."""

    as_json: bool
    asks: bool
    accepts: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """What was tested last: the table with what was accepted, the destination it makes, how it went."""

    table: Mapping[str, Any]
    destination: Destination
    report: ConnectionReport


def try_out(make: Maker, table: Mapping[str, Any], manner: Manner) -> Tried:
    """Test the destination that a table makes; with what the user accepts changed in it.

    Raises:
        ConfigError: it makes none.
    """
    tried = _tested(make, table, manner)
    for _ in range(_MOST):
        suggestion = tried.report.suggestion
        if not suggestion or not _is_accepted(tried, manner):
            break
        tried = _tested(make, {**tried.table, **_kept(tried.table, suggestion)}, manner)
    return tried


def _tested(make: Maker, table: Mapping[str, Any], manner: Manner) -> Tried:
    destination = make(table)
    return Tried(table, destination, tested(destination, manner))


def tested(destination: Destination, manner: Manner) -> ConnectionReport:
    """Test a destination, and show the steps."""
    if manner.as_json:
        return test_connection(destination)
    lines = StepLines(terminal())
    with lines.testing(destination):
        report = test_connection(destination, on_step=lines.step)
    lines.console.print(verdict(destination, report))
    return report


def _is_accepted(tried: Tried, manner: Manner) -> bool:
    """Return whether the user takes the suggestion; where nobody can be asked, say how to."""
    suggestion = tried.report.suggestion
    risk = _risk(tried.destination, suggestion.get("endpoint"))
    shown = " and ".join(f"{name}={value}" for name, value in shown_suggestion(suggestion).items())
    if manner.accepts and not risk:
        if not manner.as_json:
            click.echo(f"  taking {shown}\n")
        return True
    if manner.asks:
        return click.confirm(f"  Use {shown}{risk}?", default=not risk)
    if not manner.as_json:
        why = "saves a refused request at each start" if tried.report.ok else "may help"
        how = "give it yourself if you want it" if risk else "--accept-suggestion takes it"
        click.echo(f"  {options_for(suggestion)}  {why}{risk}; {how}")
    return False


def _risk(destination: Destination, endpoint: object) -> str:
    """Say what taking another endpoint would do to the headers, which may hold a key; that is never done unasked."""
    if not isinstance(endpoint, str) or not destination.headers:
        return ""
    if _host(endpoint) != _host(destination.endpoint):
        return " (another host: it gets your headers)"
    leaves_tls = urlsplit(endpoint).scheme == "http" and urlsplit(destination.endpoint or "").scheme == "https"
    return " (not encrypted: your headers can be read on the way)" if leaves_tls else ""


def _host(endpoint: object) -> str | None:
    return urlsplit(endpoint).hostname if isinstance(endpoint, str) else None


def _kept(table: Mapping[str, Any], suggestion: Mapping[str, object]) -> dict[str, object]:
    """Return the suggestion; an endpoint with the name and password that the table has in it, for the same host only."""
    there, suggested = table.get("endpoint"), suggestion.get("endpoint")
    if not isinstance(there, str) or not isinstance(suggested, str):
        return dict(suggestion)
    credentials = urlsplit(there).netloc.rpartition("@")[0]
    if not credentials or _host(there) != _host(suggested):
        return dict(suggestion)
    parts = urlsplit(suggested)
    return {**suggestion, "endpoint": urlunsplit(parts._replace(netloc=f"{credentials}@{parts.netloc}"))}
