"""Spans as they arrived, kept in memory and bounded; a plain value per span and one thread-safe store.

Knows nothing of how spans are made, so that tests may use it as an independent witness.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """A timed event of a span."""

    name: str
    time_ns: int
    attributes: dict[str, object]


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span with the resource and scope it came under; identifiers are lower-case hex."""

    name: str
    trace_id: str
    span_id: str
    parent_span_id: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, object]
    status_code: int
    status_message: str
    events: tuple[ReceivedEvent, ...]
    resource: dict[str, object]
    scope_name: str
    scope_version: str

    @property
    def duration_s(self) -> float:
        """Seconds from start to end."""
        return (self.end_ns - self.start_ns) / 1e9


_MAX_SPANS: Final = 50_000
_MAX_BYTES: Final = 256 * 1024 * 1024


class TraceStore:
    """The last spans in order of arrival; every method may be called from any thread.

    Args:
        max_spans: how many are kept.
        max_bytes: how many bytes they may have had together as they arrived, decompressed.
    """

    def __init__(self, max_spans: int = _MAX_SPANS, max_bytes: int = _MAX_BYTES) -> None:
        self._max_spans = max_spans
        self._max_bytes = max_bytes
        self._spans: deque[ReceivedSpan] = deque()
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._changed = threading.Condition()

    def add(self, spans: Iterable[ReceivedSpan], size: int = 0) -> None:
        """Append spans, dropping the oldest beyond the bounds; `size`: the bytes of the body that they came in."""
        arrived = list(spans)
        if not arrived:
            return
        share = size // len(arrived)
        with self._changed:
            self._spans.extend(arrived)
            self._sizes.extend([share] * len(arrived))
            self._bytes += share * len(arrived)
            while len(self._spans) > self._max_spans or self._bytes > self._max_bytes:
                self._spans.popleft()
                self._bytes -= self._sizes.popleft()
            self._changed.notify_all()

    def spans(self) -> list[ReceivedSpan]:
        """Return a copy of everything held, oldest first."""
        with self._changed:
            return list(self._spans)

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """Return the spans of one trace, in order of arrival."""
        return [span for span in self.spans() if span.trace_id == trace_id]

    def traces(self) -> dict[str, list[ReceivedSpan]]:
        """Return the spans by trace identifier, traces in order of first arrival."""
        traces: dict[str, list[ReceivedSpan]] = {}
        for span in self.spans():
            traces.setdefault(span.trace_id, []).append(span)
        return traces

    def clear(self) -> None:
        """Forget everything."""
        with self._changed:
            self._spans.clear()
            self._sizes.clear()
            self._bytes = 0

    def wait_for(
        self, condition: int | Callable[[list[ReceivedSpan]], bool], timeout: float = 5.0
    ) -> list[ReceivedSpan]:
        """Wait until enough spans are held and return all of them.

        Args:
            condition: The least number of spans, or a function of all spans, called after each arrival.
            timeout: Seconds to wait.

        Raises:
            TimeoutError: Names what had arrived.

        """
        deadline = time.monotonic() + timeout
        while True:
            with self._changed:
                spans = list(self._spans)
                # Called under the lock, so that no arrival is missed; it is re-entrant, so the function may use the store.
                if len(spans) >= condition if isinstance(condition, int) else condition(spans):
                    return spans
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    subject = f"{condition} spans" if isinstance(condition, int) else "the awaited spans"
                    names = ", ".join(repr(span.name) for span in spans[-20:]) or "nothing"
                    raise TimeoutError(f"waited {timeout:g} s for {subject}; {len(spans)} arrived: {names}")
                self._changed.wait(remaining)
