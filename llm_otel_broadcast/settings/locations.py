"""Where the settings file is, and where the last results of connection tests are kept.

The directories are those that `platformdirs` names. They are worked out here all the same: the command line, which writes
the file, and the program, which reads it and may be installed without the extra, must never look in two places.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from llm_otel_broadcast.settings.errors import ConfigError

CONFIG: Final = "LLM_OTEL_BROADCAST_CONFIG"
FILE_NAME: Final = "llm-otel-broadcast.toml"
_APP: Final = "llm-otel-broadcast"


def candidates(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return where the settings file may be, first come first served: absolute, for the program may change directories.

    `$LLM_OTEL_BROADCAST_CONFIG` alone counts when it is there; the null device in it stands for no file at all.
    """
    configured = named_in(environ)
    if configured is not None:
        return () if configured == Path(os.devnull) else (configured,)
    paths = []
    # The current directory may have been removed.
    with suppress(OSError):
        paths.append(Path.cwd() / FILE_NAME)
    user = user_directory(environ, "XDG_CONFIG_HOME", ".config")
    return (*paths, user / FILE_NAME) if user else tuple(paths)


class Stamp(NamedTuple):
    """Metadata that changes whenever the content of a file does, so that the file need not be read."""

    path: Path
    changed_ns: int
    size: int
    inode: int


class Lookup(NamedTuple):
    """The absolute paths where a program looks for its file, computed once, as it may change directories."""

    places: tuple[Path, ...]
    is_named: bool

    def stamp(self) -> Stamp | None:
        """Return the file in use, None when there is none. Reads nothing."""
        for path in self.places:
            # A file that does not exist or cannot be read is skipped.
            with suppress(OSError, ValueError):
                status = path.stat()
                # A file that the user names is trusted: only one that is found in the current directory can be another's trap.
                if self.is_named or not _distrust(path, status):
                    return Stamp(path, status.st_mtime_ns, status.st_size, status.st_ino)
        return None

    def refusals(self) -> tuple[str, ...]:
        """Return a message for each file that is ignored before the one in use, with the reason."""
        lines = []
        for path in () if self.is_named else self.places:
            with suppress(OSError, ValueError):
                reason = _distrust(path, path.stat())
                if not reason:
                    break
                lines.append(f"{path} does not count: {reason}. If you trust it, set {CONFIG}={path}")
        return tuple(lines)


def missing(lookup: Lookup) -> ConfigError | None:
    """Return the error of naming a file that is not there."""
    if not (lookup.is_named and lookup.places):
        return None
    return ConfigError([f"{lookup.places[0]}: {CONFIG} names this file, but it is not there"])


def look(environ: Mapping[str, str]) -> Lookup:
    """Return where to look for the file."""
    return Lookup(candidates(environ), named_in(environ) is not None)


def _distrust(path: Path, status: os.stat_result) -> str:
    """Return why a file that nobody named cannot be trusted: others may have written it. Empty if only its owner or root may.

    A settings file decides where prompts are sent, and reads secrets from the environment. Git has the same rule for the
    repositories that it finds (CVE-2022-24765).
    """
    if os.name != "posix":
        return ""
    trusted = (os.geteuid(), 0)
    directory = path.parent.stat()
    for subject, owner in (("it", status.st_uid), ("it", path.lstat().st_uid), ("its directory", directory.st_uid)):
        if owner not in trusted:
            return f"{subject} belongs to another user ({owner})"
    if _others_may_write(status):
        return "other users can write to it"
    # In a sticky directory, such as /tmp, nobody can put another file in the place of somebody's own.
    if _others_may_write(directory) and not directory.st_mode & stat.S_ISVTX:
        return "other users can write to its directory"
    return ""


def _others_may_write(status: os.stat_result) -> bool:
    """Return whether users besides the owner may write; where each user has a group of its own, that is no other user."""
    # Many distributions give each user a group of their own, and make new files writable for it (umask 002).
    is_own_group = status.st_gid in (os.getegid(), 0)
    return bool(status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not is_own_group))


def named_in(environ: Mapping[str, str]) -> Path | None:
    """Return the file that the environment names."""
    configured = environ.get(CONFIG, "").strip()
    return Path(os.path.abspath(os.path.expanduser(configured))) if configured else None  # noqa: PTH100, PTH111  # neither raises


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
    # The XDG specification ignores relative paths.
    stated = environ.get(variable, "")
    if stated.startswith("/"):
        return Path(stated) / _APP
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111  # `Path.home` raises where there is none
    if not home.startswith("/"):
        return None
    return Path(home) / ("Library/Application Support" if platform == "darwin" else below_home) / _APP
