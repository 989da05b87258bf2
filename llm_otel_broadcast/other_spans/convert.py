"""From a span of OpenTelemetry's SDK to span data. Pure; runs on lanes' threads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from llm_otel_broadcast.fields.json_text import plain
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
