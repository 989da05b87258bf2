"""Where our records and the spans of other instrumentations meet: what a span is, and which calls would be sent twice.

Filled and asked on the host's thread; costs nothing while no `BroadcastSpanProcessor` is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry import trace

from llm_otel_broadcast.clients import LIBRARIES
from llm_otel_broadcast.fields.merge import TraceObject
from llm_otel_broadcast.host.bounded import BoundedDict
from llm_otel_broadcast.record.enclosing_span import Opener
from llm_otel_broadcast.record.generation import Generation

INFERENCES: Final = frozenset({"chat", "embeddings", "generate_content", "text_completion", "completion", "embedding"})
"""Operations that are a call to a model."""
_MARKS_OF_ANY_CALL: Final = frozenset({"gen_ai.operation.name", "openinference.span.kind", "llm.request.type"})
_OPENINFERENCE_KINDS: Final = frozenset({"LLM", "EMBEDDING"})
_CLIENT: Final = "CLIENT"
_MAX_MARKS: Final = 10_000


def is_inference(attributes: Mapping[str, object]) -> bool:
    """Return whether a span's attributes say that it is a call to a model, in any convention."""
    # most spans are about something else, and looking up what is not there is slow
    if _MARKS_OF_ANY_CALL.isdisjoint(attributes):
        return False
    operation = attributes.get("gen_ai.operation.name")
    if operation is not None:
        return operation in INFERENCES
    kind = attributes.get("openinference.span.kind")
    return kind in _OPENINFERENCE_KINDS if kind is not None else "llm.request.type" in attributes


def tells_of_a_call(span: object) -> bool:
    """Return whether a span under way is a call to a model."""
    # some get their attributes only when they end: those are known by who made them
    scope = getattr(getattr(span, "instrumentation_scope", None), "name", None) or ""
    if scope.startswith(LIBRARIES.other_tracers) and getattr(getattr(span, "kind", None), "name", "") == _CLIENT:
        return True
    return is_inference(getattr(span, "attributes", None) or {})


def parent_of(span: object) -> int:
    """Return the id of the span that a span hangs below, 0 for none."""
    parent: trace.SpanContext | None = getattr(span, "parent", None)
    return parent.span_id if parent is not None else 0


class Mark:
    """What is known of a span that is under way.

    Attributes:
        is_ours: it tells of a call that we record ourselves.
        context_fields: the fields of the program's contexts around it.
        parent_span_id: of a call to a model, the span that it hangs below; 0: none; None: it is something else.
    """

    __slots__ = ("context_fields", "is_ours", "parent_span_id")

    def __init__(self) -> None:
        self.is_ours = False
        self.context_fields: TraceObject | None = None
        self.parent_span_id: int | None = None


class Overlap:
    """Marks of spans under way, by span id; bounded, as some never end.

    Attributes:
        processors: how many want them.
        sharing: how many of these send to the destinations of `instrument()`: there, what we record must hang where their span
            would have, which is left out.
    """

    def __init__(self) -> None:
        self.processors = 0
        self.sharing = 0
        self._marks: BoundedDict[int, Mark] = BoundedDict(_MAX_MARKS)

    def mark(
        self,
        span_id: int,
        *,
        is_ours: bool = False,
        context_fields: TraceObject | None = None,
        parent_span_id: int | None = None,
    ) -> None:
        """Note what is known of a span."""
        mark = self._marks.setdefault(span_id, Mark())
        mark.is_ours |= is_ours
        mark.context_fields = context_fields if mark.context_fields is None else mark.context_fields
        mark.parent_span_id = parent_span_id if mark.parent_span_id is None else mark.parent_span_id

    def take(self, span_id: int) -> Mark | None:
        """Return what is known of a span that has ended, and forget it."""
        return self._marks.pop(span_id)

    def claim(self, record: Generation, current: trace.Span) -> None:
        """Note that the current span is another's of the very call that we record; ours hangs where that does.

        Several may tell of one call: a framework's, and below it that of an instrumentation of the client.
        """
        if not self.processors or not current.is_recording() or not tells_of_a_call(current):
            return
        claimed = current.get_span_context().span_id
        parent = parent_of(current)
        self.mark(claimed, is_ours=True)
        ids = {claimed}
        # `ids` also ends a chain that leads to itself
        while parent not in ids and (mark := self._marks.get(parent)) is not None and mark.parent_span_id is not None:
            mark.is_ours = True
            ids.add(parent)
            parent = mark.parent_span_id
        if not self.sharing:
            return
        if record.parent_span_id in ids:
            record.parent_span_id = parent
        for enclosing_span in record.enclosing_spans[:1]:
            if enclosing_span.parent_span_id in ids and enclosing_span.opener is not Opener.CONTEXT:
                enclosing_span.parent_span_id = parent

    def clear(self) -> None:
        """Forget all marks."""
        self._marks.clear()


overlap: Final = Overlap()
"""Of this process."""
