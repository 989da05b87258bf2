"""Writing a file in one step: a reader finds the old content or the new one, never half of it."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, text: str) -> None:
    """Put a new file in the place of the old one; only its owner can read it. It is on disk when this returns.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    # mkstemp makes the file with mode 0600, so a secret in it is never readable by others, and beside the old file, as a rename
    # is atomic on one file system only.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            # Without it a power cut after the rename can leave an empty file.
            os.fsync(file.fileno())
            # Only root may give files away: `sudo llm-otel-broadcast enable` must not take the file from its owner. By the handle:
            # whoever owns the directory could put a link to another file in the place of the name meanwhile.
            if os.name == "posix":
                with suppress(OSError):
                    owner = path.lstat()
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
