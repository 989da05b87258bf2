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
from llm_otel_broadcast.settings.precedence import ResolvedSettings, Setting, read_file_at, resolve_settings
from llm_otel_broadcast.settings.references import references
from llm_otel_broadcast.settings.spool import SpoolSettings
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
    unset_variables: tuple[str, ...] = ()


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
    file_result = read_file_at(stamp, lookup, environ)
    file = None if file_result is None or isinstance(file_result, ConfigError) else file_result
    try:
        resolved = resolve_settings({}, environ, file_result)
        variable = disabling(environ)
        off = f"{variable}={environ[variable].strip()}" if variable else None
        # A variable that says false wins over the file.
        if not variable and file is not None and not file.enabled and stated_disabled(environ) is not False:
            off = f"{file.path}: enabled = false"
    except ConfigError as wrong:
        return Effective(path, faults=wrong.faults)
    origins = {
        name: setting
        for name, setting in resolved.provenance.items()
        if name not in SHORTHAND and name != "destinations"
    }
    options = {
        name: Shown(_plain(getattr(resolved.options, name)), origins[name].origin if name in origins else DEFAULT)
        for name in kinds_of(Options)
        if name != "destinations"
    }
    warnings = (*(file.warnings if file else ()), *lookup.refusals(), *resolved.warnings, *notices(environ))
    return Effective(path, off, options, _destinations(resolved, resolved.file), warnings)


def _destinations(resolved: ResolvedSettings, file: FileSettings | None) -> tuple[ShownDestination, ...]:
    destinations = resolved.options.destinations
    listed = resolved.provenance.get("destinations")
    if listed is not None and listed.is_file and file is not None:
        return tuple(
            show(destination, table, file, resolved.provenance)
            for destination, table in zip(destinations, file.tables, strict=True)
        )
    origins = {name: destination.origin for name, destination in resolved.provenance.items() if name in SHORTHAND}
    common_origin = listed.origin if listed else _OTLP if resolved.options.from_environment else None
    shown_destinations = []
    for destination in destinations:
        # Which fields were given cannot be told any more: those that are not as they are by default.
        stated = [
            field.name
            for field in fields(destination)
            if getattr(destination, field.name) != field.default and (field.name != "headers" or destination.headers)
        ]
        common_origins = dict.fromkeys(stated, common_origin) if common_origin else {}
        shown_destinations.append(ShownDestination(destination.name, _fields(destination, common_origins | origins)))
    return tuple(shown_destinations)


def show(
    destination: Destination,
    table: Mapping[str, object],
    file: FileSettings,
    provenance: Mapping[str, Setting] | None = None,
) -> ShownDestination:
    """Return a destination of the file; `provenance`: the settings of all sources, which may complete it."""
    label = f'{file.path}: [[destinations]] "{destination.name}"'
    # Of the options under [defaults], some have the name of a destination's field and are something else.
    shared = [name for name in file.defaults if name in SHORTHAND]
    origins = dict.fromkeys(shared, f"{file.path}: [defaults]") | dict.fromkeys(table, label)
    origins |= {
        name: setting.origin
        for name, setting in (provenance or {}).items()
        if name in SHORTHAND and not setting.is_file
    }
    values = _fields(destination, origins)
    unset_variables = file.unset_variables.get(destination.name, ())
    # From the table, not from the destination: there `${VARIABLE}` is replaced by its value already.
    if origins.get("headers") == label:
        values["headers"] = Shown(hidden_headers(table["headers"]), label)
    if unset_variables:
        values["enabled"] = Shown(value=False, origin=f"{', '.join(unset_variables)} not set")
    return ShownDestination(destination.name, values, unset_variables)


def _fields(destination: Destination, origins: Mapping[str, str]) -> dict[str, Shown]:
    values = {}
    for member in fields(destination):
        if member.name not in kinds_of(Destination) or member.name == "name":
            continue
        value = getattr(destination, member.name)
        if member.name == "endpoint":
            value = redact_url(str(value)) if value else None
        elif member.name == "headers":
            value = hidden_headers(value)
        # Fields that are kept out of the repr may hold secrets.
        elif not member.repr:
            value = HIDDEN
        values[member.name] = Shown(_plain(value), origins.get(member.name, DEFAULT))
    return values


def hidden_headers(headers: object) -> dict[str, str]:
    """Return the headers' names with what may be shown of their values: the variables that they stand for."""
    if not isinstance(headers, Mapping):
        return {}
    return {
        str(name): " ".join([HIDDEN, *(f"${{{variable}}}" for variable in references(value))])
        for name, value in headers.items()
    }


def _plain(value: object) -> object:
    """Return the value made of what JSON has."""
    if isinstance(value, SpoolSettings):
        return value._asdict()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)
