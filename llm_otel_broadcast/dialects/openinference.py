"""The dialect of OpenInference, which Phoenix, Arize AX and Weave read as it is. Pure.

Names as in the package openinference-semantic-conventions 0.1.42 (autumn 2026). Nothing here is `gen_ai.*`: readers that know
both conventions would take such a span the other way, and Phoenix makes an output of a response's id. What OpenInference has no
name for is in `metadata`, below `details`, where filters find it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from llm_otel_broadcast.dialects.dialect import Dialect
from llm_otel_broadcast.dialects.enclosing import CHAIN, SPAN_KIND, excerpt_attributes, kind_of, own_texts
from llm_otel_broadcast.dialects.openinference_content import content_attributes, document_attributes
from llm_otel_broadcast.dialects.openinference_names import provider_of, system_of
from llm_otel_broadcast.dialects.semconv import SEMCONV, exception_events
from llm_otel_broadcast.fields.metadata import MAX_VALUE_CHARACTERS, metadata_json, plain_of
from llm_otel_broadcast.record.content import Content
from llm_otel_broadcast.record.enclosing_facts import EnclosingContent, EnclosingSpanFacts
from llm_otel_broadcast.record.generation import GenerationFacts
from llm_otel_broadcast.record.span_data import (
    KIND_CLIENT,
    STATUS_ERROR,
    STATUS_OK,
    AttributeValue,
    Event,
    SpanData,
)
from llm_otel_broadcast.record.trace_fields import Fields
from llm_otel_broadcast.record.usage import Cost, Usage, stated_cost

_Attributes = dict[str, AttributeValue]
_Values = dict[str, object]
# All other operations are calls of a language model: the official instrumentation says so of images and audio, too.
_KINDS: Final = {"embeddings": "EMBEDDING", "decision": "DECISION"}
_NAMES: Final = {"EMBEDDING": "embedding", "DECISION": "decision"}
"""What begins the names of attributes of a kind's model; `llm` for the others."""
_SUBJECTS: Final[Mapping[str, str]] = {"tool": "tool.name", "agent": "agent.name"}
"""Where the name of what a kind of enclosing span is about stands."""
_FIRST_CHUNK_EVENT: Final = "First Token Stream Event"
"""The name that OpenInference's own instrumentation of openai gives it."""
_MAX_METADATA_CHARACTERS: Final = 65_536
_COUNTS: Final = {
    "input_tokens": "llm.token_count.prompt",
    "output_tokens": "llm.token_count.completion",
    "total_tokens": "llm.token_count.total",
    "cache_read_tokens": "llm.token_count.prompt_details.cache_read",
    "cache_write_tokens": "llm.token_count.prompt_details.cache_write",
    "input_audio_tokens": "llm.token_count.prompt_details.audio",
    "reasoning_tokens": "llm.token_count.completion_details.reasoning",
    "output_audio_tokens": "llm.token_count.completion_details.audio",
}
_DECISION_COUNTS: Final = {
    "input_tokens": "decision.token_count.input",
    "output_tokens": "decision.token_count.output",
}
_STATED_COSTS: Final = frozenset({"cost", "input_cost", "output_cost"})
_REQUEST_DETAILS: Final = {
    "audio_format": "audio_format",
    "background": "background",
    "encoding_formats": "encoding_format",
    "image_format": "output_format",
    "image_quality": "quality",
    "image_size": "size",
    "language": "language",
    "previous_response_id": "previous_response_id",
    "text_format": "response_format",
    "voice": "voice",
}
"""Facts of single operations that the request states, by the API's names."""


