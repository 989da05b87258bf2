"""The settings as they are in effect here, each with its origin, and fit to be shown: secrets are left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from llm_otel_broadcast.settings.destination import SHORTHAND, Destination
from llm_otel_broadcast.settings.endpoints import redact_url
from llm_otel_broadcast.settings.environment import disabling, notices, stated_disabled
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.locations import look
from llm_otel_broadcast.settings.options import Options
from llm_otel_broadcast.settings.precedence import FileFound, Setting, Settled, file_at, settle_told
from llm_otel_broadcast.settings.references import references
from llm_otel_broadcast.settings.validators import kinds_of

if TYPE_CHECKING:
    from llm_otel_broadcast.settings.file import FileSettings

DEFAULT: Final = "default"
HIDDEN: Final = "***"
_OTLP: Final = "OTEL_EXPORTER_OTLP_*"


class Shown(NamedTuple):
    """A value as it may be shown, and where it comes from."""

    value: object
    origin: str


@dataclass(frozen=True, slots=True)
class ShownDestination:
    """A destination: its fields, and why it is off although it should not be."""

    name: str
    fields: Mapping[str, Shown]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Effective:
    """What `instrument()` without arguments would do here.

    Attributes:
        file: the settings file, None when there is none.
        off: what turns everything off, None when nothing does.
        options: the options, by name.
        destinations: where traces go.
        warnings: what is allowed but wants the user's eye.
        faults: what is wrong; then there are no options and no destinations.
    """

    file: Path | None
    off: str | None = None
    options: Mapping[str, Shown] = field(default_factory=dict)
    destinations: tuple[ShownDestination, ...] = ()
    warnings: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def effective(environ: Mapping[str, str]) -> Effective:
    """Return the settings in effect here; raises nothing."""
    lookup = look(environ)
    stamp = lookup.stamp()
    path = stamp.path if stamp else None
    found = file_at(stamp, lookup, environ)
    file = None if found is None or isinstance(found, ConfigError) else found
    try:
        settled = settle_told({}, environ, found)
        off = _turned_off(environ, found)
    except ConfigError as wrong:
        return Effective(path, faults=wrong.faults)
    known = {name: said for name, said in settled.said.items() if name not in SHORTHAND and name != "destinations"}
    options = {
        name: Shown(_plain(getattr(settled.options, name)), known[name].origin if name in known else DEFAULT)
        for name in kinds_of(Options)
        if name != "destinations"
    }
    warnings = (*(file.warnings if file else ()), *lookup.refusals(), *settled.warnings, *notices(environ))
    return Effective(path, off, options, _destinations(settled, settled.file), warnings)


def _turned_off(environ: Mapping[str, str], file: FileFound) -> str | None:
    variable = disabling(environ)
    if variable:
        return f"{variable}={environ[variable].strip()}"
    if file is None or isinstance(file, ConfigError) or file.enabled or stated_disabled(environ) is False:
        return None
    return f"{file.path}: enabled = false"


def _destinations(settled: Settled, file: FileSettings | None) -> tuple[ShownDestination, ...]:
    made = settled.options.destinations
    listed = settled.said.get("destinations")
    if listed is not None and listed.is_file and file is not None:
        return tuple(show(one, table, file, settled.said) for one, table in zip(made, file.tables, strict=True))
    origins = {name: one.origin for name, one in settled.said.items() if name in SHORTHAND}
    whole = listed.origin if listed else _OTLP if settled.options.from_environment else None
    return tuple(
        ShownDestination(one.name, _fields(one, (dict.fromkeys(_stated(one), whole) if whole else {}) | origins))
        for one in made
    )


def _stated(destination: Destination) -> list[str]:
    """Return the fields of a destination that are not as they are by default."""
    return [
        made.name
        for made in fields(destination)
        if getattr(destination, made.name) != made.default and (made.name != "headers" or destination.headers)
    ]


def show(
    destination: Destination, table: Mapping[str, object], file: FileSettings, said: Mapping[str, Setting] | None = None
) -> ShownDestination:
    """Return a destination of the file; `said` are the settings of all sources, which may complete it."""
    where = f'{file.path}: [[destinations]] "{destination.name}"'
    origins = dict.fromkeys(file.defaults, f"{file.path}: [defaults]") | dict.fromkeys(table, where)
    origins |= {name: one.origin for name, one in (said or {}).items() if name in SHORTHAND and not one.is_file}
    shown = _fields(destination, origins)
    missing = file.missing.get(destination.name, ())
    if origins.get("headers") == where:
        shown["headers"] = Shown(hidden_headers(table["headers"]), where)
    if missing:
        shown["enabled"] = Shown(value=False, origin=f"{', '.join(missing)} not set")
    return ShownDestination(destination.name, shown, missing)


def _fields(destination: Destination, origins: Mapping[str, str]) -> dict[str, Shown]:
    shown = {}
    for made in fields(destination):
        if made.name not in kinds_of(Destination) or made.name == "name":
            continue
        value = getattr(destination, made.name)
        if made.name == "endpoint":
            value = redact_url(str(value)) if value else None
        elif made.name == "headers":
            value = hidden_headers(value)
        elif not made.repr:
            value = HIDDEN
        shown[made.name] = Shown(_plain(value), origins.get(made.name, DEFAULT))
    return shown


def hidden_headers(headers: object) -> dict[str, str]:
    """Return the headers' names with what may be shown of their values: the variables that they stand for."""
    if not isinstance(headers, Mapping):
        return {}
    return {
        str(name): " ".join([HIDDEN, *(f"${{{one}}}" for one in references(value))]) for name, value in headers.items()
    }


def _plain(value: object) -> object:
    """Return the value made of what JSON has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value)
