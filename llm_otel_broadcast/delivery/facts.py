"""What a dialect is given of a record for one destination: facts without content, and content that has been viewed and cut.

What is not in these values cannot be leaked by a dialect: they hold nothing of the record's but plain facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llm_otel_broadcast.delivery.privacy import View
from llm_otel_broadcast.fields.json_encoder import encoder
from llm_otel_broadcast.fields.json_text import MAX_CHARACTERS, cut_plain
from llm_otel_broadcast.record.content import FORM, Content, ContentPart, without_form
from llm_otel_broadcast.record.enclosing_facts import EnclosingSpanFacts
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import Generation, GenerationFacts, ServerCall
from llm_otel_broadcast.record.media import Part
from llm_otel_broadcast.record.trace_fields import Fields

_NO_CONTENT: Final = Content()
_FORM_MARK: Final = f'"{FORM}":'
_WITH_FORM: Final = frozenset({"inputs", "outputs"})


def facts_of(record: Generation, fields: Fields) -> GenerationFacts:
    """Return the facts of a record that has ended and settled; `fields`: those that the destination may have."""
    facts = GenerationFacts()
    # One by one: `setattr` with the names takes three times as long, for each record and destination.
    facts.api = record.api
    facts.attempts = record.attempts
    facts.choices = [choice.without_texts() for choice in record.choices]
    facts.details = record.details
    facts.end_ns = record.end_ns
    facts.failure = _without_text(record.failure)
    facts.fields = fields
    facts.first_chunk_ns = record.first_chunk_ns
    facts.generation_id = record.generation_id
    facts.operation = record.operation
    facts.outer_parent_span_id = record.outer_parent_span_id if record.enclosing_spans else record.parent_span_id
    facts.parameters = record.parameters
    facts.parent_span_id = record.parent_span_id
    facts.request_model = record.request_model
    facts.response_id = record.response_id
    facts.response_model = record.response_model
    facts.response_service_tier = record.response_service_tier
    facts.retries = record.retries
    facts.server = record.server
    facts.server_calls = [ServerCall(call.kind, status=call.status) for call in record.server_calls]
    facts.serving_provider = record.serving_provider
    facts.span_id = record.span_id
    facts.start_ns = record.start_ns
    facts.stream = record.stream
    facts.system_fingerprint = record.system_fingerprint
    facts.tool_call_count = record.tool_call_count
    facts.tool_count = record.tool_count
    facts.tool_names = record.tool_names
    facts.trace_id = record.trace_id
    facts.usage = record.usage
    return facts


def enclosing_facts_of(enclosing_span: EnclosingSpan, fields: Fields, failure: Failure | None) -> EnclosingSpanFacts:
    """Return the facts of an enclosing span.

    Args:
        enclosing_span: the span.
        fields: those that the destination may have.
        failure: its own, or the one that it takes over.
    """
    totals: dict[str, float] = {}
    # What went to no lane is in the first sum only, estimated costs are in the second only.
    for each in enclosing_span.totals or ():
        totals |= {name: max(value, totals.get(name, value)) for name, value in each.sums().items()}
    return EnclosingSpanFacts(
        name=enclosing_span.name,
        trace_id=enclosing_span.trace_id,
        span_id=enclosing_span.span_id,
        parent_span_id=enclosing_span.parent_span_id,
        start_ns=enclosing_span.start_ns,
        end_ns=enclosing_span.end_ns,
        kind=enclosing_span.kind,
        subject=enclosing_span.subject or enclosing_span.name,
        fields=fields,
        failure=_without_text(failure),
        failed_calls=enclosing_span.failed_calls,
        totals=totals,
    )


def content_of(record: Generation) -> Content:
    """Return all content of a record, as its client library reads it."""
    return record.read_content(record) if record.read_content is not None else _NO_CONTENT


def content_for(
    record: Generation,
    content: Content,
    view: View | None = None,
    max_chars: int = MAX_CHARACTERS,
    *,
    with_form: bool = False,
) -> Content:
    """Return what is sent of a record's content.

    Args:
        record: whose content it is.
        content: all of it.
        view: what it has to pass through; None: it is sent as it is.
        max_chars: characters of JSON that each of its parts may take.
        with_form: what the API's own form has beside the neutral one is sent, too.

    Raises:
        WithheldError: nothing may be sent.
    """
    shortened: set[ContentPart] = set()
    json_texts: dict[ContentPart, str] = {}
    # By the record's own estimate. What is not small is measured before it is written: it may be far too large for that.
    is_small = record.size <= max_chars

    def sent(part: ContentPart, values: Sequence[Part]) -> Sequence[Part]:
        text = encoder.encode(values) if is_small and view is None else ""
        # Few messages have one: where the text is there, looking for it there is quicker than in each part.
        if not with_form and part in _WITH_FORM and (not text or _FORM_MARK in text):
            values, text = [without_form(message) for message in values], ""
        if view is not None and values:
            values = view.apply(part, values)
        if not values:
            return ()
        text = encoder.encode(values) if is_small and not text else text
        if text and len(text) <= max_chars:
            json_texts[part] = text
            return values
        values, is_cut = cut_plain(list(values), max_chars)
        if is_cut:
            shortened.add(part)
        return values

    # In this order, which is the one that the program's own function gets the texts in.
    system = sent("system", content.system) if content.system else ()
    inputs = sent("inputs", content.inputs) if content.inputs else ()
    # Each says why it ended: Phoenix drops all messages for one that does not.
    reason = "error" if record.failure else "unknown"
    reasoned = [
        message if "finish_reason" in message else {**message, "finish_reason": reason} for message in content.outputs
    ]
    outputs = sent("outputs", reasoned)
    tools = sent("tools", content.tools) if content.tools else ()
    return Content(
        system,
        inputs,
        outputs,
        tools,
        error_text=error_text_for(record.failure, view),
        omitted_characters=record.omitted_characters,
        shortened=frozenset(shortened),
        json_texts=json_texts,
    )


def error_text_for(failure: Failure | None, view: View | None = None) -> str:
    """Return what is sent of an error's text.

    Raises:
        WithheldError: nothing may be sent.
    """
    if failure is None or not failure.message:
        return ""
    return failure.message if view is None else view.error_text(failure.message)


def _without_text(failure: Failure | None) -> Failure | None:
    return failure._replace(message="") if failure is not None and failure.message else failure
