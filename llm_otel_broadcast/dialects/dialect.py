"""What a dialect is: how one backend wants records to look, as pure functions.

A dialect is given what its destination may have and nothing else, so that it cannot leak: facts without content, fields
already narrowed, and content from which hidden parts are gone, whose texts are redacted and cut, or None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

from llm_otel_broadcast.record.content import Content
from llm_otel_broadcast.record.enclosing_facts import EnclosingContent, EnclosingSpanFacts
from llm_otel_broadcast.record.generation import GenerationFacts
from llm_otel_broadcast.record.span_data import SpanData
from llm_otel_broadcast.record.usage import Cost


class Dialect(Protocol):
    """How records look to a backend. Derive from it; used on the thread of one lane.

    A span of a scope or a resource of its own says so in `SpanData.origin`. An error raised here costs one record, which is
    counted as unreadable.

    Attributes:
        repeats_form: content comes with `record.content.FORM`: how the API had it.
    """

    repeats_form: bool = False

    def with_generation_metadata(self, categories: frozenset[str]) -> Self:  # noqa: ARG002
        """Return the dialect with the additional metadata that a destination asks for; itself where it has none.

        Args:
            categories: `cost`, `identity`, `request_context`.
        """
        return self

    def generation_span(self, facts: GenerationFacts, content: Content | None, cost: Cost | None) -> SpanData:
        """Return the span of a finished generation.

        Args:
            facts: what is known of the call, without content.
            content: what was said, as far as the destination may have it; None: it may have none.
            cost: stated or estimated, None if it is not known.
        """

    def attempt_spans(self, facts: GenerationFacts) -> Sequence[SpanData]:  # noqa: ARG002
        """Return spans of the tries that a gateway made for a generation; none unless overridden."""
        return ()

    def connection_test_span(self, span: SpanData) -> SpanData:
        """Return the span that a connection is tested with: this one, unless overridden."""
        return span

    def enclosing_span(self, facts: EnclosingSpanFacts, content: EnclosingContent | None) -> SpanData | None:  # noqa: ARG002
        """Return the span of a root or intermediate span; None, unless overridden: the backend gets none.

        Args:
            facts: its place, its times, its kind, whom it is for.
            content: what was said in it, as far as the destination may have it; None: it may have none.
        """
        return None
