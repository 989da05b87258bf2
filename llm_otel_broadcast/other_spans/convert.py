"""From a span of OpenTelemetry's SDK to span data. Pure; runs on lanes' threads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

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
        resource_attributes: those of the destination, which win over all others.
    """

    def __init__(self, service_name: str | None, resource_attributes: Mapping[str, AttributeValue]) -> None:
        service = {} if service_name is None else {"service.name": service_name}
        self._own_attributes: _Attributes = {**service, **resource_attributes}
        # No span has this object as its resource, so the first one is always read.
        self._last_resource: object = self
        self._resource_attributes: _Attributes = {}

    def of(self, span: ReadableSpan) -> Origin:
        """Return where a span comes from."""
        resource = span.resource
        # A provider has one resource for all its spans: its attributes are converted once.
        if resource is not self._last_resource:
            self._last_resource = resource
            self._resource_attributes = {**attributes_of(resource.attributes), **self._own_attributes}
        scope = span.instrumentation_scope
        return Origin(
            Scope(getattr(scope, "version", None) or "", getattr(scope, "name", None) or ""), self._resource_attributes
        )


def read(span: ReadableSpan, origin: Origin) -> SpanData:
    """Return the SDK's span as one of ours."""
    context, parent = span.context, span.parent
    return SpanData(
        name=span.name,
        schema_url=getattr(span.instrumentation_scope, "schema_url", None) or "",
        trace_id=context.trace_id,
        span_id=context.span_id,
        # An id of zeros is none (W3C Trace Context).
        parent_span_id=parent.span_id if parent is not None else 0,
        # The API counts kinds from 0, OTLP from 1.
        kind=KIND_INTERNAL + span.kind.value,
        start_ns=span.start_time or 0,
        end_ns=span.end_time or 0,
        attributes=attributes_of(span.attributes),
        status_code=_STATUSES.get(span.status.status_code.name, STATUS_UNSET),
        status_message=span.status.description or "",
        events=tuple(Event(event.name, event.timestamp, attributes_of(event.attributes)) for event in span.events),
        links=tuple(
            Link(link.context.trace_id, link.context.span_id, attributes_of(link.attributes)) for link in span.links
        ),
        trace_state=context.trace_state.to_header() if context.trace_state else "",
        origin=origin,
    )


def attributes_of(attributes: Mapping[str, object] | None) -> _Attributes:
    """Return attributes that a span can have; other values, which newer SDKs allow, become JSON text."""
    return {
        key: value
        if isinstance(value, str | bool | int | float | list | tuple)
        else json.dumps(plain(value), ensure_ascii=False)
        for key, value in dict(attributes or {}).items()
        if value is not None
    }
