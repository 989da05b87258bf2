"""Questions on a terminal for what the options leave open; secrets are not shown while they are typed."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from llm_otel_broadcast.settings.endpoints import endpoint_faults, redact_url
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.headers import header_fault, shown_name, split_header
from llm_otel_broadcast.settings.presets import PRESETS, Parameter, Preset, find_preset, takes_no_reference

_REFERENCE: Final = re.compile(r"\$\{\w+\}")


def can_ask(*, as_json: bool) -> bool:
    """Return whether somebody is there to answer."""
    return not as_json and sys.stdin.isatty() and sys.stdout.isatty()


def ask_preset() -> Preset | str | None:
    """Ask which backend it is; a URL: the endpoint of another one; None: another one."""
    click.echo(f"Presets: {', '.join(PRESETS)}")
    while True:
        answer = click.prompt("Preset or URL (Enter: none, I have an endpoint)", default="", show_default=False).strip()
        if not answer:
            return None
        if "://" in answer:
            faults = endpoint_faults(answer)
            if not faults:
                return answer
            click.echo("; ".join(faults))
            continue
        try:
            return find_preset(answer)
        except ConfigError as wrong:
            click.echo(str(wrong).partition(": there are")[0])


def complete(preset: Preset, given: Mapping[str, str], *, asks: bool, without: frozenset[str]) -> dict[str, str]:
    """Return the values of a preset, those that are missing asked for; where nobody can be asked, they are named.

    Args:
        preset: whose values.
        given: those that are known.
        asks: whether to ask.
        without: values that are not needed, because an option says what they would.
    """
    values = dict(given)
    missing = []
    for parameter in preset.parameters:
        if parameter.name in values or parameter.name in without:
            continue
        if asks:
            values[parameter.name] = _ask(parameter)
        elif parameter.default is None:
            missing.append(f"--param {parameter.name}=... ({parameter.prompt})")
    if missing:
        raise click.UsageError(f'preset "{preset.name}" needs {", ".join(missing)}')
    for name, value in values.items():
        if _REFERENCE.search(value) and takes_no_reference(preset, name):
            raise click.UsageError(
                f"{name} is encoded together with other values, so it cannot be a ${{VARIABLE}}: "
                "give the header itself, --header 'Authorization=Basic ${VARIABLE}'"
            )
    return {name: value for name, value in values.items() if value != "" or name in given}


def _ask(parameter: Parameter) -> str:
    optional = " (Enter: none)" if parameter.default == "" else ""
    text = parameter.prompt[:1].upper() + parameter.prompt[1:] + optional
    answer: str = click.prompt(
        text, default=parameter.default, show_default=bool(parameter.default), hide_input=parameter.secret
    )
    return answer.strip()


def ask_endpoint(current: str | None = None) -> str:
    """Ask for the endpoint until it is one."""
    shown = redact_url(current) if current else None
    while True:
        answer: str = click.prompt("Endpoint (URL of the OTLP/HTTP traces intake)", default=shown).strip()
        if current is not None and answer == shown:
            return current
        faults = endpoint_faults(answer)
        if not faults:
            return answer
        click.echo("; ".join(faults))


def ask_headers(current: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for headers, those that are there first; the values are not shown."""
    headers = dict(current)
    for name in current:
        answer = click.prompt(f"{name} (Enter: keep; - removes it)", default="", show_default=False, hide_input=True)
        if answer.strip() == "-":
            del headers[name]
        elif answer.strip():
            headers[name] = answer.strip()
    while True:
        text = click.prompt("Header, e.g. Authorization (Enter: no more)", default="", show_default=False).strip()
        if not text:
            return headers
        # A header pasted whole, as vendors' pages have it, brings its value along.
        name, value = split_header(text) or (text, "")
        value = value or click.prompt(f"Value of {shown_name(name)}", hide_input=True).strip()
        fault = header_fault(name, value)
        if fault:
            click.echo(fault)
        else:
            headers[name] = value
