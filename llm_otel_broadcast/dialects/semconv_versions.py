"""Published versions of the GenAI conventions: a destination that pins one keeps its names while the newest text moves. Pure.

A span of a pinned version is that of `semconv` with the names that the version has; what came into the conventions later is left
out, and our own names stay. The names are those of the package opentelemetry-semantic-conventions that was made from each
version: 0.58b0, 0.60b0, 0.62b0 and 0.64b0. Since 1.42 the main repository has none of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from llm_otel_broadcast.dialects.semconv import SemconvDialect
from llm_otel_broadcast.record.content import Content
from llm_otel_broadcast.record.enclosing_facts import EnclosingContent, EnclosingSpanFacts
from llm_otel_broadcast.record.generation import GenerationFacts
from llm_otel_broadcast.record.span_data import SpanData
from llm_otel_broadcast.record.usage import Cost

_UNPUBLISHED: Final = 1_000
_SCHEMA_URLS: Final = {
    37: "https://opentelemetry.io/schemas/1.37.0",
    38: "https://opentelemetry.io/schemas/1.38.0",
    40: "https://opentelemetry.io/schemas/1.40.0",
    41: "https://opentelemetry.io/schemas/1.41.1",
}
"""By the minor version; 1.39 brought no name and no package."""
_INTRODUCED: Final = {
    "gen_ai.embeddings.dimension.count": 38,
    "gen_ai.tool.call.arguments": 38,
    "gen_ai.tool.call.result": 38,
    "gen_ai.tool.definitions": 38,
    "gen_ai.tool.definitions.truncated": 38,
    "gen_ai.prompt.name": 40,
    "gen_ai.retrieval.query.text": 40,
    "gen_ai.usage.cache_creation.input_tokens": 40,
    "gen_ai.usage.cache_read.input_tokens": 40,
    "openai.api.type": 40,
    "gen_ai.request.stream": 41,
    "gen_ai.response.time_to_first_chunk": 41,
    "gen_ai.usage.reasoning.output_tokens": 41,
    "gen_ai.conversation.compacted": _UNPUBLISHED,
    "gen_ai.prompt.version": _UNPUBLISHED,
    "gen_ai.request.previous_response.id": _UNPUBLISHED,
    "gen_ai.request.reasoning.level": _UNPUBLISHED,
    "gen_ai.usage.audio.cache_read.input_tokens": _UNPUBLISHED,
    "gen_ai.usage.audio.input_tokens": _UNPUBLISHED,
    "gen_ai.usage.audio.output_tokens": _UNPUBLISHED,
    "gen_ai.usage.cache_write.input_tokens": _UNPUBLISHED,
    "gen_ai.usage.image.cache_read.input_tokens": _UNPUBLISHED,
    "gen_ai.usage.image.input_tokens": _UNPUBLISHED,
    "gen_ai.usage.image.output_tokens": _UNPUBLISHED,
    "gen_ai.usage.text.cache_read.input_tokens": _UNPUBLISHED,
    "gen_ai.usage.text.input_tokens": _UNPUBLISHED,
    "gen_ai.usage.text.output_tokens": _UNPUBLISHED,
    "gen_ai.usage.video.input_tokens": _UNPUBLISHED,
    "gen_ai.usage.video.output_tokens": _UNPUBLISHED,
    "input.mime_type": _UNPUBLISHED,
    "input.value": _UNPUBLISHED,
    "openinference.span.kind": _UNPUBLISHED,
    "output.mime_type": _UNPUBLISHED,
    "output.value": _UNPUBLISHED,
}
"""The minor version that brought a name which 1.37 has not; one that is not here it has, or it is ours."""

_INTRODUCED_OPERATIONS: Final = {"retrieval": 40}
"""Of the operations of enclosing spans; a generation says what it is in any version."""


class PinnedSemconvDialect(SemconvDialect):
    """Spans of one published version.

    Args:
        name: of the dialect, `semconv-1.37` for instance.
    """

    def __init__(self, name: str) -> None:
        self._minor = int(name.rpartition(".")[2])

    def generation_span(self, facts: GenerationFacts, content: Content | None, cost: Cost | None) -> SpanData:
        return self._pinned(super().generation_span(facts, content, cost))

    def attempt_spans(self, facts: GenerationFacts) -> list[SpanData]:
        return [self._pinned(span) for span in super().attempt_spans(facts)]

    def enclosing_span(self, facts: EnclosingSpanFacts, content: EnclosingContent | None) -> SpanData:
        return self._pinned(super().enclosing_span(facts, content))

    def _pinned(self, span: SpanData) -> SpanData:
        attributes = {
            key: value
            for key, value in span.attributes.items()
            if _INTRODUCED.get(key, 0) <= self._minor
            and (key != "gen_ai.operation.name" or _INTRODUCED_OPERATIONS.get(str(value), 0) <= self._minor)
        }
        return replace(span, attributes=attributes, schema_url=_SCHEMA_URLS[self._minor])
