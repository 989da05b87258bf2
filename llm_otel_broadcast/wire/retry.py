"""When to try again. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

# The statuses after which a client should send again (OTLP specification, OTLP/HTTP, "Retryable Response Codes").
RETRYABLE: Final = frozenset({429, 502, 503, 504})
_MAX_PAUSE_S: Final = 30.0
# A server that asks for more than an hour, mostly by mistake, is asked again after that; less than a second is no pause.
_MAX_REQUESTED_S: Final = 3_600.0
_MIN_REQUESTED_S: Final = 1.0


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that a `Retry-After` header asks for: a number or an HTTP date; None when it says neither."""
    if value is None:
        return None
    text = value.strip()
    # `isdigit` alone takes digits of other scripts; more than nine are no time to wait.
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), 1e9)
    when = _date(text)
    return None if when is None else max(0.0, when - now)


def _date(text: str) -> float | None:
    """Return an HTTP date as seconds since the epoch."""
    # The one form of a date without a zone, that of asctime, is in UTC (RFC 9110, section 5.6.7).
    try:
        when = parsedate_to_datetime(text)
        return (when.replace(tzinfo=UTC) if when.tzinfo is None else when).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def asked_pause(retry_after: str | None, date: str | None, now: float) -> float | None:
    """Return the seconds that an answer asks to wait: 1 to 3,600; None when it asks for nothing, or for no time at all.

    Args:
        retry_after: its header of that name.
        date: its `Date`: a time that it names is one of the server's clock.
        now: in seconds since the epoch.
    """
    seconds = parse_retry_after(retry_after, _date(date or "") or now)
    return None if seconds is None or seconds < _MIN_REQUESTED_S else min(seconds, _MAX_REQUESTED_S)


def delay(attempt: int, retry_after: float | None, random: Callable[[], float]) -> float:
    """Return the seconds to wait after try number `attempt` (from 0): 1, 2, 4 ... 30, half of it by chance.

    A server's `retry_after` is taken as it is, from a second up to an hour.
    """
    if retry_after is not None and retry_after >= _MIN_REQUESTED_S:
        return min(retry_after, _MAX_REQUESTED_S)
    # "Equal jitter": never less than half, so that a backend in trouble has a rest.
    full = min(_MAX_PAUSE_S, 2.0 ** min(attempt, 10))
    return full / 2 + random() * full / 2
