"""The spool on disk: where it is, and how much it keeps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from llm_otel_broadcast.settings.validators import Kind, nearest, read_json

_MIN_BYTES: Final = 1024 * 1024
_MAX_AGE_S: Final = 366 * 24 * 3600
_WRITTEN: Final = 'a directory, or `{"directory": "...", "max_bytes": ..., "max_age": ...}`'
_SAYS: Final = 'a directory, or {"directory": ..., "max_bytes": ..., "max_age": ...}'


class SpoolSettings(NamedTuple):
    """Where bodies that could not be delivered are kept.

    Attributes:
        directory: absolute path.
        max_bytes: of all bodies together; over that the oldest go.
        max_age: how long a body is kept, in seconds.
    """

    directory: str
    max_bytes: int = 512 * 1024 * 1024
    max_age: float = 7 * 24 * 3600.0


def _read(text: str) -> object:
    return read_json(text) if text.lstrip().startswith("{") else text


def _faults(name: str, value: object) -> list[str]:
    if value is None or isinstance(value, SpoolSettings):
        return []
    if isinstance(value, str | os.PathLike):
        return [] if os.fspath(value) else [f"{name} must be {_SAYS}, got an empty text"]
    if not isinstance(value, Mapping):
        return [f"{name} must be {_SAYS}, got {type(value).__name__}"]
    fields = SpoolSettings._fields
    faults = [
        f"{name}: '{key}' is no part of it{nearest(str(key), fields)}: there are {', '.join(fields)}"
        for key in value
        if key not in fields
    ]
    directory = value.get("directory")
    if not isinstance(directory, str | os.PathLike) or not os.fspath(directory):
        faults.append(f"{name}: directory must be a path, got {directory!r}")
    max_bytes, max_age = value.get("max_bytes", _MIN_BYTES), value.get("max_age", 1)
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < _MIN_BYTES:
        faults.append(f"{name}: max_bytes must be a whole number of bytes, at least {_MIN_BYTES}, got {max_bytes!r}")
    if isinstance(max_age, bool) or not isinstance(max_age, int | float) or not 1 <= max_age <= _MAX_AGE_S:
        faults.append(f"{name}: max_age must be a number of seconds from 1 to {_MAX_AGE_S}, got {max_age!r}")
    return faults


SPOOL: Final = Kind(_faults, _read, _WRITTEN)


def plain_spool(value: Any) -> SpoolSettings | None:
    """Return a setting that is right in its full form, with an absolute path."""
    if value is None or isinstance(value, SpoolSettings):
        return value
    parts = dict(value) if isinstance(value, Mapping) else {"directory": value}
    directory = Path(parts.pop("directory"))
    # Of a user without a home the path stays as it is, and what is wrong with it is logged at its first use.
    with suppress(RuntimeError):
        directory = directory.expanduser().absolute()
    return SpoolSettings(directory=str(directory), **parts)
