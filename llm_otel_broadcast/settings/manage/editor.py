"""Changing the settings file: comments and order stay, a reader never sees half of it, writers wait for one another.

Needs `tomlkit`, of the extra `cli`.
"""

from __future__ import annotations

import os
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.file import (
    TABLES,
    FileSettings,
    make_destination,
    name_of,
    parse,
    read_file,
    read_text,
)
from llm_otel_broadcast.settings.locations import look
from llm_otel_broadcast.settings.manage.atomic_writer import replace_file
from llm_otel_broadcast.settings.references import AllSet

if TYPE_CHECKING:
    from tomlkit import TOMLDocument
    from tomlkit.items import Item

    from llm_otel_broadcast.settings.destination import Destination

# A parsed file, or tomlkit's document of one: both can be changed in the same way.
_Content: TypeAlias = MutableMapping[str, Any]
_LOCK_TIMEOUT_S: Final = 10.0
_LOCK_INTERVAL_S: Final = 0.05
_NEW: Final = """\
# Where llm_otel_broadcast sends traces. A secret may stay in the environment:
# headers = { Authorization = "Bearer ${AXIOM_TOKEN}" }

enabled = true
"""


class SettingsFile:
    """The settings file as the command line changes it. Each change is one transaction, and on disk when it returns.

    `SettingsFile.in_use_or_new(os.environ)` is the file in use, else the one to be made. `save("axiom", {"endpoint": ..., "headers":
    {...}})` adds or replaces a table: keys that are left out go. `table("axiom")` is what it says, as it stands there
    (`${...}` unexpanded); `destination("axiom")` is what that makes.

    All raise ConfigError: the file cannot be read or written, is no TOML, or what is asked for makes no sense.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def in_use_or_new(cls, environ: Mapping[str, str]) -> SettingsFile:
        """Return the file in use, else the one that `$LLM_OTEL_BROADCAST_CONFIG` names, else the user's."""
        lookup = look(environ)
        if not lookup.places:
            raise ConfigError(
                ["there is no place for a settings file: set LLM_OTEL_BROADCAST_CONFIG to the path of one"]
            )
        stamp = lookup.stamp()
        return cls(stamp.path if stamp else lookup.places[-1])

    @property
    def exists(self) -> bool:
        """Whether there is a file."""
        return self.path.exists()

    def load(self, environ: Mapping[str, str]) -> FileSettings:
        """Return the validated content of the file; a file that does not exist counts as empty."""
        return read_file(self.path, environ) if self.exists else FileSettings(self.path)

    def tables(self) -> list[Mapping[str, object]]:
        """Return the destinations' tables as they stand in the file, valid or not."""
        tables = parse(read_text(self.path), self.path).get(TABLES, []) if self.exists else []
        return [table for table in tables if isinstance(table, dict)] if isinstance(tables, list) else []

    def names(self) -> list[str]:
        """Return the destinations' names."""
        return [name_of(table) for table in self.tables()]

    def table(self, name: str) -> dict[str, object]:
        """Return one destination's table."""
        for table in self.tables():
            if name_of(table) == name:
                return dict(table)
        raise self._no_such(name, self.names())

    def destination(self, name: str, environ: Mapping[str, str]) -> Destination:
        """Return one destination as it would send; `environ` has what `${...}` in its headers stands for."""
        return self.make(name, self.table(name), environ)

    def make(self, name: str, table: Mapping[str, object], environ: Mapping[str, str], label: str = "") -> Destination:
        """Return what a table would make if it stood in the file under that name; `label`: its name in messages, if another."""
        defaults = parse(read_text(self.path), self.path).get("defaults", {}) if self.exists else {}
        return make_destination({**table, "name": name}, environ, label or self.label_of(name), defaults)

    def label_of(self, name: str) -> str:
        """Return the label of a destination of this file in messages."""
        return f'{self.path}: [[{TABLES}]] "{name}"'

    def save(self, name: str, table: Mapping[str, object]) -> None:
        """Add a destination, or replace its table; keys that are None are left out."""
        new_table: dict[str, object] = {"name": name}
        new_table |= {key: _simple(value) for key, value in table.items() if key != "name" and value is not None}
        make_destination(new_table, AllSet(), self.label_of(name))

        def change(document: TOMLDocument) -> str:
            position = _position(document, name)
            if position is None:
                return _appended(document, new_table)
            _update(document[TABLES][position], new_table)
            return document.as_string()

        def expect(content: _Content) -> None:
            position = _position(content, name)
            tables = content.setdefault(TABLES, [])
            if position is None:
                tables.append(new_table)
            else:
                tables[position] = new_table

        self._change(change, expect)

    def remove(self, name: str) -> None:
        """Take a destination out."""

        def expect(content: _Content) -> None:
            position = _position(content, name)
            if position is None:
                raise self._no_such(name, [name_of(table) for table in content.get(TABLES, [])])
            del content[TABLES][position]
            if not content[TABLES]:
                del content[TABLES]

        def change(document: TOMLDocument) -> str:
            expect(document)
            return document.as_string()

        self._change(change, expect)

    def enable(self, enabled: bool) -> None:
        """Switch broadcasting on or off."""

        def expect(content: _Content) -> None:
            content["enabled"] = enabled

        def change(document: TOMLDocument) -> str:
            # At the top: below the line of a table the key would belong to that table.
            if "enabled" not in document:
                return f"enabled = {str(enabled).lower()}\n\n{document.as_string()}"
            expect(document)
            return document.as_string()

        self._change(change, expect)

    def _no_such(self, name: str, names: Sequence[str]) -> ConfigError:
        listed = ", ".join(f'"{existing}"' for existing in names) if names else "none"
        return ConfigError([f'{self.path}: there is no destination "{name}" (there: {listed})'])

    def _change(self, change: Callable[[TOMLDocument], str], expect: Callable[[_Content], None]) -> None:
        """Read, change and write while no other writer does.

        `expect` makes the same change to the parsed content: only a text with exactly that content replaces the file.
        """
        try:
            import tomlkit
        except ModuleNotFoundError:
            advice = "pip install 'llm-otel-broadcast[cli]'"
            raise ConfigError([f"changing the settings file needs tomlkit: {advice}"]) from None
        # Replacing the link itself would turn it into a file.
        path = Path(os.path.realpath(self.path))
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Two commands at a time would lose the change of one.
            with _locked(path):
                text = read_text(path) if path.exists() else _NEW
                expected = parse(text, self.path)
                expect(expected)
                new_text = change(tomlkit.parse(text))
                written: object = None
                # tomlkit's text is read by the standard parser first, as that is what programs will read it with.
                with suppress(tomllib.TOMLDecodeError):
                    written = tomllib.loads(new_text)
                if written != expected:
                    raise ConfigError([f"{self.path}: it is written in a way that cannot be changed here: edit it"])
                replace_file(path, new_text)
        except OSError as error:
            raise ConfigError([f"{self.path}: it cannot be written ({error.strerror})"]) from None


