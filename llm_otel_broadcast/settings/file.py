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
_OF_ONE: Final = ("endpoint", "headers", "exporter")
"""What belongs to a single destination: no default for all of them."""
_NOT_FOR_FILES: Final = ("strict", "to")
"""What a file cannot say: it is about the file itself."""
_MOST_BYTES: Final = 4 * 1024 * 1024
_VARIABLES: Final = "LLM_OTEL_BROADCAST_"


@dataclass(frozen=True, slots=True)
class FileSettings:
    """What the file says.

    Attributes:
        path: where it is.
        enabled: False turns broadcasting off altogether.
        defaults: options of `instrument()`.
        destinations: one a table, in order.
        tables: what each of these says itself, in the same order.
        missing: the environment variables that a destination's headers name in vain, by its name; it is off.
        warnings: what is allowed but wants the user's eye; `notices` are those, and what is missing.
    """

    path: Path
    enabled: bool = True
    defaults: Mapping[str, object] = field(default_factory=dict)
    destinations: tuple[Destination, ...] = ()
    tables: tuple[Mapping[str, object], ...] = field(default=(), repr=False)
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def only(self, names: Sequence[str]) -> FileSettings:
        """Return the file with no destinations but these.

        Raises:
            ConfigError: it has none of that name.
        """
        there = [made.name for made in self.destinations]
        faults = [
            f'there is no destination "{name}" in {self.path}{nearest(name, there)}: there are {", ".join(there) or "none"}'
            for name in names
            if name not in there
        ]
        if faults:
            raise ConfigError(faults)
        pairs = [
            (made, table) for made, table in zip(self.destinations, self.tables, strict=True) if made.name in names
        ]
        destinations, tables = zip(*pairs, strict=True)
        return replace(self, destinations=destinations, tables=tables)

    def notices(self, used: Iterable[Destination]) -> tuple[str, ...]:
        """Return what a program should say that uses these destinations."""
        off = [
            f'{self.path}: [[{TABLES}]] "{one.name}" is off: {says_missing(self.missing[one.name])}'
            for one in used
            if one.name in self.missing and one in self.destinations
        ]
        return (*off, *self.warnings)


def default_names() -> tuple[str, ...]:
    """Return what `[defaults]` takes."""
    ones = [name for name in kinds_of(Destination) if name in SHORTHAND and name not in _OF_ONE]
    return (*ones, *(name for name in kinds_of(Options) if name not in (TABLES, *_NOT_FOR_FILES)))


def read_file(path: Path, environ: Mapping[str, str]) -> FileSettings:
    """Read and validate the file; `environ` has what `${...}` in its header values stands for.

    Raises:
        ConfigError: listing every fault with file, table, field and fix.
    """
    said = parse(read_text(path), path)
    faults = [*_unknown(said, _TOP, str(path), _misplaced), *_truth_faults(said, path)]
    defaults, wrong = _defaults(said.get("defaults", {}), path)
    faults += wrong
    read = _Destinations(path, environ, defaults)
    read.take(said.get(TABLES, []))
    faults += read.faults
    if faults:
        raise ConfigError(faults)
    return FileSettings(
        path=path,
        enabled=said.get("enabled", True),
        defaults=defaults,
        destinations=tuple(read.made),
        tables=tuple(read.tables),
        missing=read.missing,
        warnings=_warnings(path, read.tables),
    )


def read_text(path: Path) -> str:
    """Return the file's text.

    Raises:
        ConfigError: it cannot be read, or is no text.
    """
    try:
        with open(path, "rb", opener=_patiently) as file:  # Path.open takes no opener
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError([f"{path}: it is no ordinary file"])
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"{path}: it cannot be read ({error.strerror})"]) from None
    if len(content) > _MOST_BYTES:
        raise ConfigError([f"{path}: it has more than {_MOST_BYTES} bytes"])
    try:
        return content.decode("utf-8-sig")  # Windows' editors put a byte order mark in front
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}: line {line} is not UTF-8: save the file in that encoding"]) from None


def _patiently(name: str, flags: int) -> int:
    """Open without waiting for somebody at the other end of a pipe."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def parse(text: str, path: Path) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ConfigError: naming the line and what is wrong there, never its text.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).partition(" (at ")
        place = where.rstrip(")") or "end of document"
        raise ConfigError([f"{path}: {place}: it is not TOML: {what}"]) from None
    except RecursionError:
        raise ConfigError([f"{path}: it is nested too deeply"]) from None


def name_of(table: Mapping[str, object]) -> str:
    """Return what a destination's table is called; as `Destination` does where it says no name."""
    name = table.get("name")
    if isinstance(name, str) and name:
        return name
    try:
        return Destination(endpoint=table["endpoint"]).name if table.get("endpoint") else ""  # type: ignore[arg-type]
    except ConfigError:
        return ""


def make_destination(
    table: Mapping[str, object], environ: Mapping[str, str], where: str, defaults: Mapping[str, object] | None = None
) -> Destination:
    """Make the destination that a table describes, as it would send.

    Args:
        table: the fields of `Destination`, headers with `${VARIABLE}` as in the file.
        environ: what these stand for.
        where: how faults call the table.
        defaults: what `[defaults]` says.

    Raises:
        ConfigError: listing every fault, missing variables included.
    """
    made, missing = _make(table, environ, where, defaults or {})
    if missing:
        raise ConfigError([f"{where}: {says_missing(missing)}"])
    return made


def says_missing(variables: Iterable[str]) -> str:
    """Say that variables that headers name are not set."""
    names = sorted(set(variables))
    return f"headers need {', '.join(names)}, which {'is' if len(names) == 1 else 'are'} not set in the environment"


