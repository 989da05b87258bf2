"""Where our records and the spans of other instrumentations meet: what a span is, and which calls would be sent twice.

Filled and asked on the host's thread; costs nothing while no `BroadcastSpanProcessor` is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from llm_otel_broadcast.host.bounded import BoundedDict
from llm_otel_broadcast.record.enclosing_span import Opener
from llm_otel_broadcast.record.generation import Generation

TRACERS: Final = (
    "opentelemetry.util.genai",
    "opentelemetry.instrumentation.genai.openai",
    "opentelemetry.instrumentation.openai",
    "openinference.instrumentation.openai",
)
"""Scopes of those who trace the `openai` client."""
INFERENCES: Final = frozenset({"chat", "embeddings", "generate_content", "text_completion", "completion", "embedding"})
"""Operations that are a call to a model."""
_TELLING: Final = frozenset({"gen_ai.operation.name", "openinference.span.kind", "llm.request.type"})
_KINDS: Final = frozenset({"LLM", "EMBEDDING"})
_CLIENT: Final = "CLIENT"
_MAX_MARKS: Final = 10_000


def is_inference(attributes: Mapping[str, Any]) -> bool:
    """Return whether a span's attributes say that it is a call to a model, in any convention."""
    if _TELLING.isdisjoint(attributes):  # most spans are about something else, and looking up what is not there is slow
        return False
    operation = attributes.get("gen_ai.operation.name")
    if operation is not None:
        return operation in INFERENCES
    kind = attributes.get("openinference.span.kind")
    return kind in _KINDS if kind is not None else "llm.request.type" in attributes


def tells_of_a_call(span: Any) -> bool:
    """Return whether a span under way is a call to a model; some have no attributes yet, and are known by who made them."""
    scope = getattr(getattr(span, "instrumentation_scope", None), "name", None) or ""
    if scope.startswith(TRACERS) and getattr(getattr(span, "kind", None), "name", "") == _CLIENT:
        return True
    return is_inference(getattr(span, "attributes", None) or {})


def parent_of(span: Any) -> int:
    """Return the id of the span that a span hangs below, 0 for none."""
    above = getattr(span, "parent", None)
    return above.span_id if above is not None else 0


@dataclass(slots=True)
class Mark:
    """What is known of a span that is under way.

    Attributes:
        is_ours: it tells of a call that we record ourselves.
        said: what the program's contexts say round it.
        above: of a call to a model, the span that it hangs below; 0: none; None: it is something else.
    """

    is_ours: bool = False
    said: Mapping[Any, Any] | None = None
    above: int | None = None


class Overlap:
    """Marks of spans under way, by span id; bounded, as some never end.

    Attributes:
        processors: how many want them.
        sharing: how many of these send to the destinations of `instrument()`.
    """

    def __init__(self) -> None:
        self.processors = 0
        self.sharing = 0
        self._marks: BoundedDict[int, Mark] = BoundedDict(_MAX_MARKS)

    def mark(
        self, span_id: int, *, is_ours: bool = False, said: Mapping[Any, Any] | None = None, above: int | None = None
    ) -> None:
        """Note what is known of a span."""
        found = self._marks.setdefault(span_id, Mark())
        found.is_ours |= is_ours
        found.said = said if found.said is None else found.said
        found.above = above if found.above is None else found.above

    def take(self, span_id: int) -> Mark | None:
        """Return what is known of a span that has ended, and forget it."""
        return self._marks.pop(span_id)

    def claim(self, record: Generation, current: Any) -> None:
        """Note that the current span is another's of the very call that we record; ours hangs where that does.

        Several may tell of one call: a framework's, and below it that of an instrumentation of the client.
        """
        if not self.processors or not current.is_recording() or not tells_of_a_call(current):
            return
        claimed = current.get_span_context().span_id
        parent = parent_of(current)
        self.mark(claimed, is_ours=True)
        ids = {claimed}
        while parent not in ids and (outer := self._marks.get(parent)) is not None and outer.above is not None:
            outer.is_ours = True
            ids.add(parent)
            parent = outer.above
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
