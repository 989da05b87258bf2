"""A span of another instrumentation on its way to the lanes. It is only referred to here; lanes read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.sizes import text_size
from llm_otel_broadcast.record.trace_fields import NO_FIELDS, Fields

_BASE_SIZE: Final = 2_000


class ForeignSpan:
    """A finished span of the SDK's, which nothing changes any more.

    Attributes:
        span: the SDK's `ReadableSpan`.
        size: estimate of the bytes held.
        fields: what the program's contexts said round it; known once it is settled.
        sent_to: endpoints that get the record of the same call from ourselves.
    """

    __slots__ = ("_fields_of", "_said", "enclosing_spans", "fields", "sent_to", "size", "span")

    def __init__(
        self,
        span: Any,
        attributes: Mapping[str, Any],
        said: Mapping[Any, Any] | None,
        fields_of: Callable[[Mapping[Any, Any] | None], Fields],
        sent_to: frozenset[str],
    ) -> None:
        self.span = span
        size = _BASE_SIZE
        for key in attributes:  # the SDK's views of values cost twice as much
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
        self._said = said
        self._fields_of = fields_of

    def settle(self) -> None:
        """Make fields of what was said. Called in the background only."""
        self.fields = self._fields_of(self._said)
