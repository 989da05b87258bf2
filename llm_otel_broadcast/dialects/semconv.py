"""The default dialect: a record as a span of OpenTelemetry's GenAI semantic conventions. Pure.

Names as read in open-telemetry/semantic-conventions-genai at commit 024a4f9 (autumn 2026, in development), and ours where
the conventions have none: `gen_ai.usage.total_tokens`, `gen_ai.usage.*_cost`, `trace.*`. Absent stays absent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from llm_otel_broadcast.dialects.content import (
    input_messages,
    output_messages,
    system_instructions,
    tool_definitions,
)
from llm_otel_broadcast.dialects.usage import cost_attributes, usage_attributes
from llm_otel_broadcast.fields.ids import derive_span_id
from llm_otel_broadcast.fields.json_text import MAX_CHARACTERS, plain_json
from llm_otel_broadcast.fields.metadata import MAX_VALUE_CHARACTERS, metadata_attributes
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import Attempt, Generation
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
from llm_otel_broadcast.record.usage import Cost

_Attributes = dict[str, AttributeValue]
_FIRST_ERROR_STATUS: Final = 400
_OPENAI_PROVIDERS: Final = frozenset({"openai", "azure.ai.openai"})
"""Whose spans the conventions' `openai.*` attributes are for."""
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
"""Facts of single operations (`Generation.details`) by the names they have on a span."""
_MODALITIES: Final = {"audio": "speech", "image": "image"}
_DOUBLES: Final = ("temperature", "top_p", "frequency_penalty", "presence_penalty")


class View(Protocol):
    """What content passes through on its way to one destination."""

    def shown(self, what: str, things: list[Any]) -> list[Any]:
        """Return what is sent of `system`, `inputs`, `outputs` or `tools`."""

    def error_text(self, text: str) -> str:
        """Return what is sent of an error's text."""


def generation_span(
    record: Generation,
    cost: Cost | None,
    *,
    content: bool,
    max_chars: int = MAX_CHARACTERS,
    view: View | None = None,
    fields: Fields | None = None,
) -> SpanData:
    """Return the span of a finished generation.

    Args:
        record: must have ended and settled.
        cost: an estimate, used when the response states none.
        content: whether prompts, answers, tool definitions and error texts may be in it.
        max_chars: length of one content attribute, at most.
        view: what content has to pass through; None: it is sent as it is.
        fields: what is sent of the record's own.
    """
    attributes = request_attributes(record, fields)
    attributes |= _response_attributes(record)
    attributes |= usage_attributes(record.usage) if record.usage else {}
    attributes |= cost_attributes((record.usage.stated_cost() if record.usage else None) or cost)
    failure = record.failure
    if failure is not None:
        attributes |= _failure_attributes(failure, _vendor(record))
    if content:
        attributes |= _content_attributes(record, max_chars, view)
    said = _error_text(failure, view) if content else ""
    return SpanData(
        name=record.name,
        trace_id=record.trace_id,
        span_id=record.span_id,
        parent_span_id=record.parent_span_id,
        kind=KIND_CLIENT,
        start_ns=record.start_ns,
        end_ns=record.end_ns,
        attributes=attributes,
        status_code=STATUS_ERROR if failure else STATUS_UNSET,
        status_message=said,
        events=(_exception(failure, said, record.end_ns),) if failure and content else (),
    )


def attempt_spans(record: Generation, fields: Fields | None = None) -> list[SpanData]:
    """Return a child span for each try of OpenRouter's at a provider.

    Only the order of the tries is known: each span has the times of the generation, within which the try was. Nothing in them
    is `gen_ai.*`: they are no generations.
    """
    told = record.fields if fields is None else fields
    return [_attempt_span(record, attempt, number, told) for number, attempt in enumerate(record.attempts, start=1)]


def _attempt_span(record: Generation, attempt: Attempt, number: int, fields: Fields) -> SpanData:
    attributes: _Attributes = {"openrouter.attempt.number": number, "openrouter.provider_name": attempt.provider}
    _put(attributes, "openrouter.attempt.model", attempt.model)
    _put(attributes, "openrouter.attempt.status", attempt.status)
    failed = isinstance(attempt.status, int) and attempt.status >= _FIRST_ERROR_STATUS
    return SpanData(
        name=f"provider attempt {number}: {attempt.provider}",
        trace_id=record.trace_id,
        span_id=derive_span_id(f"{record.span_id:016x}/attempt {number}"),
        parent_span_id=record.span_id,
        kind=KIND_INTERNAL,
        start_ns=record.start_ns,
        end_ns=record.end_ns,
        attributes=attributes | _common_attributes(fields),
        status_code=STATUS_ERROR if failed else STATUS_UNSET,
    )


