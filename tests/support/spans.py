"""Records as spans of the default dialect, put together as a lane does it for a destination that may have all of it."""

from __future__ import annotations

from llm_otel_broadcast.clients.openai.messages import content_of
from llm_otel_broadcast.delivery.facts import content_for, enclosing_facts_of, error_text_for, facts_of
from llm_otel_broadcast.dialects import DIALECTS
from llm_otel_broadcast.dialects.semconv import SEMCONV
from llm_otel_broadcast.record.enclosing_facts import EnclosingContent
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.generation import Generation, GenerationFacts
from llm_otel_broadcast.record.span_data import SpanData
from llm_otel_broadcast.record.trace_fields import Fields
from llm_otel_broadcast.record.usage import Cost


def generation_span(record: Generation, cost: Cost | None, *, content: bool) -> SpanData:
    """Return a generation's span, with or without its content."""
    sent_content = content_for(record, content_of(record)) if content else None
    return SEMCONV.generation_span(facts_of(record, record.fields), sent_content, cost)


def enclosing_span_data(enclosing_span: EnclosingSpan, fields: Fields, *, content: bool) -> SpanData:
    """Return an enclosing span's data, with or without the text of its error."""
    failure = enclosing_span.failure
    error_content = EnclosingContent(error_text=error_text_for(failure)) if content else None
    return SEMCONV.enclosing_span(enclosing_facts_of(enclosing_span, fields, failure), error_content)


def spans_in(dialect: str, facts: GenerationFacts) -> list[SpanData]:
    """Return the spans that a dialect makes of facts: the generation's without content, and its attempts'."""
    maker = DIALECTS[dialect]()
    return [maker.generation_span(facts, None, None), *maker.attempt_spans(facts)]
