"""The dialect of OpenRouter's Broadcast: what was built on its deliveries takes ours unchanged. Pure.

Attributes in the order, with the names and of the types of real deliveries (autumn 2026). What a client cannot know is absent:
account, provider slug, unit prices, routing times. Three things differ on purpose: a call that was refused before routing is
sent, an answer that broke off keeps what had come, and a provider attempt is no generation (no `gen_ai.operation.name`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Self

from llm_otel_broadcast.dialects.attempts import MIN_ERROR_STATUS, attempt_times
from llm_otel_broadcast.dialects.dialect import Dialect
from llm_otel_broadcast.dialects.openrouter_content import content_texts
from llm_otel_broadcast.dialects.openrouter_metadata import ABANDONED, TRACE, caller_metadata, generation_metadata
from llm_otel_broadcast.fields.ids import derive_span_id
from llm_otel_broadcast.fields.json_encoder import encoder
from llm_otel_broadcast.fields.metadata import MAX_VALUE_CHARACTERS
from llm_otel_broadcast.record.content import Content
from llm_otel_broadcast.record.generation import GenerationFacts
from llm_otel_broadcast.record.span_data import (
    KIND_CLIENT,
    KIND_SERVER,
    STATUS_ERROR,
    STATUS_OK,
    AttributeValue,
    Event,
    Origin,
    Scope,
    SpanData,
)
from llm_otel_broadcast.record.usage import Cost, stated_cost

_Attributes = dict[str, AttributeValue]
_SCOPE: Final = Scope(None, "openrouter")
_MILLISECOND_NS: Final = 1_000_000
_DISCONNECTED: Final = "The client has disconnected"
_CHAT: Final = frozenset({"chat", "text_completion"})
_DETAILED_COUNTS: Final = (
    ("input_tokens.cached", "cache_read_tokens"),
    ("input_tokens.cache_write", "cache_write_tokens"),
    ("input_tokens.audio", "input_audio_tokens"),
    ("input_tokens.video", "input_video_tokens"),
    ("output_tokens.reasoning", "reasoning_tokens"),
    ("output_tokens.image", "output_image_tokens"),
)
"""Counts of kinds in wire order. Of output audio Broadcast says nothing, also where the answer states it."""


class OpenRouterDialect(Dialect):
    """Spans of OpenRouter's Broadcast.

    Args:
        categories: additional metadata that is sent, as a destination of OpenRouter's may ask for: `cost`, `identity`,
            `request_context`.
    """

    repeats_form = True

    def __init__(self, categories: frozenset[str] = frozenset()) -> None:
        self._categories = categories

    def with_generation_metadata(self, categories: frozenset[str]) -> Self:
        return type(self)(categories)

    def generation_span(self, facts: GenerationFacts, content: Content | None, cost: Cost | None) -> SpanData:
        failure = facts.failure
        error_text = content.error_text if failure is not None and content is not None else None
        # Words of Broadcast's own, which quote nothing.
        if failure is not None and failure.type == ABANDONED:
            error_text = _DISCONNECTED
        end_ns = _whole_milliseconds(facts.end_ns)
        cost = stated_cost(facts.usage) or cost
        # The same texts twice, as attributes of the span and of the generation.
        texts = content_texts(facts, content) if content is not None else {}
        attributes = _head(facts, error_text, generation_metadata(facts, cost, self._categories))
        attributes |= {f"span.{'input' if name == 'prompt' else 'output'}": text for name, text in texts.items()}
        attributes |= _model_and_totals(facts, cost)
        attributes |= {f"gen_ai.{name}": text for name, text in texts.items()}
        attributes |= _details(facts)
        attributes |= _service(facts)
        events: tuple[Event, ...] = ()
        if error_text is not None:
            message = {"exception.message": error_text} if error_text else {}
            events = (Event("exception", end_ns, {"exception.type": "Error"} | message),)
        if content is not None:
            marks, truncation = _truncation(attributes, content, end_ns)
            attributes, events = attributes | marks, (*events, *truncation)
        return SpanData(
            name=facts.fields.generation_name or "LLM Generation",
            trace_id=facts.trace_id,
            span_id=facts.span_id,
            # Broadcast has no spans for `trace_name` and `span_name`, and so has nobody who is sent this.
            parent_span_id=facts.outer_parent_span_id,
            kind=KIND_CLIENT,
            start_ns=_whole_milliseconds(facts.start_ns),
            end_ns=end_ns,
            attributes=attributes,
            status_code=STATUS_ERROR if failure else STATUS_OK,
            status_message=error_text or "",
            events=events,
            origin=_origin(facts),
        )

    def attempt_spans(self, facts: GenerationFacts) -> Sequence[SpanData]:
        """Return spans of OpenRouter's tries at providers, below the generation's own."""
        generation_id = _generation_id(facts)
        gateway_id = facts.gateway_id
        origin = _origin(facts)
        spans: list[SpanData] = []
        for index, (attempt, (start_ns, end_ns)) in enumerate(zip(facts.attempts, attempt_times(facts), strict=True)):
            failed = isinstance(attempt.status, int) and attempt.status >= MIN_ERROR_STATUS
            attributes: _Attributes = {
                "span.type": "span",
                "span.level": "ERROR" if failed else "DEFAULT",
                "span.metadata.attempt_index": index,
            }
            _set(attributes, "span.metadata.status_code", attempt.status)
            _set(attributes, "gen_ai.response.id", f"{generation_id}:attempt-{index}" if generation_id else None)
            attributes[f"{TRACE}openrouter.provider_name"] = attempt.provider[:MAX_VALUE_CHARACTERS]
            # Broadcast's id of the attempt, below Broadcast's id of the generation; else one of its own below ours.
            is_gateways = gateway_id is not None and facts.span_id == derive_span_id(gateway_id)
            seed = gateway_id if is_gateways else f"{facts.span_id:016x}"
            span = SpanData(
                name=f"provider attempt {index + 1}: {attempt.provider}",
                trace_id=facts.trace_id,
                span_id=derive_span_id(f"{seed}:attempt-{index}"),
                parent_span_id=facts.span_id,
                kind=KIND_SERVER,
                start_ns=_whole_milliseconds(start_ns),
                end_ns=_whole_milliseconds(end_ns),
                attributes=attributes,
                status_code=STATUS_ERROR if failed else STATUS_OK,
                origin=origin,
            )
            spans.append(span)
        return spans

    def connection_test_span(self, span: SpanData) -> SpanData:
        """Return Broadcast's own, which is the same each time, so that who knows that span can leave it out."""
        return replace(
            span,
            name="openrouter-connection-test",
            trace_id=1,
            span_id=1,
            start_ns=_whole_milliseconds(span.start_ns),
            end_ns=_whole_milliseconds(span.end_ns),
            attributes={},
            status_code=STATUS_OK,
            origin=Origin(_SCOPE, {"service.name": "openrouter"}),
        )


