"""Questions on a terminal for what the options leave open; secrets are not shown while they are typed."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Final

import click

from llm_otel_broadcast.settings.endpoints import endpoint_faults, redact_url
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.headers import header_fault, shown_name, split_header
from llm_otel_broadcast.settings.presets import PRESETS, Preset, find_preset, takes_no_reference

_REFERENCE: Final = re.compile(r"\$\{\w+\}")


def can_ask(*, as_json: bool) -> bool:
    """Return whether somebody is there to answer."""
    return not as_json and sys.stdin.isatty() and sys.stdout.isatty()


def ask_preset() -> Preset | str | None:
    """Ask which backend it is.

    Returns:
        A preset; or a URL, the endpoint of a backend without preset; or None, for a backend without preset.
    """
    click.echo(f"Presets: {', '.join(PRESETS)}")
    while True:
        answer = click.prompt("Preset or URL (Enter: none, I have an endpoint)", default="", show_default=False).strip()
        if not answer:
            return None
        # Who has an endpoint pastes it, whatever the question was.
        if "://" in answer:
            faults = endpoint_faults(answer)
            if not faults:
                return answer
            click.echo("; ".join(faults))
            continue
        try:
            return find_preset(answer)
        except ConfigError as error:
            # The list of all presets stands above the question.
            click.echo(str(error).partition(": there are")[0])


def ask_parameters(
    preset: Preset, stated: Mapping[str, str], *, asks: bool, needless: frozenset[str]
) -> dict[str, str]:
    """Return the values of a preset's parameters; those that no option states are asked for.

    Args:
        preset: whose parameters.
        stated: values that options state.
        asks: whether somebody can be asked.
        needless: parameters that are not needed, because an option says what they would.

    Raises:
        UsageError: nobody can be asked, and values are missing (all are named); or one holds a `${VARIABLE}` that cannot be
            written into the file as a reference.
    """
    values = dict(stated)
    needed_options = []
    for parameter in preset.parameters:
        if parameter.name in values or parameter.name in needless:
            continue
        if asks:
            question = parameter.prompt[:1].upper() + parameter.prompt[1:]
            answer: str = click.prompt(
                f"{question} (Enter: none)" if parameter.default == "" else question,
                default=parameter.default,
                show_default=bool(parameter.default),
                hide_input=parameter.secret,
            )
            values[parameter.name] = answer.strip()
        # All that is missing at once, so that a script is right after one try.
        elif parameter.default is None:
            needed_options.append(f"--param {parameter.name}=... ({parameter.prompt})")
    if needed_options:
        raise click.UsageError(f'preset "{preset.name}" needs {", ".join(needed_options)}')
    for name, value in values.items():
        # Langfuse's two keys become one Basic header in base64: nothing could be put in the place of a reference there.
        if _REFERENCE.search(value) and takes_no_reference(preset, name):
            raise click.UsageError(
                f"{name} is encoded together with other values, so it cannot be a ${{VARIABLE}}: "
                "give the header itself, --header 'Authorization=Basic ${VARIABLE}'"
            )
    return {name: value for name, value in values.items() if value != "" or name in stated}


def ask_endpoint(current: str | None = None) -> str:
    """Ask for the endpoint until the answer is one."""
    # The current one may hold a password or a key: shown without, and kept as it is when it is confirmed.
    default = redact_url(current) if current else None
    while True:
        answer: str = click.prompt("Endpoint (URL of the OTLP/HTTP traces intake)", default=default).strip()
        if current is not None and answer == default:
            return current
        faults = endpoint_faults(answer)
        if not faults:
            return answer
        click.echo("; ".join(faults))


def ask_headers(current: Mapping[str, str]) -> dict[str, str]:
    """Ask for headers, the current ones first; the values are not shown."""
    headers = dict(current)
    for name in current:
        # Keys of others may be read over a shoulder: typed without being shown, and never shown as a default.
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
        # Asked again at once, rather than refused with everything else at the end.
        fault = header_fault(name, value)
        if fault:
            click.echo(fault)
        else:
            headers[name] = value
