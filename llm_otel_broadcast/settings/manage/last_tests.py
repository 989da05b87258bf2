"""The last connection test of each destination, in a small file of the user's own state: no setting, and never a secret.

What cannot be written or read is as if it had never been: a result that is not kept is no fault of the test.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.endpoints import redact_url
from llm_otel_broadcast.settings.locations import state_file

_MOST: Final = 200
"""Destinations remembered, over all settings files."""


@dataclass(frozen=True, slots=True)
class LastTest:
    """How a test ended, and when (seconds since the epoch)."""

    ok: bool
    message: str
    at: float


def remember(file: Path, destination: Destination, *, ok: bool, message: str, environ: Mapping[str, str]) -> None:
    """Keep the result of testing a destination of a settings file. `message` must hold no secret."""
    place = state_file(environ)
    if place is None:
        return
    known = _read(place)
    key = _key(file, destination)
    known.pop(key, None)
    known[key] = asdict(LastTest(ok, message, time.time()))
    kept = dict(list(known.items())[-_MOST:])
    with suppress(OSError):
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as made:
            json.dump(kept, made)
        Path(name).replace(place)


def last_test(file: Path, destination: Destination, environ: Mapping[str, str]) -> LastTest | None:
    """Return how the last test of this destination ended; None: never tested, or it has another endpoint since."""
    place = state_file(environ)
    said = _read(place).get(_key(file, destination), {}) if place else {}
    with suppress(KeyError, TypeError, ValueError):
        return LastTest(bool(said["ok"]), str(said["message"]), float(said["at"]))
    return None


def _key(file: Path, destination: Destination) -> str:
    return "\n".join([str(file), destination.name, redact_url(destination.endpoint or "")])


def _read(place: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        said = json.loads(place.read_text(encoding="utf-8"))
        if isinstance(said, dict):
            return said
    return {}
