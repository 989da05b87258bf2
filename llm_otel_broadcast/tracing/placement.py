"""Where a generation hangs: trace id, parent and the root and intermediate spans above it."""

from __future__ import annotations

from typing import Final, TypeAlias

from llm_otel_broadcast.fields.ids import (
    derive_span_id,
    derive_trace_id,
    new_span_id,
    new_trace_id,
    root_span_id,
)
from llm_otel_broadcast.host.bounded import BoundedDict
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan, Opener
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.trace_fields import Fields

_MAX_ROOTS: Final = 10_000
_Claim: TypeAlias = tuple[int, int, int]
"""Of a root that a context has opened: its id, its parent's and its start."""
SpanIds: TypeAlias = tuple[int, int]
"""Trace id and span id; span id 0: nothing above."""


class Roots:
    """The root spans this process has opened, so that later calls of a trace refer to the first one's."""

    def __init__(self) -> None:
        self._enclosing_spans: BoundedDict[tuple[int, str], EnclosingSpan | _Claim] = BoundedDict(_MAX_ROOTS)

    def root(self, trace_id: int, name: str, parent_span_id: int, start_ns: int) -> EnclosingSpan:
        """Return the one root called `name` in the trace; the first caller's start and parent are its own."""
        # calls of one trace may come from many threads and requests: to a backend they are one tree, which has one root
        key = (trace_id, name)
        root = self._enclosing_spans.get(key)
        # the id is a hash, which is not worth computing for a root that is there
        if root is None:
            new = EnclosingSpan(name, trace_id, root_span_id(trace_id, name), parent_span_id, start_ns)
            root = self._enclosing_spans.setdefault(key, new)
        if isinstance(root, tuple):
            root = EnclosingSpan(name, trace_id, *root, opener=Opener.OTHER_CONTEXT, is_in_app_traces=True)
        return root

    def claim(self, trace_id: int, name: str, parent_span_id: int, start_ns: int) -> int | None:
        """Make a context's own span the root called `name`, which calls elsewhere refer to.

        Returns:
            Its id; None when there is such a root.
        """
        # no reference yet: mostly no call elsewhere asks
        claim = (root_span_id(trace_id, name), parent_span_id, start_ns)
        return claim[0] if self._enclosing_spans.setdefault((trace_id, name), claim) is claim else None

    def clear(self) -> None:
        """Forget them all."""
        self._enclosing_spans.clear()


roots: Final = Roots()
"""Of this process, whatever it is instrumented with."""


def parent_ids(fields: Fields, current: SpanIds | None) -> SpanIds:
    """Return the trace and the span above that the fields or else the host's current span name; a new trace for neither."""
    if fields.trace_id:
        return derive_trace_id(fields.trace_id), derive_span_id(fields.parent_span_id) if fields.parent_span_id else 0
    if fields.parent_span_id:
        return current[0] if current else new_trace_id(), derive_span_id(fields.parent_span_id)
    return current or (new_trace_id(), 0)


def assign_ids(
    record: Generation,
    current: SpanIds | None,
    context_spans: tuple[EnclosingSpan, ...] = (),
    anchor: SpanIds | None = None,
) -> None:
    """Give the record its ids, its parent and its enclosing spans.

    Args:
        record: `fields` must be set.
        current: trace and span id of the host's current span, None when there is none.
        context_spans: the spans of the program's contexts around the call, outermost first; they make a root needless.
        anchor: the span that the call hangs below because of them, whatever its fields say.
    """
    fields = record.fields
    if not (
        current or context_spans or fields.trace_id or fields.parent_span_id or fields.trace_name or fields.span_name
    ):
        record.trace_id, record.span_id = new_trace_id(), new_span_id()
        return
    trace_id, parent = anchor or parent_ids(fields, current)
    enclosing_spans = context_spans
    # a stated parent stands in for a root
    if fields.trace_name and not fields.parent_span_id and not context_spans:
        root = roots.root(trace_id, fields.trace_name, parent, record.start_ns)
        enclosing_spans, parent = (root,), root.span_id
    if fields.span_name:
        step = EnclosingSpan(fields.span_name, trace_id, new_span_id(), parent, record.start_ns)
        enclosing_spans, parent = (*enclosing_spans, step), step.span_id
    record.trace_id, record.parent_span_id, record.enclosing_spans = trace_id, parent, enclosing_spans
    record.span_id = new_span_id()
