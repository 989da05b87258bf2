"""From record to spans for one destination: select, keep back, put into its dialect. Runs on the lane's thread only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

from llm_otel_broadcast.delivery.aliases import Aliases
from llm_otel_broadcast.delivery.excerpts import Exchanges, with_function_content
from llm_otel_broadcast.delivery.facts import content_for, content_of, enclosing_facts_of, error_text_for, facts_of
from llm_otel_broadcast.delivery.gateway_ids import take_gateway_ids
from llm_otel_broadcast.delivery.on_generation import Announcer
from llm_otel_broadcast.delivery.privacy import Privacy, allows_content
from llm_otel_broadcast.delivery.redaction import WithheldError
from llm_otel_broadcast.delivery.rule_values import rule_values_of
from llm_otel_broadcast.delivery.seams import LeftOut
from llm_otel_broadcast.delivery.selection import Candidate, Selection
from llm_otel_broadcast.delivery.shared_views import SharedViews
from llm_otel_broadcast.delivery.trace_totals import add_to_totals
from llm_otel_broadcast.dialects.dialect import Dialect
from llm_otel_broadcast.fields.metadata import attribute_of
from llm_otel_broadcast.record.content import Content
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan, Opener
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.span_data import CONTENT_CUT, CONTENT_LEFT_OUT, CONTENT_TOO_LARGE, SpanData
from llm_otel_broadcast.record.trace_fields import NO_FIELDS
from llm_otel_broadcast.record.usage import Cost
from llm_otel_broadcast.settings.destination import Destination

_MAX_KEY_CHARS: Final = 256
_MIN_CONTENT_CHARS: Final = 4_096


class _ContentOnce:
    """Reads a record's content when it is first asked for."""

    __slots__ = ("_content", "_record")

    def __init__(self, record: Generation) -> None:
        self._record = record
        self._content: Content | None = None

    def __call__(self) -> Content:
        if self._content is None:
            self._content = content_of(self._record)
        return self._content


