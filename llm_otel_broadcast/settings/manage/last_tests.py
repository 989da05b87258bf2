"""The last connection test of each destination, in a small file of the user's own state: no setting, and never a secret.

A file that cannot be written or read counts as empty: a result that cannot be stored is no fault of the test.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.endpoints import redact_url
from llm_otel_broadcast.settings.locations import state_file
from llm_otel_broadcast.settings.manage.atomic_writer import replace_file

# Destinations in the state file, over all settings files.
_MAX_DESTINATIONS: Final = 200


@dataclass(frozen=True, slots=True)
class LastTest:
    """How a test ended, and when (seconds since the epoch)."""

    ok: bool
    message: str
    tested_at: float

    def as_json(self) -> dict[str, object]:
        """Return the result as scripts read it and as it is stored."""
        return {"ok": self.ok, "message": self.message, "at": self.tested_at}


def remember(file: Path, destination: Destination, *, ok: bool, message: str, environ: Mapping[str, str]) -> None:
    """Store the result of testing a destination of a settings file. `message` must hold no secret."""
    path = state_file(environ)
    if path is None:
        return
    results = _read(path)
    key = _key(file, destination)
    # The newest result stands last: the oldest ones go when there are too many.
    results.pop(key, None)
    results[key] = LastTest(ok, message, time.time()).as_json()
    newest = dict(list(results.items())[-_MAX_DESTINATIONS:])
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, json.dumps(newest))


def last_test(file: Path, destination: Destination, environ: Mapping[str, str]) -> LastTest | None:
    """Return how the last test of this destination ended; None: never tested, or it has another endpoint since."""
    path = state_file(environ)
    result = _read(path).get(_key(file, destination), {}) if path else {}
    with suppress(KeyError, TypeError, ValueError):
        return LastTest(bool(result["ok"]), str(result["message"]), float(result["at"]))
    return None


def _key(file: Path, destination: Destination) -> str:
    return "\n".join([str(file), destination.name, redact_url(destination.endpoint or "")])


def _read(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        results = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(results, dict):
            return results
    return {}