def enclosing_span_data(
    enclosing_span: EnclosingSpan, fields: Fields, *, content: bool, view: View | None = None
) -> SpanData:
    """Return the span of a root or intermediate block; it says only whom and what it is for, and its totals.

    Args:
        enclosing_span: a scoped one must have ended.
        fields: those of the block, else of the generation it is sent with.
        content: whether the text of an exception that left the block may be in it.
        view: what that has to pass through; None: it is sent as it is.
    """
    failure = enclosing_span.failure
    said = _error_text(failure, view) if content else ""
    attributes = _common_attributes(fields) | _totals(enclosing_span)
    return SpanData(
        name=enclosing_span.name,
        trace_id=enclosing_span.trace_id,
        span_id=enclosing_span.span_id,
        parent_span_id=enclosing_span.parent_span_id,
        kind=KIND_INTERNAL,
        start_ns=enclosing_span.start_ns,
        end_ns=enclosing_span.end_ns,
        attributes=attributes | ({"error.type": failure.type} if failure else {}),
        status_code=STATUS_ERROR if failure else STATUS_UNSET,
        status_message=said,
        events=(_exception(failure, said, enclosing_span.end_ns),) if failure and content else (),
    )


def _totals(enclosing_span: EnclosingSpan) -> _Attributes:
    """Return what all generations below the outermost block took; never under `gen_ai.*`, or it would count twice."""
    told: dict[str, float] = {}
    for totals in (
        enclosing_span.totals or ()
    ):  # what went to no lane is in the first only, estimated costs are in the second only
        told |= {name: max(value, told.get(name, value)) for name, value in totals.told().items()}
    return {f"trace.totals.{name}": value for name, value in told.items()}


def request_attributes(record: Generation, fields: Fields | None = None) -> _Attributes:
    """Return what the request says, and `details` as far as they are known; never content. `fields`: instead of its own."""
    fields = record.fields if fields is None else fields
    asked = record.parameters
    attributes: _Attributes = {
        "gen_ai.operation.name": record.operation,
    }
    _put(attributes, "gen_ai.provider.name", record.server.provider or None)
    vendor = _vendor(record)
    _put(attributes, f"{vendor}.api.type", record.api)
    _put(attributes, "gen_ai.request.model", record.request_model)
    _put(attributes, "gen_ai.request.stream", record.stream or None)
    _put(attributes, "gen_ai.conversation.id", fields.session_id)
    _put(attributes, "server.address", record.server.address or None)
    _put(attributes, "server.port", record.server.port)
    if asked:
        for name in _DOUBLES:
            _put(attributes, f"gen_ai.request.{name}", _double(asked.get(name)))
        _put(attributes, "gen_ai.request.seed", _integer(asked.get("seed")))
        limit = _integer(asked.get("max_tokens"))
        _put(
            attributes,
            "gen_ai.request.max_tokens",
            _integer(asked.get("max_completion_tokens")) if limit is None else limit,
        )
        count = _integer(asked.get("n"))
        _put(attributes, "gen_ai.request.choice.count", None if count == 1 else count)
        _put(attributes, "gen_ai.request.stop_sequences", _texts(asked.get("stop")))
        _put(attributes, "gen_ai.request.reasoning.level", _text(asked.get("reasoning_effort")))
        _put(attributes, "gen_ai.output.type", _output_type(asked))
        _put(attributes, "gen_ai.request.top_k", _integer(asked.get("top_k")))
        _put(attributes, "gen_ai.request.tool_choice", _tool_choice(asked.get("tool_choice")))
        _put(attributes, "gen_ai.request.output_schema.name", _schema_name(asked.get("response_format")))
        _put(attributes, f"{vendor}.request.service_tier", _text(asked.get("service_tier")))
    if record.tool_count:
        attributes["gen_ai.request.tools.count"] = record.tool_count
        _put(attributes, "gen_ai.request.tools.names", record.tool_names or None)
    for name, value in (record.details or {}).items():
        # a session that the caller names is the conversation
        attributes.setdefault(_DETAILS[name].format(vendor=vendor), value)
    return attributes | _common_attributes(fields)


def _common_attributes(fields: Fields) -> _Attributes:
    """Return what every span of a hierarchy carries (DESIGN, section 3); no `gen_ai.*`, which would make it a generation."""
    attributes: _Attributes = {}
    _put(attributes, "user.id", fields.user)
    _put(attributes, "session.id", fields.session_id)
    _put(attributes, "trace.name", fields.trace_name)
    _put(attributes, "trace.id", fields.trace_id)
    return attributes | metadata_attributes(fields.metadata) if fields.metadata else attributes


def _response_attributes(record: Generation) -> _Attributes:
    attributes: _Attributes = {}
    vendor = _vendor(record)
    _put(attributes, "gen_ai.response.id", record.response_id or record.generation_id)
    if record.generation_id != (record.response_id or record.generation_id):
        _put(attributes, "openrouter.generation_id", record.generation_id)
    _put(attributes, "gen_ai.response.model", record.response_model)
    _put(attributes, "gen_ai.response.finish_reasons", _finish_reasons(record))
    if record.first_chunk_ns is not None:
        attributes["gen_ai.response.time_to_first_chunk"] = record.first_chunk_ns / 1e9
    _put(attributes, f"{vendor}.response.service_tier", record.response_service_tier)
    _put(attributes, f"{vendor}.response.system_fingerprint", record.system_fingerprint)
    _put(attributes, "openrouter.provider_name", record.serving_provider)
    native = [choice.native_finish_reason for choice in record.choices if choice.native_finish_reason]
    _put(attributes, "openrouter.native_finish_reasons", native or None)
    _put(attributes, "gen_ai.response.tool_calls.count", record.tool_call_count or None)
    for kind, count in Counter(call.kind for call in record.server_calls).items():
        attributes[f"gen_ai.response.server_tool_calls.{kind}"] = count
    _put(attributes, "gen_ai.request.retries", record.retries)
    return attributes


