"""Our directory first on the PYTHONPATH of a program. Imports nothing: `run` has a program started within milliseconds."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DIRECTORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "on_path")  # noqa: PTH100, PTH118, PTH120  # no pathlib
PATH = "PYTHONPATH"


def path_with_ours(environ: Mapping[str, str]) -> str:
    """Return the PYTHONPATH of an environment with our directory first."""
    path = environ.get(PATH)
    # An empty entry is the current directory: an empty PYTHONPATH must not become one.
    entries = [entry for entry in path.split(os.pathsep) if entry != DIRECTORY] if path else []
    return os.pathsep.join([DIRECTORY, *entries])