OPENROUTER: Final = OpenRouterDialect()


def _head(facts: GenerationFacts, error_text: str | None, more: Mapping[str, AttributeValue]) -> _Attributes:
    """Return whom and what the trace is for, and the metadata, which are both the trace's and the span's.

    Args:
        facts: of the call.
        error_text: what may be sent of it.
        more: additional metadata that the destination asks for.
    """
    fields = facts.fields
    attributes: _Attributes = {"trace.name": (fields.trace_name or "OpenRouter Request")[:MAX_VALUE_CHARACTERS]}
    _set(attributes, "user.id", fields.user)
    _set(attributes, "session.id", fields.session_id)
    metadata = caller_metadata(fields)
    # What a client knows of each attempt; the real ones also have its id, latency, endpoint and key.
    if facts.attempts:
        responses = [{"provider_name": attempt.provider, "status": attempt.status} for attempt in facts.attempts]
        metadata["provider_responses"] = encoder.encode(responses)
    metadata |= more
    attributes |= {f"{TRACE}{key}": value for key, value in metadata.items()}
    attributes["span.type"] = "generation"
    attributes["span.level"] = "ERROR" if facts.failure else "DEFAULT"
    _set(attributes, "span.status_message", error_text or None)
    return attributes | {f"span.metadata.{key}": value for key, value in metadata.items()}


def _model_and_totals(facts: GenerationFacts, cost: Cost | None) -> _Attributes:
    """Return what was asked for, who answered, and what that took."""
    request_model = facts.request_model
    author, slash, _ = (request_model or "").partition("/")
    author = author if slash and author else facts.server.provider
    if request_model is not None and facts.server.is_openrouter:
        # A variant (`:nitro`, `:free`) stands behind the last `/`; `ft:` ids of other servers have colons everywhere.
        head, slash, tail = request_model.rpartition("/")
        request_model = f"{head}{slash}{tail.partition(':')[0]}"
    attributes: _Attributes = {"gen_ai.operation.name": "chat" if facts.operation in _CHAT else facts.operation}
    _set(attributes, "gen_ai.system", author or None)
    _set(attributes, "gen_ai.provider.name", author or None)
    _set(attributes, "gen_ai.request.model", request_model)
    _set(attributes, "gen_ai.response.model", facts.response_model or request_model)
    _set(attributes, "gen_ai.response.id", _generation_id(facts))
    if facts.usage is not None:
        for name in ("input_tokens", "output_tokens", "total_tokens"):
            _set(attributes, f"gen_ai.usage.{name}", getattr(facts.usage, name))
    if cost is not None:
        for name, amount in (("input_cost", cost.input), ("output_cost", cost.output), ("total_cost", cost.total)):
            _set(attributes, f"gen_ai.usage.{name}", None if amount is None else float(amount))
        # Broadcast states what was charged, always; an estimate of ours must not be taken for that.
        _set(attributes, "gen_ai.usage.cost.source", "estimated" if cost.is_estimated else None)
    return attributes