def _vendor(record: Generation) -> str:
    """Return what begins the names of facts that the conventions know of OpenAI only: `openai`, or `gen_ai` for others.

    A host that nobody knows speaks OpenAI's API, and may be a proxy of theirs.
    """
    server = record.server
    return "gen_ai" if server.is_known and server.provider not in _OPENAI_PROVIDERS else "openai"


def _finish_reasons(record: Generation) -> Sequence[str] | None:
    """Return one reason for each choice; `error` where one did not come, nothing when a good answer states none at all."""
    reasons = [choice.finish_reason for choice in record.choices]
    if not reasons or (record.failure is None and not any(reasons)):
        return None
    return [reason or "error" for reason in reasons]


def _failure_attributes(failure: Failure, vendor: str) -> _Attributes:
    attributes: _Attributes = {"error.type": failure.type}
    _put(attributes, "http.response.status_code", failure.status_code)
    _put(attributes, f"{vendor}.response.error.code", failure.code)
    _put(attributes, f"{vendor}.response.request_id", failure.request_id)
    return attributes


def _error_text(failure: Failure | None, view: View | None) -> str:
    if failure is None or not failure.message:
        return ""
    return failure.message if view is None else view.error_text(failure.message)


def _exception(failure: Failure, said: str, time_ns: int) -> Event:
    attributes = {"exception.type": failure.type}
    if said:
        attributes["exception.message"] = said
    return Event("exception", time_ns, attributes)


def _content_attributes(record: Generation, max_chars: int, view: View | None) -> _Attributes:
    told: tuple[tuple[str, str, list[Any]], ...] = (
        ("gen_ai.system_instructions", "system", system_instructions(record.instructions)),
        ("gen_ai.input.messages", "inputs", input_messages(record.messages or ())),
        ("gen_ai.output.messages", "outputs", output_messages(record.choices, record.server_calls)),
        ("gen_ai.tool.definitions", "tools", tool_definitions(record.tools or ())),
    )
    attributes: _Attributes = {}
    for key, what, things in told:
        shown = view.shown(what, things) if view and things else things
        if shown:
            attributes[key], cut = plain_json(shown, max_chars)
            if cut:
                attributes[f"{key}.truncated"] = True
    if record.omitted_characters and "gen_ai.output.messages" in attributes:
        attributes["gen_ai.output.messages.truncated"] = True
        attributes["gen_ai.output.messages.omitted_characters"] = record.omitted_characters
    return attributes


def _put(attributes: _Attributes, key: str, value: AttributeValue | None) -> None:
    if value is not None:
        # Names and ids come from servers, too, which may send megabytes of them.
        attributes[key] = value[:MAX_VALUE_CHARACTERS] if isinstance(value, str) else value


def _double(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _integer(value: object) -> int | None:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    """Return a text that says something; of a member of a `str` enum its value, which is what was sent."""
    return str.__str__(value) or None if isinstance(value, str) else None


def _texts(value: object) -> Sequence[str] | None:
    if isinstance(value, str):
        return [str.__str__(value)]
    if isinstance(value, list | tuple):
        return [str.__str__(text) for text in value if isinstance(text, str)] or None
    return None


def _output_type(asked: Mapping[str, object]) -> str | None:
    modalities = asked.get("modalities")
    if isinstance(modalities, list | tuple):
        made = next((kind for name, kind in _MODALITIES.items() if name in modalities), None)
        if made is not None:
            return made
    wanted = asked.get("response_format")
    if isinstance(wanted, type):
        return "json"
    kind = wanted.get("type") if isinstance(wanted, Mapping) else None
    return {"json_object": "json", "json_schema": "json", "text": "text"}.get(_text(kind) or "")


def _tool_choice(value: object) -> str | None:
    """Return `auto`, `none`, `required`, or the name of the tool that the model has to call."""
    if not isinstance(value, Mapping):
        return _text(value)
    inner = value.get(_text(value.get("type")))
    name = value.get("name") or (inner.get("name") if isinstance(inner, Mapping) else None)
    return _text(name) or _text(value.get("type"))


def _schema_name(wanted: object) -> str | None:
    """Return the name of the schema that the answer has to follow: a given one, or that of the class passed to `parse`."""
    if isinstance(wanted, type):
        return wanted.__name__
    schema = wanted.get("json_schema", wanted) if isinstance(wanted, Mapping) else None
    return _text(schema.get("name")) if isinstance(schema, Mapping) else None
