"""From record to spans for one destination: select, keep back, put into the dialect. Joins delivery, dialects and processor.

Runs on the lane's thread only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from llm_otel_broadcast.delivery.facts import facts_of
from llm_otel_broadcast.delivery.on_generation import Announcer
from llm_otel_broadcast.delivery.privacy import Privacy, WithheldError, allows_content
from llm_otel_broadcast.delivery.seams import LeftOut
from llm_otel_broadcast.delivery.selection import Candidate, Selection
from llm_otel_broadcast.dialects import semconv
from llm_otel_broadcast.fields.metadata import attribute_of
from llm_otel_broadcast.other_spans.foreign_span import ForeignSpan
from llm_otel_broadcast.other_spans.pipeline import ForeignRendering
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.span_data import AttributeValue, SpanData
from llm_otel_broadcast.record.trace_fields import NO_FIELDS, Fields
from llm_otel_broadcast.record.usage import Cost
from llm_otel_broadcast.settings.destination import Destination

_MAX_KEY = 256
_MIN_CONTENT_CHARS: Final = 4_096
# The attribute of a span whose content a destination found too large, and its values.
_TOO_LARGE: Final = "llm_otel_broadcast.content.too_large"
_CUT: Final = "cut"
_LEFT_OUT: Final = "left_out"


class Rendering:
    """What one destination is sent of each record.

    Args:
        destination: what it asks for and what it may have.
        announcer: shows each generation to the program's own `on_generation`, if there is one.
        cost_of: what a generation cost, stated or estimated.
        capture_content: False: nobody may have any.
        max_chars: length of one content attribute, at most.
        service_name: wins over whatever else names the service.
    """

    def __init__(
        self,
        destination: Destination,
        announcer: Announcer | None,
        cost_of: Callable[[Generation], Cost | None],
        *,
        capture_content: bool,
        max_chars: int,
        service_name: str | None,
    ) -> None:
        self._destination = destination
        self._announcer = announcer
        self._cost_of = cost_of
        self._capture_content = capture_content
        self._max_chars = max_chars
        self._selection = Selection(destination)
        self._privacy = Privacy(destination)
        self._foreign = ForeignRendering(
            destination,
            self._selection,
            self._privacy,
            capture_content=capture_content,
            max_chars=max_chars,
            service_name=service_name,
        )

    def render(self, record: Generation | ForeignSpan) -> list[SpanData] | LeftOut:
        """Return a generation's spans, or why it is not sent; likewise of another instrumentation's span."""
        if isinstance(record, ForeignSpan):
            return self._foreign.render(record)
        self._foreign.recorded(record.response_id)
        cost = self._cost_of(record)
        record.account(cost)
        if self._announcer is not None:
            self._announcer.announce(record, cost)
        key = record.fields.session_id or f"{record.trace_id:032x}"
        candidate = Candidate(key, record.failure is not None, record.api_keys, facts_of(record, cost))
        against = self._selection.reason_against(candidate)
        if against is not None:
            return LeftOut(against)
        return self._spans(record, cost, self._max_chars)

    def shrink(self, record: Generation | ForeignSpan, spans: list[SpanData]) -> list[SpanData] | None:
        """Return spans with content of half the length, in the end without any; None when that makes them no smaller.

        For a record that is too large for the destination by itself. What was done is an attribute of the first span.
        """
        half = max((len(value) for value in spans[0].attributes.values() if isinstance(value, str)), default=0) // 2
        limits = ((half, _CUT),) if half >= _MIN_CONTENT_CHARS else ()
        for limit, mark in (*limits, (0, _LEFT_OUT)):
            if isinstance(record, ForeignSpan):
                smaller = [self._foreign.shortened(record, limit)]
            else:
                smaller = self._spans(record, self._cost_of(record), limit)
            if _length(smaller) < _length(spans):
                first = replace(smaller[0], attributes={**smaller[0].attributes, _TOO_LARGE: mark})
                return [first, *smaller[1:]]
        return None

    def _spans(self, record: Generation, cost: Cost | None, max_chars: int) -> list[SpanData]:
        """Return a generation's spans; 0 characters: without content."""
        fields = self._privacy.fields(record.fields)
        try:
            span = self._span(record, cost, fields, max_chars)
        except WithheldError:
            span = self._span(record, cost, fields, 0)
        if record.attributes:
            span = replace(span, attributes={**span.attributes, **_added(record.attributes)})
        return [span, *semconv.attempt_spans(record, fields)]

    def _span(self, record: Generation, cost: Cost | None, fields: Fields, max_chars: int) -> SpanData:
        content = max_chars > 0
        allowed = content and allows_content(record, privacy_mode=self._destination.privacy_mode)
        return semconv.generation_span(
            record,
            cost,
            content=allowed,
            max_chars=max_chars,
            view=self._privacy.view(record.operation),
            fields=fields,
        )

    def render_enclosing_span(self, enclosing_span: EnclosingSpan, fields: Fields) -> SpanData:
        """Return a block's span."""
        content = self._capture_content and not self._destination.privacy_mode and not fields.private
        told, view = self._privacy.fields(fields), self._privacy.view("")
        try:
            return semconv.enclosing_span_data(enclosing_span, told, content=content, view=view)
        except WithheldError:
            return semconv.enclosing_span_data(enclosing_span, told, content=False)

    def withheld(self) -> int:
        """Return how many values of other instrumentations' spans were kept back, as they may be content."""
        return self._foreign.withheld

    def chooses(self, enclosing_span: EnclosingSpan) -> bool:
        """Return whether a block without generations is in the sample."""
        fields = enclosing_span.fields or NO_FIELDS
        return self._selection.samples(fields.session_id or f"{enclosing_span.trace_id:032x}")


def _length(spans: list[SpanData]) -> int:
    """Return how much text spans have, nearly: a mark of ours does not count."""
    texts = (value for span in spans for key, value in span.attributes.items() if key != _TOO_LARGE)
    events = (value for span in spans for event in span.events for value in event.attributes.values())
    return sum(len(str(value)) for value in (*texts, *events)) + sum(len(span.status_message) for span in spans)


def _added(attributes: dict[str, object]) -> dict[str, AttributeValue]:
    """Return what the program added, as far as a span can have it."""
    made = {key[:_MAX_KEY]: attribute_of(value) for key, value in attributes.items() if isinstance(key, str) and key}
    return {key: value for key, value in made.items() if value is not None}
