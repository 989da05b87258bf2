"""The settings file, read and validated: one TOML file with `enabled`, `[defaults]` and `[[destinations]]`.

`[defaults]` takes the options of `instrument()` by their names; those that belong to a destination (`encoding`, `timeout`,
...) count for each `[[destinations]]` table that does not say them itself. Values are never shown, but for those that a
fault is about and that hold no secret.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from llm_otel_broadcast.settings.destination import SHORTHAND, Destination
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.headers import shown_name
from llm_otel_broadcast.settings.options import Options
from llm_otel_broadcast.settings.references import expanded, holds_plain_secrets
from llm_otel_broadcast.settings.validators import TRUTH, in_text, kinds_of, nearest, nearest_name

TABLES: Final = "destinations"
_TOP: Final = ("enabled", "defaults", TABLES)
# What belongs to a single destination: no default for all of them.
_OF_ONE: Final = ("endpoint", "headers", "exporter")
# What a file cannot say: it is about the file itself.
_NOT_FOR_FILES: Final = ("strict", "to")
_MAX_FILE_BYTES: Final = 4 * 1024 * 1024
_VARIABLES: Final = "LLM_OTEL_BROADCAST_"


@dataclass(frozen=True, slots=True)
class FileSettings:
    """The validated content of the settings file.

    Attributes:
        path: the path of the file.
        enabled: False turns broadcasting off altogether.
        defaults: options of `instrument()`.
        destinations: one for each table, in order.
        tables: the tables themselves, in the same order, without `[defaults]`.
        unset_variables: unset environment variables in a destination's headers, by its name; such a destination is off.
        warnings: messages about what is allowed but risky; `notices` adds those about missing variables.
    """

    path: Path
    enabled: bool = True
    defaults: Mapping[str, object] = field(default_factory=dict)
    destinations: tuple[Destination, ...] = ()
    tables: tuple[Mapping[str, object], ...] = field(default=(), repr=False)
    unset_variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def only(self, wanted_names: Sequence[str]) -> FileSettings:
        """Return the file with only the destinations of these names.

        Raises:
            ConfigError: it has none of that name.
        """
        names_in_file = [destination.name for destination in self.destinations]
        faults = [
            f'there is no destination "{name}" in {self.path}{nearest(name, names_in_file)}: there are {", ".join(names_in_file) or "none"}'
            for name in wanted_names
            if name not in names_in_file
        ]
        if faults:
            raise ConfigError(faults)
        pairs = [
            (destination, table)
            for destination, table in zip(self.destinations, self.tables, strict=True)
            if destination.name in wanted_names
        ]
        destinations, tables = zip(*pairs, strict=True)
        return replace(self, destinations=destinations, tables=tables)

    def notices(self, in_use: Iterable[Destination]) -> tuple[str, ...]:
        """Return the messages that a program with these destinations should log."""
        off = [
            f'{self.path}: [[{TABLES}]] "{destination.name}" is off: {says_missing(self.unset_variables[destination.name])}'
            for destination in in_use
            if destination.name in self.unset_variables and destination in self.destinations
        ]
        return (*off, *self.warnings)


def default_names() -> tuple[str, ...]:
    """Return the keys of `[defaults]`."""
    shared_fields = [name for name in kinds_of(Destination) if name in SHORTHAND and name not in _OF_ONE]
    return (*shared_fields, *(name for name in kinds_of(Options) if name not in (TABLES, *_NOT_FOR_FILES)))


def read_file(path: Path, environ: Mapping[str, str]) -> FileSettings:
    """Read and validate the file; `environ` has what `${...}` in its header values stands for.

    Raises:
        ConfigError: listing every fault with file, table, field and fix.
    """
    content = parse(read_text(path), path)
    faults = [*_unknown(content, _TOP, str(path), None)]
    faults += [f"{path}: {in_text(fault)}" for fault in TRUTH.faults("enabled", content.get("enabled", True))]
    defaults, default_faults = _defaults(content.get("defaults", {}), path)
    faults += default_faults
    reader = _Destinations(path, environ, defaults)
    reader.take(content.get(TABLES, []))
    faults += reader.faults
    if faults:
        raise ConfigError(faults)
    # Only a secret that others can read is worth a warning: a variable's name is none.
    is_exposed = any(map(holds_plain_secrets, reader.tables)) and readable_by_others(path)
    return FileSettings(
        path=path,
        enabled=content.get("enabled", True),
        defaults=defaults,
        destinations=tuple(reader.destinations),
        tables=tuple(reader.tables),
        unset_variables=reader.unset_variables,
        warnings=(f"{path} holds secrets and other users can read it: chmod 600 {path}",) if is_exposed else (),
    )


def read_text(path: Path) -> str:
    """Return the file's text.

    Raises:
        ConfigError: it cannot be read, or is no text.
    """
    # A named pipe must not make the program wait for a writer.
    nonblocking = getattr(os, "O_NONBLOCK", 0)
    try:
        # `Path.open` takes no opener.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | nonblocking)) as file:
            # A directory, a device or a pipe, through a link perhaps.
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError([f"{path}: it is no ordinary file"])
            # Bounded while reading, as a file may grow meanwhile.
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"{path}: it cannot be read ({error.strerror})"]) from None
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigError([f"{path}: it has more than {_MAX_FILE_BYTES} bytes"])
    try:
        # Windows' editors put a byte order mark in front.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}: line {line} is not UTF-8: save the file in that encoding"]) from None


def parse(text: str, path: Path) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ConfigError: naming the line and what is wrong there, never its text.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem, _, location = str(error).partition(" (at ")
        line = location.rstrip(")") or "end of document"
        raise ConfigError([f"{path}: {line}: it is not TOML: {problem}"]) from None
    except RecursionError:
        raise ConfigError([f"{path}: it is nested too deeply"]) from None


def name_of(table: Mapping[str, object]) -> str:
    """Return the name of a destination's table, without one the default that `Destination` gives."""
    name = table.get("name")
    if isinstance(name, str) and name:
        return name
    try:
        return Destination(endpoint=table["endpoint"]).name if table.get("endpoint") else ""  # type: ignore[arg-type]
    except ConfigError:
        return ""


