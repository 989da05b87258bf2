"""Why a call or a piece of the program's own did not end well."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a generation did not end well. `message` may echo a prompt and counts as content."""

    type: str
    message: str = ""
    status_code: int | None = None
    code: str | None = None
    request_id: str | None = None
