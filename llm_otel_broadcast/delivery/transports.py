"""Flushing and closing what a lane sends with: an exporter's own life cycle."""

from __future__ import annotations

from llm_otel_broadcast.delivery.books import Books
from llm_otel_broadcast.delivery.parts import LaneParts


def flush_transport(parts: LaneParts | None, books: Books) -> bool:
    """Return whether everything that it was handed has been sent."""
    if parts is None:
        return True
    try:
        return parts.transport.flush()
    except BaseException as error:  # noqa: BLE001  # an exporter's fault is told, and the thread goes on
        books.failed(f"flushing failed ({type(error).__name__})", "going on", error)
        return False


def close_transport(parts: LaneParts | None, books: Books) -> None:
    """Close it for good."""
    if parts is None:
        return
    try:
        parts.transport.close()
    except BaseException as error:  # noqa: BLE001  # likewise
        books.failed(f"closing failed ({type(error).__name__})", "it is not used any more", error)
