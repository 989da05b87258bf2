"""What one destination is sent of whatever its lane takes: joins our own records with other instrumentations' spans.

Runs on the lane's thread only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from llm_otel_broadcast.delivery.on_generation import Announcer
from llm_otel_broadcast.delivery.pipeline import Rendering, shrink
from llm_otel_broadcast.delivery.privacy import Privacy
from llm_otel_broadcast.delivery.seams import LeftOut
from llm_otel_broadcast.delivery.selection import Selection
from llm_otel_broadcast.dialects import DIALECTS
from llm_otel_broadcast.other_spans.foreign_span import ForeignSpan
from llm_otel_broadcast.other_spans.pipeline import ForeignRendering
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.span_data import SpanData
from llm_otel_broadcast.record.usage import Cost
from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.options import Options


class RecordRendering:
    """Makes the spans of generations and of other instrumentations' spans for one destination.

    Args:
        destination: what it asks for, what it may have, and in which dialect.
        options: the settings for all destinations.
        announcer: shows each generation to the program's own `on_generation`, if there is one.
        cost_of: what a generation cost, stated or estimated.
    """

    def __init__(
        self,
        destination: Destination,
        options: Options,
        announcer: Announcer | None,
        cost_of: Callable[[Generation], Cost | None],
    ) -> None:
        if options.link_gateway:
            # The gateway's spans hang below ours by our ids.
            destination = replace(destination, ids="own")
        selection, privacy = Selection(destination), Privacy(destination)
        dialect = DIALECTS[destination.dialect]()
        if destination.generation_metadata:
            dialect = dialect.with_generation_metadata(frozenset(destination.generation_metadata))
        max_chars = min(options.max_content_chars, destination.max_content_chars or options.max_content_chars)
        self._generations = Rendering(
            destination,
            dialect,
            selection,
            privacy,
            announcer,
            cost_of,
            capture_content=options.capture_content,
            max_chars=max_chars,
        )
        self._foreign_spans = ForeignRendering(
            destination,
            selection,
            privacy,
            capture_content=options.capture_content,
            max_chars=max_chars,
            service_name=options.service_name,
        )
        self.enclosing_span = self._generations.render_enclosing_span
        self.chooses = self._generations.chooses

    def render(self, record: Generation | ForeignSpan) -> list[SpanData] | LeftOut:
        """Return a record's spans, or why it is not sent."""
        if isinstance(record, ForeignSpan):
            return self._foreign_spans.render(record)
        # Nobody else's span of the same call is sent as well.
        self._foreign_spans.recorded(record.response_id)
        return self._generations.render(record)

    def shrink(self, record: Generation | ForeignSpan | EnclosingSpan, spans: list[SpanData]) -> list[SpanData] | None:
        """Return a record's spans with less content; None: they are as small as they get."""
        if isinstance(record, EnclosingSpan):
            return shrink(spans, partial(self._generations.render_step_again, record))
        if isinstance(record, ForeignSpan):
            return shrink(spans, lambda max_chars: [self._foreign_spans.shortened(record, max_chars)])
        return shrink(spans, partial(self._generations.render_again, record))

    def withheld(self) -> int:
        """Return how many values of other instrumentations' spans were kept back, as they may be content."""
        return self._foreign_spans.withheld
