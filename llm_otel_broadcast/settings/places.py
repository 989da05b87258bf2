"""Where the settings file is, and where the last results of connection tests are kept.

The directories are those that `platformdirs` names. They are worked out here all the same: the command line, which writes
the file, and the program, which reads it and may be installed without the extra, must never look in two places.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

CONFIG: Final = "LLM_OTEL_BROADCAST_CONFIG"
FILE_NAME: Final = "llm-otel-broadcast.toml"
_APP: Final = "llm-otel-broadcast"


def candidates(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return where the settings file may be, first come first served: absolute, for the program may change directories.

    `$LLM_OTEL_BROADCAST_CONFIG` alone counts when it is there; the null device in it stands for no file at all.
    """
    named = named_in(environ)
    if named is not None:
        return () if named == Path(os.devnull) else (named,)
    found = []
    with suppress(OSError):  # the directory we are in may be gone
        found.append(Path.cwd() / FILE_NAME)
    user = user_directory(environ, "XDG_CONFIG_HOME", ".config")
    return (*found, user / FILE_NAME) if user else tuple(found)


def named_in(environ: Mapping[str, str]) -> Path | None:
    """Return the file that the environment names."""
    named = environ.get(CONFIG, "").strip()
    return Path(os.path.abspath(os.path.expanduser(named))) if named else None  # noqa: PTH100, PTH111  # neither raises


def state_file(environ: Mapping[str, str]) -> Path | None:
    """Return the file for the last results of connection tests, None where there is no home."""
    user = user_directory(environ, "XDG_STATE_HOME", ".local/state")
    return user / "tests.json" if user else None


def user_directory(
    environ: Mapping[str, str], variable: str, below_home: str, platform: str = sys.platform
) -> Path | None:
    """Return our directory among the user's own, None where there is no home.

    Args:
        environ: the environment.
        variable: the one that names the directory of all programs on Unix and macOS.
        below_home: what that is otherwise on Unix.
        platform: as `sys.platform` has it.
    """
    if platform == "win32":
        local = environ.get("LOCALAPPDATA", "")
        return Path(local) / _APP if local else None
    stated = environ.get(variable, "")
    if stated.startswith("/"):
        return Path(stated) / _APP
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111  # `Path.home` raises where there is none
    if not home.startswith("/"):
        return None
    return Path(home) / ("Library/Application Support" if platform == "darwin" else below_home) / _APP