def make_destination(
    table: Mapping[str, object], environ: Mapping[str, str], label: str, defaults: Mapping[str, object] | None = None
) -> Destination:
    """Make the destination that a table describes, as it would send.

    Args:
        table: the fields of `Destination`, headers with `${VARIABLE}` as in the file.
        environ: what these stand for.
        label: the table's name in messages.
        defaults: the values of `[defaults]`.

    Raises:
        ConfigError: listing every fault, missing variables included.
    """
    destination, unset_variables = _make(table, environ, label, defaults or {})
    if unset_variables:
        raise ConfigError([f"{label}: {says_missing(unset_variables)}"])
    return destination


def says_missing(variables: Iterable[str]) -> str:
    """Return the message for variables in headers that are not set."""
    names = sorted(set(variables))
    return f"headers need {', '.join(names)}, which {'is' if len(names) == 1 else 'are'} not set in the environment"


def _make(
    table: Mapping[str, object], environ: Mapping[str, str], label: str, defaults: Mapping[str, object]
) -> tuple[Destination, tuple[str, ...]]:
    """Return the destination, and the variables that are missing: then it is off, without those headers."""
    # All faults of a table at once: a user mends the file in one go.
    faults = _unknown(table, tuple(kinds_of(Destination)), label, Destination)
    # An endpoint is shown in logs and errors, so no secret may get into it.
    if isinstance(table.get("endpoint"), str) and "${" in str(table["endpoint"]):
        faults.append(f"{label}: endpoint: ${{...}} is read in the values of headers only")
    resource = table.get("resource_attributes")
    if isinstance(resource, Mapping):
        faults += [
            f"{label}: resource_attributes {key}: ${{...}} is read in the values of headers only"
            for key, value in resource.items()
            if isinstance(value, str) and "${" in value
        ]
    values = {name: value for name, value in defaults.items() if name in SHORTHAND}
    values |= {name: value for name, value in table.items() if name in kinds_of(Destination)}
    unset_variables: tuple[str, ...] = ()
    if isinstance(table.get("headers"), Mapping):
        headers, unset_variables, reference_faults = expanded(table["headers"], environ)  # type: ignore[arg-type]
        values["headers"] = headers
        faults += [f"{label}: {fault}" for fault in reference_faults]
    try:
        # A missing variable turns off one destination; the others of a shared file still work.
        destination = Destination(**({**values, "enabled": False} if unset_variables else values))  # type: ignore[arg-type]
    except ConfigError as wrong_fields:
        # The message already names the table: the label that `Destination` gives a fault comes off.
        plain_faults = [re.sub(r'\Adestination(?: ".*?")?: ', "", fault) for fault in wrong_fields.faults]
        faults += [f"{label}: {in_text(fault)}" for fault in plain_faults]
    if faults:
        raise ConfigError(faults)
    return destination, unset_variables