def _position(content: _Content, name: str) -> int | None:
    """Return which of the destinations' tables has this name."""
    names = [name_of(table) for table in content.get(TABLES, ())]
    return names.index(name) if name in names else None


def _appended(document: TOMLDocument, table: Mapping[str, object]) -> str:
    """Return the document's text with one more table."""
    from tomlkit.items import Array

    tables = document.get(TABLES)
    # The file may also have them inline: destinations = [{...}]
    if isinstance(tables, Array):
        tables.append(_item(table))
        return document.as_string()
    lines = [f"[[{TABLES}]]", *(f"{key} = {_item(value).as_string()}" for key, value in table.items())]
    old_text = document.as_string().rstrip()
    return "\n".join([*([old_text, ""] if old_text else ()), *lines, ""])


def _update(old_table: MutableMapping[str, Any], table: Mapping[str, object]) -> None:
    """Change what differs: the rest keeps its comments, order and way of writing."""
    for key in [key for key in old_table if key not in table]:
        del old_table[key]
    for key, value in table.items():
        old_value = old_table.get(key)
        # tomlkit's values carry their text: only what they stand for is compared.
        plain_value = old_value.unwrap() if old_value is not None and hasattr(old_value, "unwrap") else old_value
        if key in old_table and plain_value == value:
            continue
        if isinstance(value, Mapping) and isinstance(old_value, MutableMapping):
            _update(old_value, value)
        else:
            old_table[key] = _item(value)


def _item(value: object) -> Item:
    """Return the value as TOML on one line."""
    import tomlkit

    if isinstance(value, Mapping):
        table = tomlkit.inline_table()
        table.update({key: _item(item) for key, item in value.items()})
        return table
    if isinstance(value, list):
        array = tomlkit.array()
        array.extend([_item(item) for item in value])
        return array
    return tomlkit.item(value)


def _simple(value: object) -> object:
    """Return the value made of what TOML has: tables, arrays and the like; None is left out."""
    if isinstance(value, Mapping):
        return {key: _simple(item) for key, item in value.items() if item is not None}
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_simple(item) for item in value]
    return value


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the one lock that writers of this file share; wait for it for a bounded time.

    It is a file beside the settings file that only its owner can open: a directory could be locked by everybody who may
    read it, for as long as they like. Each writer takes its lock file away.

    Raises:
        ConfigError: another writer does not let go.
    """
    lock = path.with_name(f".{path.name}.lock")
    if sys.platform == "win32":
        import msvcrt

        with lock.open("a+b") as file:
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
            try:
                yield
            finally:
                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
        return
    handle = _lock_file(lock, time.monotonic() + _LOCK_TIMEOUT_S)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.unlink()
        os.close(handle)


def _lock_file(lock: Path, deadline: float) -> int:
    """Return a handle that holds the lock file. One that another writer has taken away meanwhile is no lock any more."""
    import fcntl

    while True:
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except PermissionError:
            if not lock.exists():
                raise
            raise ConfigError(
                [f"{lock} is another user's: remove it if nobody is changing the settings file"]
            ) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(lock.stat(), os.fstat(handle)):
                return handle
        # Held by another writer, or taken away by one.
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:
            # Some network file systems lock nothing.
            return handle
        os.close(handle)
        if time.monotonic() > deadline:
            raise ConfigError([f"{lock} is held by another program that changes the settings file: try again later"])
        time.sleep(_LOCK_INTERVAL_S)