class Rendering:
    """What one destination is sent of each record.

    Args:
        destination: what it asks for and what it may have.
        dialect: what it is sent.
        selection: which generations it is sent.
        privacy: what it keeps back.
        announcer: shows each generation to the program's own `on_generation`, if there is one.
        cost_of: what a generation cost, stated or estimated.
        capture_content: False: nobody may have any.
        max_chars: length of one content attribute, at most.

    Attributes:
        shared_views: what other destinations are sent likewise; None: there are none.
    """

    def __init__(
        self,
        destination: Destination,
        dialect: Dialect,
        selection: Selection,
        privacy: Privacy,
        announcer: Announcer | None,
        cost_of: Callable[[Generation], Cost | None],
        *,
        capture_content: bool,
        max_chars: int,
    ) -> None:
        self._destination = destination
        self._dialect = dialect
        self._announcer = announcer
        self._cost_of = cost_of
        self._capture_content = capture_content
        self._max_chars = max_chars
        # The program may have noted the ids that it was shown.
        self._takes_gateway_ids = destination.ids == "openrouter" and announcer is None
        # What is not overridden gives none.
        self._sends_enclosing_spans = type(dialect).enclosing_span is not Dialect.enclosing_span
        self._selection = selection
        self._privacy = privacy
        self._aliases = Aliases(destination.aliases)
        self._exchanges = Exchanges()
        self.shared_views: SharedViews | None = None

    def render(self, record: Generation) -> list[SpanData] | LeftOut:
        """Return a generation's spans, or why it is not sent."""
        cost = self._cost_of(record)
        # Before the choice: a trace's totals have every generation, sent here or not, and so has `on_generation`.
        add_to_totals(record, cost)
        if self._announcer is not None:
            self._announcer.announce(record, cost)
        if self._selection.takes_all:
            return self._spans(record, cost, self._max_chars, partial(content_of, record), self.shared_views)
        # Read once for all rules and the span, and not at all where neither looks at it.
        content = _ContentOnce(record)
        key = record.fields.session_id or f"{record.trace_id:032x}"
        rule_values = rule_values_of(record, cost, content)
        candidate = Candidate(key, record.failure is not None, record.api_keys, rule_values, record.server.address)
        against = self._selection.reason_against(candidate)
        if against is not None:
            return LeftOut(against)
        return self._spans(record, cost, self._max_chars, content, self.shared_views)

    def render_again(self, record: Generation, max_chars: int) -> list[SpanData]:
        """Return the spans of a generation that is sent, with content of at most so many characters; 0: without any."""
        return self._spans(record, self._cost_of(record), max_chars, partial(content_of, record))

    def _spans(
        self,
        record: Generation,
        cost: Cost | None,
        max_chars: int,
        content: Callable[[], Content],
        shared_views: SharedViews | None = None,
    ) -> list[SpanData]:
        shared = None if shared_views is None else shared_views.take(record)
        if shared is None:
            sent_content, spans = self._view(record, cost, max_chars, content)
            spans = spans if shared_views is None else shared_views.add(record, sent_content, spans)
        else:
            sent_content, spans = shared.content, shared.spans
        if sent_content is not None and self._sends_enclosing_spans:
            self._exchanges.note(record, sent_content, max_chars)
        return [*spans]

    def _view(
        self, record: Generation, cost: Cost | None, max_chars: int, content: Callable[[], Content]
    ) -> tuple[Content | None, Sequence[SpanData]]:
        """Return what is sent of a generation's content, and its spans."""
        sent_content = None
        if max_chars and allows_content(record, privacy_mode=self._destination.privacy_mode):
            # Where the program's function fails, the span goes without content rather than unredacted.
            with suppress(WithheldError):
                view = self._privacy.view(record.operation, record.span_id)
                sent_content = content_for(record, content(), view, max_chars, with_form=self._dialect.repeats_form)
        facts = facts_of(record, self._privacy.fields(record.fields))
        if self._takes_gateway_ids:
            take_gateway_ids(facts, record, sends_enclosing_spans=self._sends_enclosing_spans)
        span = self._dialect.generation_span(facts, sent_content, cost)
        span = self._aliases.name_generation(span, facts, cost, sent_content)
        # What the program adds is its own: it wins, and is the same in every dialect.
        if record.attributes:
            # As far as a span can have it.
            values = {
                key[:_MAX_KEY_CHARS]: attribute_of(value)
                for key, value in record.attributes.items()
                if isinstance(key, str) and key
            }
            added = {key: value for key, value in values.items() if value is not None}
            span = replace(span, attributes={**span.attributes, **added})
        if not record.attempts:
            return sent_content, [span]
        attempts = self._dialect.attempt_spans(facts)
        return sent_content, [span, *(self._aliases.name_other(attempt, facts.fields) for attempt in attempts)]

    def render_enclosing_span(self, enclosing_span: EnclosingSpan, record: Generation | None) -> SpanData | None:
        """Return an enclosing span's data, None when the dialect has no such spans.

        Args:
            enclosing_span: the span.
            record: the generation that it is sent with; None: it is sent by itself.
        """
        return self._enclosing_span(enclosing_span, record, self._max_chars)

    def render_step_again(self, enclosing_span: EnclosingSpan, max_chars: int) -> list[SpanData]:
        """Return the span of a function with arguments and result of at most so many characters; 0: without any."""
        span = self._enclosing_span(enclosing_span, None, max_chars)
        return [] if span is None else [span]

    def _enclosing_span(
        self, enclosing_span: EnclosingSpan, record: Generation | None, max_chars: int
    ) -> SpanData | None:
        fields = enclosing_span.fields or (record.fields if record is not None else NO_FIELDS)
        failure = enclosing_span.failure
        # It was made for this call, and stands for it in lists of traces.
        if record is not None and enclosing_span.opener is Opener.CALL:
            failure = record.failure
        content = None
        if max_chars and self._capture_content and not self._destination.privacy_mode and not fields.private:
            with suppress(WithheldError):
                view = self._privacy.view(record.operation if record is not None else "", enclosing_span.span_id)
                content = self._exchanges.content_of(enclosing_span)
                content = with_function_content(content, enclosing_span, view, max_chars)
                content = replace(content, error_text=error_text_for(failure, view))
        facts = enclosing_facts_of(enclosing_span, self._privacy.fields(fields), failure)
        span = self._dialect.enclosing_span(facts, content)
        return None if span is None else self._aliases.name_other(span, facts.fields, content)

    def chooses(self, enclosing_span: EnclosingSpan) -> bool:
        """Return whether an enclosing span without generations is in the sample."""
        fields = enclosing_span.fields or NO_FIELDS
        return self._selection.chooses_alone(fields.session_id or f"{enclosing_span.trace_id:032x}")


def shrink(spans: list[SpanData], render: Callable[[int], list[SpanData]]) -> list[SpanData] | None:
    """Return spans with content of half the length, in the end without any; None when that makes them no smaller.

    For a record that is too large for the destination by itself. What was done is an attribute of the first span.

    Args:
        spans: as they are.
        render: makes them again, with content of at most so many characters; 0: without any.
    """
    # Half of the longest text: a body is mostly that, and two tries have to do.
    half = max((len(value) for value in spans[0].attributes.values() if isinstance(value, str)), default=0) // 2
    limits = ((half, CONTENT_CUT),) if half >= _MIN_CONTENT_CHARS else ()
    for max_chars, mark in (*limits, (0, CONTENT_LEFT_OUT)):
        smaller = render(max_chars)
        if _length(smaller) < _length(spans):
            first = replace(smaller[0], attributes={**smaller[0].attributes, CONTENT_TOO_LARGE: mark})
            return [first, *smaller[1:]]
    return None


def _length(spans: list[SpanData]) -> int:
    """Return how much text spans have, nearly: a mark of ours does not count."""
    texts = (value for span in spans for key, value in span.attributes.items() if key != CONTENT_TOO_LARGE)
    events = (value for span in spans for event in span.events for value in event.attributes.values())
    return sum(len(str(value)) for value in (*texts, *events)) + sum(len(span.status_message) for span in spans)
