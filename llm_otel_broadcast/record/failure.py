"""Why a call or a piece of the program's own did not end well."""

from __future__ import annotations

from typing import NamedTuple


class Failure(NamedTuple):
    """Why a generation did not end well."""

    type: str
    # May echo a prompt, and counts as content.
    message: str = ""
    status_code: int | None = None
    code: str | None = None
    request_id: str | None = None