def _details(facts: GenerationFacts) -> _Attributes:
    """Return counts by kind, and why the answer ended."""
    attributes: _Attributes = {}
    if facts.usage is not None:
        for key, name in _DETAILED_COUNTS:
            _set(attributes, f"gen_ai.usage.{key}", getattr(facts.usage, name))
    reasons = [choice.finish_reason for choice in facts.choices if choice.finish_reason]
    if reasons:
        # A list as JSON text: Broadcast sends no arrays.
        attributes["gen_ai.response.finish_reasons"] = encoder.encode(reasons)[:MAX_VALUE_CHARACTERS]
        _set(attributes, "gen_ai.response.finish_reason", reasons[0])
    return attributes


def _service(facts: GenerationFacts) -> _Attributes:
    """Return what OpenRouter says of its own part, as far as a client can know it."""
    service: _Attributes = {"source": "openrouter"}
    _set(service, "api_key_name", _text(facts.fields.metadata.get("api_key_name")))
    _set(service, "user_id", facts.fields.user)
    if facts.stream and facts.failure is None:
        # Doubles on the wire, also where they are whole.
        length = float((facts.end_ns - facts.start_ns) // _MILLISECOND_NS)
        if facts.first_chunk_ns is not None:
            first = float(facts.first_chunk_ns // _MILLISECOND_NS)
            output_tokens = (facts.usage.output_tokens if facts.usage else None) or 0
            service["first_token_ms"] = first
            service["provider_body_end_ms"] = length
            if output_tokens > 1:
                service["inter_token_latency_ms"] = (length - first) / (output_tokens - 1)
        else:
            service["provider_body_end_ms"] = length
    last_provider = facts.attempts[-1].provider if facts.attempts else None
    _set(service, "provider_name", facts.serving_provider or last_provider)
    if facts.failure is None:
        native = facts.choices[0].native_finish_reason if facts.choices else None
        # `/responses` has no such reason: there Broadcast has the status.
        _set(service, "finish_reason", native or _text((facts.details or {}).get("response_status")))
    return {f"{TRACE}openrouter.{name}": value for name, value in service.items()}


def _origin(facts: GenerationFacts) -> Origin:
    """Return the resource of the generation's spans: one for each call, as Broadcast has it."""
    trace = facts.fields.trace_id or _generation_id(facts) or f"{facts.trace_id:032x}"
    resource = {
        "service.name": "openrouter",
        "openrouter.trace.id": trace[:MAX_VALUE_CHARACTERS],
        "service.version": "1.0.0",
    }
    return Origin(_SCOPE, resource)


def _generation_id(facts: GenerationFacts) -> str | None:
    # The body of OpenRouter's `/responses` has an id of another kind than the header.
    return facts.gateway_id or facts.response_id or facts.generation_id


def _truncation(attributes: _Attributes, content: Content, time_ns: int) -> tuple[_Attributes, tuple[Event, ...]]:
    """Return what marks the texts that were cut, and the event that says so; nothing where none was."""
    keys = ["span.input", "gen_ai.prompt"] if content.shortened & {"inputs", "system"} else []
    if content.shortened & {"outputs", "tools"} or content.omitted_characters:
        keys += ["span.output", "gen_ai.completion"]
    keys = [key for key in keys if key in attributes]
    if not keys:
        return {}, ()
    # The names of the event's attributes are documented nowhere: these are the words of its documentation.
    description: _Attributes = {
        "keys": keys,
        "reason": "too_large",
        "message": f"{len(keys)} values were too large and are shortened",
    }
    return {f"{key}.truncated": True for key in keys}, (Event("openrouter.trace_truncated", time_ns, description),)


def _whole_milliseconds(time_ns: int) -> int:
    return time_ns - time_ns % _MILLISECOND_NS


def _text(value: object) -> str | None:
    return str.__str__(value) or None if isinstance(value, str) else None


def _set(attributes: _Attributes, key: str, value: AttributeValue | None) -> None:
    if value is not None:
        # Names and ids come from servers, too, which may send megabytes of them.
        attributes[key] = value[:MAX_VALUE_CHARACTERS] if isinstance(value, str) else value