def _make(
    table: Mapping[str, object], environ: Mapping[str, str], where: str, defaults: Mapping[str, object]
) -> tuple[Destination, tuple[str, ...]]:
    """Return the destination, and the variables that are missing: then it is off, without those headers."""
    faults = _unknown(table, tuple(kinds_of(Destination)), where, _not_here)
    if isinstance(table.get("endpoint"), str) and "${" in str(table["endpoint"]):
        faults.append(f"{where}: endpoint: ${{...}} is read in the values of headers only")
    said = {name: value for name, value in defaults.items() if name in SHORTHAND}
    said |= {name: value for name, value in table.items() if name in kinds_of(Destination)}
    missing: tuple[str, ...] = ()
    if isinstance(table.get("headers"), Mapping):
        headers, missing, wrong = expanded(table["headers"], environ)  # type: ignore[arg-type]
        said["headers"] = headers
        faults += [f"{where}: {fault}" for fault in wrong]
    try:
        made = Destination(**({**said, "enabled": False} if missing else said))  # type: ignore[arg-type]
    except ConfigError as wrong_fields:
        faults += [f"{where}: {in_text(_without_label(fault))}" for fault in wrong_fields.faults]
    if faults:
        raise ConfigError(faults)
    return made, missing


def _without_label(fault: str) -> str:
    """Take away how `Destination` calls itself: the table has said so."""
    return re.sub(r'\Adestination(?: ".*?")?: ', "", fault)


class _Destinations:
    """Reads one table after the other, and keeps on after a fault."""

    def __init__(self, path: Path, environ: Mapping[str, str], defaults: Mapping[str, object]) -> None:
        self._path = path
        self._environ = environ
        self._defaults = defaults
        self.made: list[Destination] = []
        self.tables: list[Mapping[str, object]] = []
        self.missing: dict[str, tuple[str, ...]] = {}
        self.faults: list[str] = []

    def take(self, tables: object) -> None:
        if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
            self.faults.append(f"{self._path}: destinations must be tables, each under a line [[{TABLES}]]")
            return
        for position, table in enumerate(tables):
            self._take_one(position, table)
        names = [made.name for made in self.made]
        twice = sorted({name for name in names if names.count(name) > 1})
        self.faults += [f'{self._path}: [[{TABLES}]] "{name}" is there twice: give each its own name' for name in twice]

    def _take_one(self, position: int, table: Mapping[str, object]) -> None:
        where = f"{self._path}: {called(table, position)}"
        try:
            made, missing = _make(table, self._environ, where, self._defaults)
        except ConfigError as wrong:
            self.faults += wrong.faults
            return
        self.made.append(made)
        self.tables.append(table)
        if missing and table.get("enabled", True) is True:
            self.missing[made.name] = missing


def called(table: Mapping[str, object], position: int) -> str:
    """Return how messages call a table."""
    name = name_of(table)
    return f'[[{TABLES}]] "{name}"' if name else f"[[{TABLES}]] number {position + 1}"


def _defaults(said: object, path: Path) -> tuple[dict[str, object], list[str]]:
    where = f"{path}: [defaults]"
    if not isinstance(said, dict):
        return {}, [f"{path}: defaults must be a table, under a line [defaults]"]
    kinds = {**kinds_of(Destination), **kinds_of(Options)}
    known = {name: value for name, value in said.items() if name in default_names()}
    faults = _unknown(said, default_names(), where, _not_a_default)
    faults += [
        f"{where}: {in_text(fault)}" for name, value in known.items() for fault in kinds[name].faults(name, value)
    ]
    return known, faults


def _truth_faults(said: Mapping[str, object], path: Path) -> list[str]:
    return [f"{path}: {in_text(fault)}" for fault in TRUTH.faults("enabled", said.get("enabled", True))]


def _unknown(said: Mapping[str, object], known: tuple[str, ...], where: str, place: Any) -> list[str]:
    return [f'{where}: "{shown_name(name)}" {_instead(name, known, place)}' for name in said if name not in known]


def _instead(name: str, known: tuple[str, ...], place: Any) -> str:
    """Say what is to be done about an unknown key."""
    elsewhere = place(name)
    if elsewhere:
        return f"{elsewhere}"
    likely = nearest_name(name, known)
    return f'is no setting: did you mean "{likely}"?' if likely else f"is no setting: there are {', '.join(known)}"


def _misplaced(name: str) -> str:
    if name in default_names():
        return "belongs under [defaults]"
    return _of_a_destination(name)


def _not_a_default(name: str) -> str:
    if name == "enabled":
        return "stands at the top of the file, above [defaults]"
    return _of_a_destination(name) or _only_code(Options, name)


def _not_here(name: str) -> str:
    if name in default_names():
        return "belongs under [defaults]"
    return _only_code(Destination, name)


def _of_a_destination(name: str) -> str:
    return f"belongs to one destination, under [[{TABLES}]]" if name in kinds_of(Destination) else ""


def _only_code(settings: type, name: str) -> str:
    if settings is Options and name in _NOT_FOR_FILES:
        return f"is about this file: give it to instrument(), or set {_VARIABLES}{name.upper()}"
    is_object = name in {made.name for made in fields(settings)} - kinds_of(settings).keys() - {"from_environment"}
    return "is a Python object, which only code can give" if is_object else ""


def _warnings(path: Path, tables: Iterable[Mapping[str, object]]) -> tuple[str, ...]:
    if any(map(holds_plain_secrets, tables)) and readable_by_others(path):
        return (f"{path} holds secrets and other users can read it: chmod 600 {path}",)
    return ()


def readable_by_others(path: Path) -> bool:
    """Return whether group or others may read the file; where the system has no such thing, they may not."""
    try:
        return os.name == "posix" and bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False
