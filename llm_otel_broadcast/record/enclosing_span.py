"""The record of a root or intermediate span: one that encloses generations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.sizes import text_size
from llm_otel_broadcast.record.totals import Totals
from llm_otel_broadcast.record.trace_fields import Fields

# For their types alone: this room imports nothing of OpenTelemetry's, and few programs trace functions.
if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from llm_otel_broadcast.record.function_content import FunctionContent

EnclosingKind: TypeAlias = Literal["chain", "tool", "agent", "retriever"]
ENCLOSING_KINDS: Final[tuple[EnclosingKind, ...]] = ("chain", "tool", "agent", "retriever")
"""What a piece of the program may be that has a span of its own."""
OPERATIONS: Final = {"tool": "execute_tool", "agent": "invoke_agent", "retriever": "retrieval"}
"""What the GenAI conventions call what they do (`gen_ai.operation.name`); of any other step nothing."""
_BASE_SIZE_BYTES: Final = 2_000


class Opener(Enum):
    """What opened an enclosing span, and with that: when it ends and who sends it."""

    CALL = auto()
    """A call names it. It ends with the last generation below it so far, and goes with these."""
    CONTEXT = auto()
    """A context of the program's. It ends with that context, may fail, has fields of its own and is sent by itself."""
    OTHER_CONTEXT = auto()
    """The same, seen from a call outside of that context: a reference to its span, which is not sent."""


# For the host's thread: Python 3.11 runs a function, 2,600 instructions, wherever a member of an enumeration is looked up.
CONTEXT: Final = Opener.CONTEXT


@dataclass(slots=True, eq=False)
class EnclosingSpan:
    """A root or intermediate span that encloses generations. Shared by all of them; a lane sends it once.

    Attributes:
        name: its name.
        trace_id: its trace.
        span_id: its id.
        parent_span_id: the span that it hangs below; 0: none.
        start_ns: when it began.
        end_ns: when it ended; 0: it has not.
        kind: what the piece of the program that it stands for is.
        subject: what the tool or the agent is called, where that is not the span's name.
        function_content: what a decorated function got and returned, if anybody wants content.
        opener: what opened it.
        fields: of a context's; else the generations' own are its.
        is_in_app_traces: the app's provider has its courtesy span already, so that later calls begin no second one.
        ignores_current_span: calls below hang below it whatever span of the app's is current, because its ids were stated or
            because the app's traces do not have it.
        needs_generations: it is sent only if a generation, or a span that needs none, was below it.
        has_outlived_settings: the settings that it began with have been replaced; the new ones send it, whatever went to the
            destinations through the old ones.
        hides_texts: something private happened below: the text of an exception that leaves may quote it, and so may what the
            function got and returned.
        generations: how many began below a context's.
        latest_end_ns: when the last one below a context's ended, so far.
        totals: of an outermost one: what is below as known at each end, and once it is rendered, estimated costs included.
        on_complete: what is to be called once everything below has ended.
        failure: the exception that left the context.
        failed_calls: how many generations below a context's did not end well.
        app_span: the courtesy span of a context's; it ends with the context.
    """

    name: str
    trace_id: int
    span_id: int
    parent_span_id: int
    start_ns: int
    end_ns: int = 0
    kind: EnclosingKind = "chain"
    subject: str = ""
    function_content: FunctionContent | None = None
    opener: Opener = Opener.CALL
    fields: Fields | None = None
    is_in_app_traces: bool = False
    ignores_current_span: bool = False
    needs_generations: bool = False
    has_outlived_settings: bool = False
    hides_texts: bool = False
    generations: int = 0
    latest_end_ns: int = 0
    totals: tuple[Totals, Totals] | None = None
    on_complete: list[Callable[[], None]] = field(default_factory=list)
    failure: Failure | None = None
    failed_calls: int = 0
    app_span: Span | None = None

    @property
    def size(self) -> int:
        """Estimate of the bytes held."""
        metadata = text_size(self.fields.metadata) if self.fields is not None and self.fields.metadata else 0
        content = self.function_content.size if self.function_content is not None else 0
        return _BASE_SIZE_BYTES + metadata + content + (len(self.failure.message) if self.failure is not None else 0)

    def is_complete(self, *, rendered: bool = False) -> bool:
        """Return whether everything below has ended, or has been rendered, too.

        A stream may outlive the context that it began in.
        """
        # The second are those of what has been rendered.
        return self.totals is None or self.totals[rendered].calls >= self.generations

    def call_on_complete(self) -> None:
        """Call what has waited for the span to be complete, once; to be tried whenever something below has ended."""
        while self.on_complete and self.is_complete():
            # several threads end generations: another one may have taken the last
            with suppress(IndexError):
                self.on_complete.pop()()
