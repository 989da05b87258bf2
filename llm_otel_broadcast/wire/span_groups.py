"""Spans by what they share in a request: resource, scope, and the version of the conventions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from llm_otel_broadcast.record.span_data import Scope, SpanData

Scopes: TypeAlias = dict[tuple[Scope, str], list[SpanData]]
"""Spans by their scope and the URL of their conventions' schema."""


def grouped(
    resource: Mapping[str, object], scope: Scope, spans: Iterable[SpanData]
) -> Iterable[tuple[Mapping[str, object], Scopes]]:
    """Return the spans of each resource by their scopes; `resource` and `scope` are those of our own spans."""
    origins: dict[int, tuple[Mapping[str, object], Scopes]] = {}
    group: list[SpanData] = []
    previous: SpanData | None = None
    for span in spans:
        origin = span.origin
        # Mostly all are of one group: finding it anew for each takes a microsecond.
        if previous is None or origin is not previous.origin or span.schema_url != previous.schema_url:
            span_resource, span_scope = (resource, scope) if origin is None else (origin.resource, origin.scope)
            # By identity: a resource is a mapping, which cannot be a key, and all spans of one origin have the same one.
            scopes = origins.setdefault(id(span_resource), (span_resource, {}))[1]
            group, previous = scopes.setdefault((span_scope, span.schema_url), []), span
        group.append(span)
    return origins.values()
