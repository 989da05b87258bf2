"""From record to spans for one destination: select, keep back, put into the dialect. Joins delivery, dialects and processor.

Runs on the lane's thread only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from llm_otel_broadcast.delivery.announcing import Announcer
from llm_otel_broadcast.delivery.parts import LeftOut
from llm_otel_broadcast.delivery.privacy import Privacy, WithheldError, allows_content
from llm_otel_broadcast.delivery.selection import Candidate, Selection
from llm_otel_broadcast.dialects import semconv
from llm_otel_broadcast.dialects.facts import facts_of
from llm_otel_broadcast.fields.metadata import attribute_of
from llm_otel_broadcast.generation import NO_FIELDS, Block, Fields, Generation
from llm_otel_broadcast.processor.foreign import ForeignSpan
from llm_otel_broadcast.processor.rendering import ForeignRendering
from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.span import AttributeValue, Span
from llm_otel_broadcast.usage import Cost

_MAX_KEY = 256


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

    def render(self, record: Generation | ForeignSpan) -> list[Span] | LeftOut:
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
        fields = self._privacy.fields(record.fields)
        try:
            made = self._span(record, cost, fields, content=True)
        except WithheldError:
            made = self._span(record, cost, fields, content=False)
        if record.attributes:
            made = replace(made, attributes={**made.attributes, **_added(record.attributes)})
        return [made, *semconv.attempt_spans(record, fields)]

    def _span(self, record: Generation, cost: Cost | None, fields: Fields, *, content: bool) -> Span:
        allowed = content and allows_content(record, privacy_mode=self._destination.privacy_mode)
        return semconv.generation_span(
            record,
            cost,
            content=allowed,
            max_chars=self._max_chars,
            view=self._privacy.view(record.operation),
            fields=fields,
        )

    def render_block(self, block: Block, fields: Fields) -> Span:
        """Return a block's span."""
        content = self._capture_content and not self._destination.privacy_mode and not fields.private
        told, view = self._privacy.fields(fields), self._privacy.view("")
        try:
            return semconv.block_span(block, told, content=content, view=view)
        except WithheldError:
            return semconv.block_span(block, told, content=False)

    def withheld(self) -> int:
        """Return how many values of other instrumentations' spans were kept back, as they may be content."""
        return self._foreign.withheld

    def chooses(self, block: Block) -> bool:
        """Return whether a block without generations is in the sample."""
        fields = block.fields or NO_FIELDS
        return self._selection.samples(fields.session_id or f"{block.trace_id:032x}")


def _added(attributes: dict[str, object]) -> dict[str, AttributeValue]:
    """Return what the program added, as far as a span can have it."""
    made = {key[:_MAX_KEY]: attribute_of(value) for key, value in attributes.items() if isinstance(key, str) and key}
    return {key: value for key, value in made.items() if value is not None}
