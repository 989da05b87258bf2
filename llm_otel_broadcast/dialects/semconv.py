"""The default dialect: a record as a span of OpenTelemetry's GenAI semantic conventions. Pure.

Names as read in open-telemetry/semantic-conventions-genai at commit 024a4f9 (autumn 2026, in development), and ours where
the conventions have none: `gen_ai.usage.total_tokens`, `gen_ai.usage.*_cost`, `trace.*`. Absent stays absent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from llm_otel_broadcast.dialects.attempts import MIN_ERROR_STATUS, attempt_times
from llm_otel_broadcast.dialects.content import content_attributes
from llm_otel_broadcast.dialects.dialect import Dialect
from llm_otel_broadcast.dialects.enclosing import excerpt_attributes, kind_of, operation_attributes
from llm_otel_broadcast.dialects.usage import cost_attributes, usage_attributes
from llm_otel_broadcast.fields.ids import derive_span_id
from llm_otel_broadcast.fields.metadata import MAX_VALUE_CHARACTERS, metadata_attributes
from llm_otel_broadcast.record.content import Content
from llm_otel_broadcast.record.enclosing_facts import EnclosingContent, EnclosingSpanFacts
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import GenerationFacts
from llm_otel_broadcast.record.server import Server
from llm_otel_broadcast.record.span_data import (
    KIND_CLIENT,
    KIND_INTERNAL,
    STATUS_ERROR,
    STATUS_UNSET,
    AttributeValue,
    Event,
    SpanData,
)
from llm_otel_broadcast.record.trace_fields import Fields
from llm_otel_broadcast.record.usage import Cost, stated_cost

_Attributes = dict[str, AttributeValue]
_Values = dict[str, AttributeValue | None]
"""What is known, with None for what is not."""
# Of `model/manifest.yaml` there: no version of the GenAI conventions is published since they have a repository of their own.
_SCHEMA_URL: Final = "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev"
_DETAILS: Final = {
    "background": "{vendor}.request.background",
    "conversation_id": "gen_ai.conversation.id",
    "is_compacted": "gen_ai.conversation.compacted",
    "previous_response_id": "gen_ai.request.previous_response.id",
    "prompt_name": "gen_ai.prompt.name",
    "prompt_version": "gen_ai.prompt.version",
    "output_type": "gen_ai.output.type",
    "inputs": "gen_ai.request.input.count",
    "file_names": "gen_ai.request.file.names",
    "file_bytes": "gen_ai.request.file.bytes",
    "dimensions": "gen_ai.embeddings.dimension.count",
    "encoding_formats": "gen_ai.request.encoding_formats",
    "image_format": "gen_ai.image.format",
    "image_quality": "gen_ai.image.quality",
    "image_size": "gen_ai.image.size",
    "images": "gen_ai.response.images.count",
    "image_bytes": "gen_ai.response.images.bytes",
    "partial_images": "gen_ai.response.partial_images.count",
    "voice": "gen_ai.request.voice",
    "audio_format": "gen_ai.request.audio.format",
    "text_format": "gen_ai.request.response_format",
    "language": "gen_ai.request.language",
    "answer_language": "gen_ai.response.language",
    "body_size": "http.response.body.size",
    "flagged": "gen_ai.moderation.flagged.count",
    "flagged_categories": "gen_ai.moderation.flagged.categories",
    "response_status": "gen_ai.response.status",
    "stream_cursor": "gen_ai.request.stream_cursor",
    "routing_strategy": "openrouter.strategy",
    "routing_pipeline": "openrouter.pipeline",
}
"""Facts of single operations (`GenerationFacts.details`) by the names they have on a span."""
_MAX_KEPT_CHARS: Final = 512
"""Longer names of what a program calls are not kept in memory."""
_DOUBLES: Final = frozenset({"temperature", "top_p", "frequency_penalty", "presence_penalty"})
_INTEGERS: Final = {"seed": "gen_ai.request.seed", "top_k": "gen_ai.request.top_k"}
_TEXTS: Final = {
    "reasoning_effort": "gen_ai.request.reasoning.level",
    "output_type": "gen_ai.output.type",
    "tool_choice": "gen_ai.request.tool_choice",
    "output_schema_name": "gen_ai.request.output_schema.name",
    "service_tier": "{vendor}.request.service_tier",
}
"""Request parameters by the names they have on a span."""


class SemconvDialect(Dialect):
    """Spans of OpenTelemetry's GenAI semantic conventions."""

    def generation_span(self, facts: GenerationFacts, content: Content | None, cost: Cost | None) -> SpanData:
        failure = facts.failure
        usage = facts.usage
        attributes = request_attributes(facts)
        attributes |= _present(_response_values(facts))
        if usage is not None:
            attributes |= usage_attributes(usage)
            cost = stated_cost(usage) or cost
        if cost is not None:
            attributes |= cost_attributes(cost)
        if content is not None:
            attributes |= content_attributes(content)
        return SpanData(
            schema_url=_SCHEMA_URL,
            name=facts.name,
            trace_id=facts.trace_id,
            span_id=facts.span_id,
            parent_span_id=facts.parent_span_id,
            # The conventions: a call that leaves the process, also where the model runs on the same machine.
            kind=KIND_CLIENT,
            start_ns=facts.start_ns,
            end_ns=facts.end_ns,
            attributes=attributes,
            # OpenTelemetry leaves `Ok` to the program: an instrumentation sets errors only.
            status_code=STATUS_ERROR if failure else STATUS_UNSET,
            status_message=content.error_text if content is not None else "",
            events=exception_events(failure, content.error_text, facts.end_ns) if content is not None else (),
        )

    def attempt_spans(self, facts: GenerationFacts) -> list[SpanData]:
        """Return spans of OpenRouter's tries at providers, below the generation's own.

        Nothing in them is `gen_ai.*`: they are no generations.
        """
        times = attempt_times(facts)
        spans: list[SpanData] = []
        for number, attempt in enumerate(facts.attempts, start=1):
            attributes: _Attributes = {
                "openrouter.attempt.number": number,
                "openrouter.provider_name": attempt.provider,
            }
            _set(attributes, "openrouter.attempt.model", attempt.model)
            _set(attributes, "openrouter.attempt.status", attempt.status)
            failed = isinstance(attempt.status, int) and attempt.status >= MIN_ERROR_STATUS
            start_ns, end_ns = times[number - 1]
            span = SpanData(
                schema_url=_SCHEMA_URL,
                name=f"provider attempt {number}: {attempt.provider}",
                trace_id=facts.trace_id,
                # Derived, so that a span which is sent once more, after a timeout, is the same span.
                span_id=derive_span_id(f"{facts.span_id:016x}/attempt {number}"),
                parent_span_id=facts.span_id,
                kind=KIND_INTERNAL,
                start_ns=start_ns,
                end_ns=end_ns,
                attributes=attributes | _common_attributes(facts.fields),
                status_code=STATUS_ERROR if failed else STATUS_UNSET,
            )
            spans.append(span)
        return spans

    def enclosing_span(self, facts: EnclosingSpanFacts, content: EnclosingContent | None) -> SpanData:
        """Return a span that says whom and what it is for, its totals, and what a list of traces shows.

        That is by OpenInference's names, as the conventions have none, and messages would make it a call of a model.
        """
        attributes = _common_attributes(facts.fields)
        # Never under `gen_ai.*`: backends add those up over all spans, and would count everything twice.
        attributes |= {f"trace.totals.{name}": value for name, value in facts.totals.items()}
        _set(attributes, "trace.failed_calls", facts.failed_calls or None)
        attributes |= kind_of(facts) | operation_attributes(facts, content)
        if content is not None:
            attributes |= excerpt_attributes(content)
        error_text = content.error_text if content is not None else None
        failure = facts.failure
        return SpanData(
            schema_url=_SCHEMA_URL,
            name=facts.name,
            trace_id=facts.trace_id,
            span_id=facts.span_id,
            parent_span_id=facts.parent_span_id,
            kind=KIND_INTERNAL,
            start_ns=facts.start_ns,
            end_ns=facts.end_ns,
            attributes=attributes | ({"error.type": failure.type} if failure else {}),
            status_code=STATUS_ERROR if failure else STATUS_UNSET,
            status_message=error_text or "",
            events=exception_events(failure, error_text, facts.end_ns) if error_text is not None else (),
        )


