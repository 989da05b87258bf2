"""When to try again. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

RETRYABLE: Final = frozenset({429, 502, 503, 504})
"""HTTP statuses that OTLP/HTTP says to try again after (OTLP specification, "Failures")."""
_LONGEST: Final = 30.0
_LONGEST_ASKED: Final = 60.0


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that a `Retry-After` header asks for: a number or an HTTP date; None when it says neither."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), 1e9)
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, when.timestamp() - now)


def delay(attempt: int, retry_after: float | None, random: Callable[[], float]) -> float:
    """Return the seconds to wait after try number `attempt` (from 0): 1, 2, 4 ... 30, half of it by chance.

    A server's `retry_after` is taken as it is, up to a minute.
    """
    if retry_after is not None:
        return min(max(0.0, retry_after), _LONGEST_ASKED)
    full = min(_LONGEST, 2.0 ** min(attempt, 10))
    return full / 2 + random() * full / 2
