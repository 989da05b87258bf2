"""The fields of a destination as options of a command: made from the fields themselves, so that none is forgotten."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import click

from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.endpoints import endpoint_faults
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.headers import header_faults, read_pairs
from llm_otel_broadcast.settings.validators import FILE_OR_NONE, TRUTH, Kind, kinds_of, read_json, split_pair

Command = TypeVar("Command", bound=Callable[..., object])
Table: TypeAlias = dict[str, Any]
"""A destination, or some fields of one, as the settings file has it."""
# `name` is an argument of the commands; endpoint and headers have more than one option.
_WRITTEN_BY_HAND: Final = ("name", "endpoint", "headers")
# `--no-enabled` is no word.
_FLAGS: Final = {"enabled": "--enabled/--disabled", "privacy_mode": "--privacy-mode/--no-privacy-mode"}


def destination_options(command: Command) -> Command:
    """Give a command an option for each field; those that are not used arrive as None."""
    # Options are applied from the last to the first, as decorators are.
    for name, kind in reversed(kinds_of(Destination).items()):
        if name in _WRITTEN_BY_HAND:
            continue
        flag = f"--{name.replace('_', '-')}"
        # The docstring is the one text about a field: beside the fields it would be written a second time, and differ one day.
        match = re.search(rf"^ +{name}: (.+?)(?=^ +\w+: |^ *$)", Destination.__doc__ or "", re.DOTALL | re.MULTILINE)
        text = re.sub(r"\s+", " ", match[1]).strip().replace("`", "") if match else ""
        if kind is TRUTH:
            # None for a flag that is not used, so that an edit leaves the field as it is.
            option = click.option(_FLAGS.get(name, f"{flag}/--no-{flag[2:]}"), name, default=None, help=text)
        elif kind is FILE_OR_NONE:
            # Absolute: the settings file is read by programs that start in other directories.
            file = click.Path(exists=True, dir_okay=False, resolve_path=True)
            option = click.option(flag, name, type=file, metavar="FILE", help=text)
        else:
            option = click.option(flag, name, metavar="VALUE", callback=_reader(name, kind), help=text)
        command = option(command)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def endpoint_option(text: str) -> Callable[[Command], Command]:
    """Return the option for where to send, with a help text."""

    def check(_context: click.Context, parameter: click.Parameter, url: str | None) -> str | None:
        # Checked here rather than by `Destination`, so that it ends with 2, wrong usage, and not with 1.
        faults = endpoint_faults(url) if url is not None else []
        if faults:
            raise click.BadParameter("; ".join(fault.removeprefix("endpoint ") for fault in faults), param=parameter)
        return url

    return click.option("--endpoint", "-e", metavar="URL", callback=check, help=text)


def header_option(text: str, name: str = "headers") -> Callable[[Command], Command]:
    """Return the option for headers, which may be repeated; `-H 'Name: value'` is curl's way to say it."""
    return click.option("--header", "-H", name, metavar="KEY=VALUE", multiple=True, help=text)


_OPTIONS: Final = (
    endpoint_option("URL of the OTLP/HTTP traces intake."),
    header_option(
        "An HTTP header, for instance the API key; 'Name: value' will do; may be repeated. '${VARIABLE}' stays a reference "
        "to the environment.",
        "pairs",
    ),
    click.option("--headers", "mapping", metavar="JSON", help="The headers as one JSON object."),
)


def _reader(name: str, kind: Kind) -> Callable[[click.Context, click.Parameter, str | None], object]:
    def read(_context: click.Context, parameter: click.Parameter, text: str | None) -> object:
        if text is None:
            return None
        try:
            value = kind.read(text)
        except ConfigError as error:
            raise click.BadParameter("; ".join(error.faults), param=parameter) from None
        except ValueError as error:
            raise click.BadParameter(str(error), param=parameter) from None
        # The field's own check, while the option is still known: the message names `--timeout` and ends with 2.
        faults = kind.faults(name, value)
        if faults:
            raise click.BadParameter("; ".join(faults), param=parameter)
        return value

    return read


def stated_fields(options: Mapping[str, Any]) -> Table:
    """Return the fields of a destination that the options state; what is wrong is named without its value."""
    table = {name: value for name, value in options.items() if name in kinds_of(Destination) and value is not None}
    headers: dict[str, str] = {}
    if options["mapping"] is not None:
        try:
            document = read_json(options["mapping"])
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--headers") from None
        # The text may be the key itself, so it is not repeated.
        if not isinstance(document, dict):
            raise click.BadParameter(
                'it must be a JSON object such as {"Authorization": "..."}', param_hint="--headers"
            )
        headers |= document
    headers = checked_headers({**headers, **split_headers(options["pairs"])})
    return table | ({"headers": headers} if headers else {})


def split_headers(texts: Sequence[str]) -> dict[str, str]:
    """Split `--header` options into names and values."""
    try:
        return read_pairs(texts)
    except ConfigError as error:
        raise click.BadParameter("; ".join(error.faults), param_hint="--header") from None


def checked_headers(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers if HTTP can carry them.

    Raises:
        UsageError: naming each that it cannot.
    """
    faults = header_faults(headers)
    if faults:
        raise click.UsageError("; ".join(faults))
    return headers


def read_values(pairs: Sequence[str], option: str) -> dict[str, str]:
    """Read the `KEY=VALUE` of an option that may be repeated.

    Raises:
        BadParameter: naming the first that is none by its number, as it may hold a key.
    """
    values = {}
    for position, pair in enumerate(pairs):
        split = split_pair(pair)
        if split is None:
            raise click.BadParameter(f"number {position + 1} is not KEY=VALUE", param_hint=option)
        values[split[0]] = split[1]
    return values