class OpenInferenceDialect(Dialect):
    """Spans of OpenInference."""

    def generation_span(self, facts: GenerationFacts, content: Content | None, cost: Cost | None) -> SpanData:
        cost = stated_cost(facts.usage) or cost
        failure = facts.failure
        attributes = _model_attributes(facts)
        if facts.usage is not None:
            counts = {key: getattr(facts.usage, name) for name, key in _count_names(facts.operation).items()}
            attributes |= {key: count for key, count in counts.items() if count is not None}
        if cost is not None:
            parts = {"prompt": cost.input, "completion": cost.output, "total": cost.total}
            attributes |= {f"llm.cost.{name}": float(usd) for name, usd in parts.items() if usd is not None}
        reasons = (choice.finish_reason for choice in facts.choices if choice.finish_reason)
        _set(attributes, "llm.finish_reason", next(reasons, None))
        _set(attributes, "server.address", facts.server.address or None)
        _set(attributes, "server.port", facts.server.port)
        if failure is not None:
            attributes["error.type"] = failure.type
            _set(attributes, "http.response.status_code", failure.status_code)
        attributes |= _caller_attributes(facts.fields, _details_of(facts, cost))
        conversation = (facts.details or {}).get("conversation_id")
        if "session.id" not in attributes and isinstance(conversation, str):
            _set(attributes, "session.id", conversation)
        if content is not None:
            attributes |= content_attributes(facts.operation, content)
        events = exception_events(failure, content.error_text, facts.end_ns) if content is not None else ()
        if facts.first_chunk_ns is not None:
            events = (Event(_FIRST_CHUNK_EVENT, facts.start_ns + facts.first_chunk_ns), *events)
        is_unnamed_embedding = facts.operation == "embeddings" and not facts.fields.generation_name
        return SpanData(
            # The one name that the conventions fix.
            name="CreateEmbeddings" if is_unnamed_embedding else facts.name,
            trace_id=facts.trace_id,
            span_id=facts.span_id,
            parent_span_id=facts.parent_span_id,
            kind=KIND_CLIENT,
            start_ns=facts.start_ns,
            end_ns=facts.end_ns,
            attributes=attributes,
            # As OpenInference's instrumentation does; its readers show a status that is unset as unknown.
            status_code=STATUS_ERROR if failure else STATUS_OK,
            status_message=content.error_text if content is not None else "",
            events=events,
        )

    def attempt_spans(self, facts: GenerationFacts) -> list[SpanData]:
        """Return spans of OpenRouter's tries at providers: chains, which no reader counts as calls of a model."""
        caller_attributes = _caller_attributes(facts.fields)
        return [
            replace(
                span,
                attributes={
                    SPAN_KIND: CHAIN,
                    **{key: value for key, value in span.attributes.items() if key.startswith("openrouter.")},
                    **caller_attributes,
                },
                status_code=STATUS_ERROR if span.status_code == STATUS_ERROR else STATUS_OK,
            )
            for span in SEMCONV.attempt_spans(facts)
        ]

    def enclosing_span(self, facts: EnclosingSpanFacts, content: EnclosingContent | None) -> SpanData:
        """Return a chain, a tool, an agent or a retriever that says whom and what it is for, what was said, and its totals."""
        attributes = kind_of(facts)
        # Never `llm.token_count.*`: readers add those up over all spans.
        attributes |= {f"trace.totals.{name}": value for name, value in facts.totals.items()}
        _set(attributes, "trace.failed_calls", facts.failed_calls or None)
        if facts.kind in _SUBJECTS:
            _set(attributes, _SUBJECTS[facts.kind], facts.subject)
        if content is not None:
            attributes |= excerpt_attributes(content)
            if facts.kind == "retriever":
                attributes |= document_attributes(content.output)
        arguments, _ = own_texts(content)
        if facts.kind == "tool" and arguments:
            attributes["tool.parameters"] = arguments
        attributes |= _caller_attributes(facts.fields)
        if facts.failure is not None:
            attributes["error.type"] = facts.failure.type
        status = STATUS_ERROR if facts.failure is not None else STATUS_OK
        return replace(SEMCONV.enclosing_span(facts, content), attributes=attributes, status_code=status)


OPENINFERENCE: Final = OpenInferenceDialect()


