"""The requests as they arrived, for tests and for showing what a client sent; bounded in number and in bytes."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Final

MAX_REQUESTS: Final = 50_000
MAX_BODY_BYTES: Final = 32 * 1024 * 1024
"""Of all bodies together; beyond it the oldest requests lose theirs."""


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One POST as it arrived; `body` is decompressed where that was possible."""

    path: str
    # Kept out of repr: credentials and content do not belong in a test report.
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    content_type: str
    wire_bytes: int


class RequestLog:
    """The last requests, oldest first; every method may be called from any thread."""

    def __init__(self) -> None:
        self._requests: list[ReceivedRequest] = []
        self._body_bytes = 0
        # Requests before this position have lost their bodies.
        self._first_with_body = 0
        self._arrived = threading.Condition()

    def add(self, request: ReceivedRequest) -> None:
        """Append a request; beyond the bounds the oldest bodies go first, then the oldest requests."""
        with self._arrived:
            self._requests.append(request)
            self._body_bytes += len(request.body)
            while self._body_bytes > MAX_BODY_BYTES:
                oldest = self._requests[self._first_with_body]
                self._requests[self._first_with_body] = replace(oldest, body=b"")
                self._body_bytes -= len(oldest.body)
                self._first_with_body += 1
            # A tenth at once: taking the first of a list away costs its length each time.
            if len(self._requests) > MAX_REQUESTS:
                surplus = self._requests[: MAX_REQUESTS // 10]
                del self._requests[: len(surplus)]
                self._body_bytes -= sum(len(request.body) for request in surplus)
                self._first_with_body = max(0, self._first_with_body - len(surplus))
            self._arrived.notify_all()

    def all(self) -> list[ReceivedRequest]:
        """Return a copy of what is held, oldest first."""
        with self._arrived:
            return list(self._requests)

    def clear(self) -> None:
        """Forget everything."""
        with self._arrived:
            self._requests.clear()
            self._body_bytes = self._first_with_body = 0

    def wait_for(self, count: int, timeout: float) -> list[ReceivedRequest]:
        """Wait until at least `count` requests are held, for `timeout` seconds at most, and return them.

        Raises:
            TimeoutError: says how many arrived.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._requests) >= count, timeout):
                raise TimeoutError(f"waited {timeout:g} s for {count} requests; {len(self._requests)} arrived")
            return list(self._requests)