SEMCONV: Final = SemconvDialect()


def request_attributes(facts: GenerationFacts) -> _Attributes:
    """Return what the request says, and `details` as far as they are known; never content."""
    fields, server = facts.fields, facts.server
    target = _Target(facts.operation, facts.api, facts.request_model, facts.stream, server)
    length = len(target.operation) + len(target.model or "") + len(server.provider) + len(server.address)
    attributes = dict(_target_attributes(target) if length <= _MAX_KEPT_CHARS else target.attributes())
    _set(attributes, "gen_ai.conversation.id", fields.session_id)
    if facts.tool_count:
        attributes["gen_ai.request.tools.count"] = facts.tool_count
        _set(attributes, "gen_ai.request.tools.names", facts.tool_names or None)
    if facts.parameters:
        attributes |= _present(_parameter_values(facts.parameters, server.vendor))
    for name, value in facts.details.items() if facts.details else ():
        if name in _DETAILS:
            key = _DETAILS[name].format(vendor=server.vendor)
            # A session that the caller names is the conversation, whatever the API calls one.
            if key not in attributes:
                _set(attributes, key, value)
    return attributes | _common_attributes(fields)


class _Target(NamedTuple):
    """What a program calls, again and again the same."""

    operation: str
    api: str | None
    model: str | None
    streams: bool
    server: Server

    def attributes(self) -> _Attributes:
        """Return what a span says of it."""
        server = self.server
        values: _Values = {
            "gen_ai.operation.name": self.operation,
            "gen_ai.provider.name": server.provider or None,
            # Its name before version 1.37, the only one that some backends read.
            "gen_ai.system": server.provider or None,
            f"{server.vendor}.api.type": self.api,
            "gen_ai.request.model": self.model,
            # False says nothing: it is what every API does unless it is asked to stream.
            "gen_ai.request.stream": self.streams or None,
            "server.address": server.address or None,
            "server.port": server.port,
        }
        return _present(values)


