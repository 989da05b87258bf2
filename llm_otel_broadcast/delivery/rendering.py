"""Turning records into spans on a lane's thread, and how long that takes: their objects and functions are the program's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, NamedTuple

from llm_otel_broadcast.delivery.seams import Item, LaneParts, LeftOut
from llm_otel_broadcast.delivery.sent_spans import SentSpans, key_of
from llm_otel_broadcast.host.guard import Guard, or_else
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.trace_fields import NO_FIELDS

_TIMEOUT_S: Final = 10.0
"""Rendering takes microseconds to milliseconds; a thread that is at one record for so long waits for something."""
_LAST_TIMEOUT_S: Final = 1.0
"""The same when the process ends, which must leave time for the records behind it."""
BLOCKED: Final = "a function or an object of the program's blocks while a record is rendered"
_SHRINKING: Final = Guard("cutting a record that is too large")


class ReplacedError(Exception):
    """Ends a thread that another one has been started for."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a lane's thread is at.

    Attributes:
        item: the record.
        items: those that were taken with it.
        since: when it began (monotonic).
    """

    item: Item
    items: list[Item]
    since: float

    def is_blocked(self, *, ends: bool) -> bool:
        """Whether it takes too long; `ends`: the lane is to end."""
        return time.monotonic() - self.since > (_LAST_TIMEOUT_S if ends else _TIMEOUT_S)


class Unreadable(NamedTuple):
    """A record that cannot be rendered, and the type of the error."""

    error: str


class Withdrawn(NamedTuple):
    """A block that is not sent by itself: what was below it has been dropped, and counted, or brings it along later."""


def render(parts: LaneParts, enclosing_spans: SentSpans, item: Item) -> LeftOut | Unreadable | Withdrawn | None:
    """Make an item's spans and blocks; return why it is not to be sent, None: it is."""
    # One odd record must not take its neighbours along.
    return or_else(
        lambda: _render(parts, enclosing_spans, item), recover=lambda error: Unreadable(type(error).__name__)
    )


def _render(parts: LaneParts, enclosing_spans: SentSpans, item: Item) -> LeftOut | Unreadable | Withdrawn | None:
    record = item.record
    if isinstance(record, EnclosingSpan):
        return _render_enclosing_span(parts, enclosing_spans, item, record)
    record.settle()
    spans = parts.render(record)
    if isinstance(spans, LeftOut):
        return spans
    item.spans = spans
    item.enclosing_spans = [
        parts.enclosing_span(due, due.fields or record.fields) for due in enclosing_spans.due(record.enclosing_spans)
    ]
    return None


def _render_enclosing_span(
    parts: LaneParts, enclosing_spans: SentSpans, item: Item, enclosing_span: EnclosingSpan
) -> LeftOut | Withdrawn | None:
    if not enclosing_spans.follows(enclosing_span):
        return Withdrawn()
    if not enclosing_span.generations and not parts.chooses(enclosing_span):
        return LeftOut("sampled")
    if not enclosing_spans.has(key_of(enclosing_span)):
        item.enclosing_spans = [parts.enclosing_span(enclosing_span, enclosing_span.fields or NO_FIELDS)]
    return None


def shrink(parts: LaneParts, item: Item) -> bool:
    """Make a single record smaller; False: it is as small as it gets."""
    with _SHRINKING:
        if item.spans and (smaller := parts.shrink(item.record, item.spans)):
            item.spans = smaller
            return True
    return False