def _model_attributes(facts: GenerationFacts) -> _Attributes:
    """Return the kind, the model, who runs it, and what the call asked of it."""
    kind = _KINDS.get(facts.operation, "LLM")
    prefix = _NAMES.get(kind, "llm")
    attributes: _Attributes = {SPAN_KIND: kind}
    if kind != "EMBEDDING":
        _set(attributes, f"{prefix}.system", system_of(facts.server, facts.request_model))
        _set(attributes, f"{prefix}.provider", provider_of(facts.server, facts.serving_provider))
    _set(attributes, f"{prefix}.model_name", facts.response_model or facts.request_model)
    names = {facts.request_model, facts.response_model}
    if kind != "EMBEDDING" and None not in names and len(names) > 1:
        _set(attributes, f"{prefix}.request.model_name", facts.request_model)
        _set(attributes, f"{prefix}.response.model_name", facts.response_model)
    parameters: _Values = dict(facts.parameters)
    # The record's words for what `response_format` and `modalities` ask for.
    output_type, schema_name = parameters.pop("output_type", None), parameters.pop("output_schema_name", None)
    if (output_format := schema_name or output_type) is not None:
        parameters["response_format"] = output_format
    details = facts.details or {}
    parameters |= {key: details[name] for name, key in _REQUEST_DETAILS.items() if name in details}
    if facts.stream:
        parameters["stream"] = True
    if parameters and kind != "DECISION":
        model = {} if facts.request_model is None else {"model": facts.request_model}
        attributes[f"{prefix}.invocation_parameters"] = metadata_json({**model, **parameters})
    return attributes


def _details_of(facts: GenerationFacts, cost: Cost | None) -> _Values:
    """Return what is known beyond the conventions, by our own names."""
    failure, usage = facts.failure, facts.usage
    native_reasons = [choice.native_finish_reason for choice in facts.choices if choice.native_finish_reason]
    counts: _Values = {}
    if usage is not None:
        counts_with_attributes = _STATED_COSTS | _count_names(facts.operation).keys()
        counts = {name: getattr(usage, name) for name in Usage.__slots__ if name not in counts_with_attributes}
    details: _Values = {
        "api": facts.api,
        "response_id": facts.response_id or facts.generation_id,
        "generation_id": facts.generation_id if facts.response_id not in (None, facts.generation_id) else None,
        # In seconds.
        "time_to_first_chunk": None if facts.first_chunk_ns is None else facts.first_chunk_ns / 1e9,
        "retries": facts.retries,
        "service_tier": facts.response_service_tier,
        "system_fingerprint": facts.system_fingerprint,
        "native_finish_reasons": native_reasons or None,
        "cost_source": None if cost is None else "estimated" if cost.is_estimated else "response",
        "usage": {name: count for name, count in counts.items() if count is not None and count is not False} or None,
        "error_code": failure.code if failure is not None else None,
        "request_id": failure.request_id if failure is not None else None,
    }
    details |= {name: value for name, value in (facts.details or {}).items() if name not in _REQUEST_DETAILS}
    return {name: value for name, value in details.items() if value is not None}


def _count_names(operation: str) -> Mapping[str, str]:
    return _DECISION_COUNTS if operation == "decision" else _COUNTS


def _caller_attributes(fields: Fields, details: Mapping[str, object] | None = None) -> _Attributes:
    """Return session, user, tags and metadata, which every span of a trace carries; `details`: into the metadata."""
    attributes: _Attributes = {}
    _set(attributes, "session.id", fields.session_id)
    _set(attributes, "user.id", fields.user)
    metadata: _Values = {"trace_name": fields.trace_name, "trace_id": fields.trace_id, "details": details or None}
    metadata = {name: value for name, value in metadata.items() if value is not None} | dict(fields.metadata)
    tags = plain_of(metadata.get("tags"))
    if isinstance(tags, str | list) and tags:
        del metadata["tags"]
        attributes["tag.tags"] = [
            str(tag)[:MAX_VALUE_CHARACTERS] for tag in ([tags] if isinstance(tags, str) else tags)
        ]
    if metadata:
        attributes["metadata"] = metadata_json(metadata, _MAX_METADATA_CHARACTERS)
    return attributes


def _set(attributes: _Attributes, key: str, value: AttributeValue | None) -> None:
    if value is not None:
        # Names come from servers, too, which may send megabytes of them.
        attributes[key] = value[:MAX_VALUE_CHARACTERS] if isinstance(value, str) else value