# A third of the attributes of a typical span: to look them up takes a sixth of the time.
_target_attributes: Final = lru_cache(maxsize=256)(_Target.attributes)


def _parameter_values(parameters: Mapping[str, object], vendor: str) -> _Values:
    max_tokens = _integer(parameters.get("max_tokens"))
    if max_tokens is None:
        # What OpenAI calls it since its reasoning models.
        max_tokens = _integer(parameters.get("max_completion_tokens"))
    values: _Values = {"gen_ai.request.max_tokens": max_tokens}
    # Of a few dozen that there are, a call states two or three.
    for name, value in parameters.items():
        if name in _DOUBLES:
            if isinstance(value, int | float) and not isinstance(value, bool):
                values[f"gen_ai.request.{name}"] = float(value)
        elif name in _INTEGERS:
            values[_INTEGERS[name]] = _integer(value)
        elif name in _TEXTS and isinstance(value, str):
            # Of a member of a `str` enum its value, which is what was sent.
            values[_TEXTS[name].format(vendor=vendor)] = str.__str__(value) or None
        elif name == "n":
            # The conventions: stated where it is not the usual 1.
            choice_count = _integer(value)
            values["gen_ai.request.choice.count"] = None if choice_count == 1 else choice_count
        elif name == "stop":
            stops = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else ()
            stop_texts = [str.__str__(text) for text in stops if isinstance(text, str)]
            values["gen_ai.request.stop_sequences"] = stop_texts or None
    return values


def _common_attributes(fields: Fields) -> _Attributes:
    """Return what every span of a trace carries; no `gen_ai.*`, which would make any of them a generation."""
    attributes: _Attributes = {}
    _set(attributes, "user.id", fields.user)
    _set(attributes, "session.id", fields.session_id)
    _set(attributes, "trace.name", fields.trace_name)
    _set(attributes, "trace.id", fields.trace_id)
    return attributes | metadata_attributes(fields.metadata) if fields.metadata else attributes


def _response_values(facts: GenerationFacts) -> _Values:
    vendor, failure = facts.server.vendor, facts.failure
    # OpenRouter gives a failed call an id of its own in a header, and `/responses` one beside the response's.
    response_id = facts.response_id or facts.generation_id
    # One for each choice: `error` where one did not come, nothing when a good answer states none at all.
    reasons = [choice.finish_reason for choice in facts.choices]
    has_reasons = failure is not None or any(reasons)
    native = [choice.native_finish_reason for choice in facts.choices if choice.native_finish_reason]
    first_chunk_ns = facts.first_chunk_ns
    values: _Values = {
        "gen_ai.response.id": response_id,
        "openrouter.generation_id": facts.generation_id if facts.generation_id != response_id else None,
        "gen_ai.response.model": facts.response_model,
        "gen_ai.response.finish_reasons": ([reason or "error" for reason in reasons] or None) if has_reasons else None,
        # In seconds, as all durations of the conventions.
        "gen_ai.response.time_to_first_chunk": None if first_chunk_ns is None else first_chunk_ns / 1e9,
        f"{vendor}.response.service_tier": facts.response_service_tier,
        f"{vendor}.response.system_fingerprint": facts.system_fingerprint,
        "openrouter.provider_name": facts.serving_provider,
        "openrouter.native_finish_reasons": native or None,
        "gen_ai.response.tool_calls.count": facts.tool_call_count or None,
        "gen_ai.request.retries": facts.retries,
    }
    if facts.server_calls:
        for kind, count in Counter(call.kind for call in facts.server_calls).items():
            values[f"gen_ai.response.server_tool_calls.{kind}"] = count
    if failure is not None:
        values |= {
            "error.type": failure.type,
            "http.response.status_code": failure.status_code,
            f"{vendor}.response.error.code": failure.code,
            f"{vendor}.response.request_id": failure.request_id,
        }
    return values


def exception_events(failure: Failure | None, error_text: str, time_ns: int) -> tuple[Event, ...]:
    """Return the event that says what a span ended in; none where it ended well."""
    if failure is None:
        return ()
    attributes = {"exception.type": failure.type}
    if error_text:
        attributes["exception.message"] = error_text
    return (Event("exception", time_ns, attributes),)


def _present(values: Mapping[str, AttributeValue | None]) -> _Attributes:
    """Return the values that there are. Names and ids come from servers, too, which may send megabytes of them."""
    return {
        key: value if type(value) is not str or len(value) <= MAX_VALUE_CHARACTERS else value[:MAX_VALUE_CHARACTERS]
        for key, value in values.items()
        if value is not None
    }


def _set(attributes: _Attributes, key: str, value: AttributeValue | None) -> None:
    if value is not None:
        # Names and ids come from servers, too, which may send megabytes of them.
        attributes[key] = value[:MAX_VALUE_CHARACTERS] if isinstance(value, str) else value


# A caller may give any object as a parameter: what the API would not take is no attribute. `bool` is an `int` to Python only.
def _integer(value: object) -> int | None:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None
