"""Which enclosing spans one destination has, and which it is to have because a generation below them went there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, TypeAlias

from llm_otel_broadcast.host.bounded import BoundedDict
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan, Opener

if TYPE_CHECKING:
    from llm_otel_broadcast.record.span_data import SpanData

Key: TypeAlias = tuple[int, int]
# A long-lived process must not grow; an enclosing span is sent twice at worst, and backends take the later one.
_MAX_ENTRIES: Final = 10_000


def key_of(enclosing_span: EnclosingSpan) -> Key:
    return enclosing_span.trace_id, enclosing_span.span_id


class SentSpans:
    """Used by the lane's thread, and at a change of settings by those of two lanes; bounded."""

    def __init__(self) -> None:
        # The least used is forgotten first: the root of a long session must not be.
        self._sent: BoundedDict[Key, None] = BoundedDict(_MAX_ENTRIES)
        self._awaited: BoundedDict[Key, None] = BoundedDict(_MAX_ENTRIES)

    def due(self, enclosing_spans: Iterable[EnclosingSpan]) -> list[EnclosingSpan]:
        """Return the spans round an accepted generation that are to go with it; those still open follow by themselves."""
        due = []
        for enclosing_span in enclosing_spans:
            # It comes by itself, through the settings that replaced these.
            if enclosing_span.opener is Opener.OTHER_CONTEXT or enclosing_span.has_outlived_settings:
                continue
            if enclosing_span.opener is Opener.CONTEXT:
                self._awaited[key_of(enclosing_span)] = None
            is_over = bool(enclosing_span.end_ns) and enclosing_span.is_complete(rendered=True)
            if (is_over or enclosing_span.opener is not Opener.CONTEXT) and not self.has(key_of(enclosing_span)):
                due.append(enclosing_span)
        return due

    def follows(self, enclosing_span: EnclosingSpan) -> bool:
        """Return whether a span that has ended is to be sent: nothing happened below it, or something that went here."""
        return (
            not enclosing_span.generations
            or enclosing_span.has_outlived_settings
            or key_of(enclosing_span) in self._awaited
        )

    def has(self, key: Key) -> bool:
        """Return whether the destination has an enclosing span."""
        return key in self._sent

    def missing(self, enclosing_spans: Iterable[SpanData]) -> dict[Key, SpanData]:
        """Return those that the destination does not have yet, each once."""
        by_key = {
            (enclosing_span.trace_id, enclosing_span.span_id): enclosing_span for enclosing_span in enclosing_spans
        }
        return {key: enclosing_span for key, enclosing_span in by_key.items() if not self.has(key)}

    def remember(self, keys: Iterable[Key]) -> None:
        """Note what has been sent."""
        for key in keys:
            self._sent[key] = None
