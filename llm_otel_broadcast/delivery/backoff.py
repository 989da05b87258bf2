"""When a backend may be asked again, for all batches of a destination alike."""

from __future__ import annotations

import time
from random import random
from typing import Final

from llm_otel_broadcast.delivery.seams import RetryPolicy

# For a program that flushes after each call, at most one request in this time goes to a backend in trouble.
_EARLY_INTERVAL_S: Final = 5.0


class Backoff:
    """The pauses of one destination. Used on its thread only."""

    def __init__(self) -> None:
        self._failures = 0
        self._last_failure = 0.0
        self._not_before = 0.0
        self._was_early = False
        self.is_asked = False
        """The server named the pause: nothing cuts it short."""

    def fail(self, delay: RetryPolicy, retry_after: float | None) -> float:
        """Note a failure; return the seconds until the next try.

        Args:
            delay: the policy.
            retry_after: seconds that the server asks for.
        """
        # By chance in part, so that many processes do not come back to a restarted backend in one moment.
        pause = delay(self._failures, retry_after, random)
        self._failures += 1
        # `Retry-After` (RFC 9110, section 10.2.3) is the server's word; the pauses of our own are a guess.
        self.is_asked = retry_after is not None
        self._last_failure = time.monotonic()
        self._not_before = self._last_failure + pause
        return pause

    def succeed(self) -> None:
        """Note that the server has taken or refused a request: it works."""
        self._failures, self._not_before, self._was_early, self.is_asked = 0, 0.0, False, False

    def shorten(self, pause: float) -> None:
        """Wait these seconds, less than the policy says, for a last try."""
        self._not_before = self._last_failure + pause

    def skip(self) -> None:
        """Let the next batch try at once, as the one before has had its time."""
        self._not_before = 0.0

    def remaining(self) -> float:
        """Return the seconds until something may be sent; 0 or less: now."""
        return self._not_before - time.monotonic()

    def may_be_early(self) -> bool:
        """Return whether a flush may cut the pause short: the first time, and then not at each call."""
        # Serverless handlers flush after each call, and would otherwise turn backing off into hammering.
        if self._was_early and time.monotonic() - self._last_failure < _EARLY_INTERVAL_S:
            return False
        self._was_early = True
        return True
