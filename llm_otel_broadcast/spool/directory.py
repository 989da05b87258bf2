"""The directory of a spool: the user's own, closed to others, and no symbolic link.

What lies in it may hold prompts, and whoever may write to it could have them sent elsewhere or another file overwritten.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Final

_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
# SQLite keeps these beside its file.
_COMPANIONS: Final = ("", "-wal", "-shm")
_DAMAGED: Final = ".damaged-"
_UMASK_FREE_MODE: Final = 0o600


class SpoolError(Exception):
    """The spool cannot be used now; the text says why, and what can be done. It holds no secret."""


def prepare_directory(directory: Path) -> None:
    """Make the directory if it is not there, readable for its owner alone.

    Raises:
        SpoolError: it is not ours alone.
        OSError: it cannot be made.
    """
    if not directory.is_absolute():
        raise SpoolError(f"there is no home directory for {directory}: name an absolute path")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    entry = directory.lstat()
    if not stat.S_ISDIR(entry.st_mode):
        # `mkdir` is content with a link to a directory.
        raise SpoolError(f"{directory} is a symbolic link: name the directory itself")
    # Windows has neither owners nor modes of this kind.
    if not hasattr(os, "geteuid"):
        return
    if entry.st_uid != os.geteuid():
        raise SpoolError(f"{directory} belongs to another user: name a directory inside it, which is then made")
    if entry.st_mode & _OTHERS_MAY_WRITE:
        raise SpoolError(
            f"others may write to {directory}: chmod 700, or name a directory inside it, which is then made"
        )


def prepare_file(path: Path) -> None:
    """Make the file if it is not there, readable for its owner alone.

    Raises:
        SpoolError: it is something else than a file of ours.
        OSError: it cannot be made.
    """
    try:
        entry = path.lstat()
    except FileNotFoundError:
        # Never opened once it is there: closing it would drop the locks that SQLite holds on it in this process.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), _UMASK_FREE_MODE))
        return
    if not stat.S_ISREG(entry.st_mode) or entry.st_nlink > 1:
        raise SpoolError(f"{path} is not a plain file: remove it")
    if hasattr(os, "geteuid") and entry.st_uid != os.geteuid():
        raise SpoolError(f"{path} belongs to another user: remove it, or name another directory")


def move_aside(path: Path) -> Path:
    """Move a damaged file and its companions out of the way; return where it is now. Only the newest such file is left."""
    for damaged in path.parent.glob(f"{path.name}{_DAMAGED}*"):
        damaged.unlink(missing_ok=True)
    target = path.with_name(f"{path.name}{_DAMAGED}{int(time.time())}")
    for companion in _COMPANIONS:
        source = Path(f"{path}{companion}")
        if source.exists():
            source.replace(f"{target}{companion}")
    return target


def damaged_files(path: Path) -> list[Path]:
    """Return the files that were moved aside, without their companions."""
    return sorted(
        file for file in path.parent.glob(f"{path.name}{_DAMAGED}*") if not file.name.endswith(_COMPANIONS[1:])
    )
