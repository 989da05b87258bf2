"""A span of another instrumentation on its way to the lanes: a reference to it, which the lanes read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.sizes import text_size
from llm_otel_broadcast.record.trace_fields import NO_FIELDS, Fields

_BASE_SIZE_BYTES: Final = 2_000


class ForeignSpan:
    """A finished span of the SDK's, which nothing changes any more.

    Attributes:
        span: the SDK's `ReadableSpan`.
        size: estimate of the bytes held.
        fields: trace fields of the program's scopes round the span; empty before `settle()`.
        sent_to: endpoints that get our own record of the same call.
    """

    __slots__ = ("_fields_of", "_scope_fields", "enclosing_spans", "fields", "sent_to", "size", "span")

    def __init__(
        self,
        span: ReadableSpan,
        attributes: Mapping[str, object],
        scope_fields: Mapping[str, object] | None,
        fields_of: Callable[[Mapping[str, object] | None], Fields],
        sent_to: frozenset[str],
    ) -> None:
        self.span = span
        size = _BASE_SIZE_BYTES
        # On the host's thread: `items()` of the SDK's read-only view costs twice as much as keys and look-ups.
        for key in attributes:
            value = attributes[key]
            if type(value) is str:
                size += len(value)
            elif type(value) is tuple:
                size += text_size(value)
        for event in span.events:
            size += text_size(dict(event.attributes or {}))
        self.size = size
        self.enclosing_spans: tuple[EnclosingSpan, ...] = ()
        self.fields = NO_FIELDS
        self.sent_to = sent_to
        self._scope_fields = scope_fields
        self._fields_of = fields_of

    def settle(self) -> None:
        """Read the fields of the scopes round the span. Called in the background only."""
        # Not in the constructor, which runs on the host's thread.
        self.fields = self._fields_of(self._scope_fields)
