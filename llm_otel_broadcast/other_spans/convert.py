"""Reading a span of the SDK's: as a span of ours, and what filter rules and sampling ask of it. Pure; runs on lanes' threads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from llm_otel_broadcast.fields.json_text import plain
from llm_otel_broadcast.host.guard import or_else
from llm_otel_broadcast.other_spans.conventions import INPUTS, OUTPUTS, SESSIONS, SYSTEM, content_of
from llm_otel_broadcast.record.span_data import (
    KIND_INTERNAL,
    STATUS_ERROR,
    STATUS_OK,
    STATUS_UNSET,
    AttributeValue,
    Event,
    Link,
    Origin,
    Scope,
    SpanData,
)

_Attributes = dict[str, AttributeValue]
_STATUSES: Final = {"OK": STATUS_OK, "ERROR": STATUS_ERROR}


class Origins:
    """Makes origins; spans of one provider share their resource. Used by one thread.

    Args:
        service_name: wins over whatever else names the service.
    """

    def __init__(self, service_name: str | None) -> None:
        self._own: _Attributes = {} if service_name is None else {"service.name": service_name}
        self._seen: Any = self
        self._resource: _Attributes = {}

    def of(self, span: Any) -> Origin:
        """Return where a span comes from."""
        resource = span.resource
        if resource is not self._seen:
            self._seen, self._resource = resource, {**attributes_of(resource.attributes), **self._own}
        scope = span.instrumentation_scope
        return Origin(Scope(getattr(scope, "version", None) or "", getattr(scope, "name", None) or ""), self._resource)


def read(span: Any, origin: Origin) -> SpanData:
    """Return the SDK's span as one of ours."""
    context, parent = span.context, span.parent
    return SpanData(
        name=span.name,
        trace_id=context.trace_id,
        span_id=context.span_id,
        parent_span_id=parent.span_id if parent is not None else 0,
        kind=KIND_INTERNAL + span.kind.value,  # the API counts from 0, OTLP from 1
        start_ns=span.start_time,
        end_ns=span.end_time,
        attributes=attributes_of(span.attributes),
        status_code=_STATUSES.get(span.status.status_code.name, STATUS_UNSET),
        status_message=span.status.description or "",
        events=tuple(Event(one.name, one.timestamp, attributes_of(one.attributes)) for one in span.events),
        links=tuple(
            Link(one.context.trace_id, one.context.span_id, attributes_of(one.attributes)) for one in span.links
        ),
        trace_state=context.trace_state.to_header() if context.trace_state else "",
        origin=origin,
    )


def attributes_of(given: Mapping[str, Any] | None) -> _Attributes:
    """Return attributes that a span can have; of what newer SDKs allow besides, the text."""
    return {
        key: value if isinstance(value, str | bool | int | float | list | tuple) else _text(value)
        for key, value in dict(given or {}).items()
        if value is not None
    }


def _text(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False)


def session_of(attributes: Mapping[str, Any]) -> str | None:
    """Return the session that a span belongs to."""
    return next((value for key in SESSIONS if isinstance(value := attributes.get(key), str) and value), None)


def facts_of(attributes: Mapping[str, Any]) -> Callable[[str], Sequence[object]]:
    """Return what answers for each field of filter rules, in every convention."""

    def known(field: str) -> Sequence[object]:
        if field == "input":
            return [_said(attributes, INPUTS, SYSTEM)]
        if field == "output":
            return [_said(attributes, OUTPUTS)]
        if field == "total_tokens":
            return [_total(attributes)]
        found = [attributes[key] for key in _NAMES[field] if key in attributes]
        if field == "finish_reason":
            return [reason for value in found for reason in ([value] if isinstance(value, str) else value)]
        return found if field == "model" else found[:1]

    return known


_NAMES: Final = {
    "model": (
        "gen_ai.request.model",
        "gen_ai.response.model",
        "llm.model_name",
        "embedding.model_name",
        "langfuse.observation.model.name",
    ),
    "provider": ("gen_ai.provider.name", "llm.provider", "gen_ai.system", "llm.system"),
    "session_id": SESSIONS,
    "user_id": ("user.id", "enduser.id", "langfuse.user.id", "traceloop.association.properties.user_id"),
    "api_key_name": ("trace.metadata.api_key_name",),
    "finish_reason": (
        "gen_ai.response.finish_reasons",
        "llm.finish_reason",
        "gen_ai.completion.0.finish_reason",
        "llm.output_messages.0.message.finish_reason",
    ),
    "total_cost": ("gen_ai.usage.total_cost", "gen_ai.usage.cost", "operation.cost", "llm.cost.total"),
    "prompt_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
    "completion_tokens": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.completion",
    ),
}
_TOTALS: Final = ("gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total")


def _total(attributes: Mapping[str, Any]) -> object:
    stated = next((attributes[key] for key in _TOTALS if key in attributes), None)
    if stated is not None:
        return stated
    counts = [facts[0] for name in ("prompt_tokens", "completion_tokens") if (facts := facts_of(attributes)(name))]
    numbers = [count for count in counts if isinstance(count, int)]
    return sum(numbers) if len(numbers) == len(_COUNTS) else None


_COUNTS: Final = ("prompt_tokens", "completion_tokens")


def _said(attributes: Mapping[str, Any], *parts: str) -> str:
    texts = [value for key, value in attributes.items() if isinstance(value, str) and content_of(key) in parts]
    return "\n".join(text for value in texts for text in leaves(value))


def leaves(text: str) -> list[str]:
    """Return the texts in a text that is JSON, else the text itself: rules look for words, not for quotes and escapes."""
    value = parsed(text)
    if value is None:
        return [text]
    found: list[str] = []
    pending = [value]
    while pending:
        one = pending.pop(0)
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, dict):
            pending = [*one.values(), *pending]
        elif isinstance(one, list):
            pending = [*one, *pending]
    return found


def parsed(text: str) -> Any:
    """Return the object or list that a text is the JSON of, None when it is anything else."""
    if text[:1] not in ("{", "["):
        return None
    value = or_else(lambda: json.loads(text), None)
    return plain(value) if isinstance(value, dict | list) else None
