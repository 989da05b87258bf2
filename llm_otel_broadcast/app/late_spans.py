"""Ending the app's own span of a raw response when its facts are known: once the caller has parsed it, else in the background.

A raw response's body is parsed off the host's thread, after the call has ended; the app's span waits for that and still ends
with the time at which the call ended.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias
from weakref import WeakSet

from opentelemetry.trace import Span

from llm_otel_broadcast.host.forks import begin_anew_in_child
from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.record.generation import Generation

_ENDING: Final = Guard("ending the app's own span")
# Beyond this many at one time, spans end with their call, without what the body says.
_MAX_WAITING: Final = 256

Spans: TypeAlias = tuple[Span, ...]


class LateSpans:
    """Spans that wait for their record to be read, by the caller or by a recorder in the background.

    Args:
        end: completes and ends the spans of a record.
    """

    def __init__(self, end: Callable[[Generation, Spans], None]) -> None:
        self._end = end
        self._waiting: dict[Generation, Spans] = {}
        self._read: list[Generation] = []

    def take(self, record: Generation, spans: Spans) -> bool:
        """Keep the spans of a record whose body has yet to be read. False: too many wait."""
        if len(self._waiting) >= _MAX_WAITING:
            return False
        self._waiting[record] = spans
        # Not before there is something to end: a program without raw responses has no exit handler of ours for them.
        if self not in _instances:
            _instances.add(self)
            # Exit handlers run in reverse order: this one comes before that of the app's provider, which was registered
            # earlier and stops taking spans.
            if not _watched_exits:
                _watched_exits.append(True)
                atexit.register(_with_each, LateSpans.close)
        return True

    def end(self, record: Generation) -> None:
        """End a record's spans, once, whoever comes first: the caller's thread or the recorder's."""
        # One step, so that only one of them has the spans.
        spans = self._waiting.pop(record, None)
        if spans is not None:
            with _ENDING:
                self._end(record, spans)

    def forget(self) -> None:
        """Drop all spans without ending them: in a child process they are the parent's."""
        self._waiting.clear()
        self._read.clear()

    # -- on the recorder's thread -------------------------------------------------------------------------------------

    def note_read(self, record: Generation) -> None:
        """Note a record whose body has been read."""
        self._read.append(record)

    def end_read(self) -> None:
        """End the spans of what has been read. Not while reading: the app's span processors may take their time."""
        while self._read:
            self.end(self._read.pop())

    def close(self) -> None:
        """End whatever is left."""
        for record in list(self._waiting):
            with _ENDING:
                record.settle()
            self.end(record)


_instances: WeakSet[LateSpans] = WeakSet()
_watched_exits: Final[list[bool]] = []


def _with_each(action: Callable[[LateSpans], None]) -> None:
    for late in list(_instances):
        action(late)


begin_anew_in_child(partial(_with_each, LateSpans.forget))