class _Destinations:
    """Reads the tables of all destinations; a fault in one does not stop the others."""

    def __init__(self, path: Path, environ: Mapping[str, str], defaults: Mapping[str, object]) -> None:
        self._path = path
        self._environ = environ
        self._defaults = defaults
        self.destinations: list[Destination] = []
        self.tables: list[Mapping[str, object]] = []
        self.unset_variables: dict[str, tuple[str, ...]] = {}
        self.faults: list[str] = []

    def take(self, tables: object) -> None:
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self.faults.append(f"{self._path}: destinations must be tables, each under a line [[{TABLES}]]")
            return
        for position, table in enumerate(tables):
            label = f"{self._path}: {called(table, position)}"
            try:
                destination, unset_variables = _make(table, self._environ, label, self._defaults)
            except ConfigError as wrong:
                self.faults += wrong.faults
                continue
            self.destinations.append(destination)
            self.tables.append(table)
            # A destination that is off anyway needs no variable.
            if unset_variables and table.get("enabled", True) is True:
                self.unset_variables[destination.name] = unset_variables
        names = [destination.name for destination in self.destinations]
        twice = sorted({name for name in names if names.count(name) > 1})
        self.faults += [f'{self._path}: [[{TABLES}]] "{name}" is there twice: give each its own name' for name in twice]


def called(table: Mapping[str, object], position: int) -> str:
    """Return the label of a table in messages."""
    name = name_of(table)
    return f'[[{TABLES}]] "{name}"' if name else f"[[{TABLES}]] number {position + 1}"


def _defaults(table: object, path: Path) -> tuple[dict[str, object], list[str]]:
    label = f"{path}: [defaults]"
    if not isinstance(table, dict):
        return {}, [f"{path}: defaults must be a table, under a line [defaults]"]
    kinds = {**kinds_of(Destination), **kinds_of(Options)}
    values = {name: value for name, value in table.items() if name in default_names()}
    faults = _unknown(table, default_names(), label, Options)
    faults += [
        f"{label}: {in_text(fault)}" for name, value in values.items() for fault in kinds[name].faults(name, value)
    ]
    return values, faults


def _unknown(
    table: Mapping[str, object], known_keys: tuple[str, ...], label: str, settings_type: type | None
) -> list[str]:
    """Return a fault for each key that is not known in a table, whose keys set fields of this type."""
    return [
        f'{label}: "{shown_name(name)}" {_advice(name, known_keys, settings_type)}'
        for name in table
        if name not in known_keys
    ]


def _advice(name: str, known_keys: tuple[str, ...], settings_type: type | None) -> str:
    """Return what is to be done about an unknown key: where it belongs, or what was meant."""
    if name in default_names():
        return "belongs under [defaults]"
    # Before the fields of a destination, as each has a switch of that name too.
    if name == "enabled":
        return "stands at the top of the file, above [defaults]"
    if name in kinds_of(Destination):
        return f"belongs to one destination, under [[{TABLES}]]"
    if settings_type is Options and name in _NOT_FOR_FILES:
        return f"is about this file: give it to instrument(), or set {_VARIABLES}{name.upper()}"
    all_names = {option.name for option in fields(settings_type)} if settings_type else set()
    if settings_type and name in all_names - kinds_of(settings_type).keys() - {"from_environment"}:
        return "is a Python object, which only code can give"
    likely_key = nearest_name(name, known_keys)
    guess = f'did you mean "{likely_key}"?' if likely_key else f"there are {', '.join(known_keys)}"
    return f"is no setting: {guess}"


def readable_by_others(path: Path) -> bool:
    """Return whether group or others may read the file; where the system has no such thing, they may not."""
    try:
        return os.name == "posix" and bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False
