"""The record of a root or intermediate span: one that encloses generations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.sizes import text_size
from llm_otel_broadcast.record.totals import Totals
from llm_otel_broadcast.record.trace_fields import Fields

_BASE_SIZE: Final = 2_000


@dataclass(slots=True, eq=False)
class EnclosingSpan:
    """A root or intermediate span that encloses generations. Shared by all of them; a lane sends it once.

    One that a call names ends with the last generation below it so far. One that a context of the program's opened
    (`is_scoped`) ends with that context, may fail, and says of itself what it is for.
    """

    name: str
    trace_id: int
    span_id: int
    parent_span_id: int
    start_ns: int
    end_ns: int = 0
    is_open: bool = False
    """The app's own provider has its courtesy span already."""
    is_elsewhere: bool = False
    """Only referred to: a scoped block is the span of this id."""
    is_scoped: bool = False
    fields: Fields | None = None
    """Of a scoped block; else the generation's own are its."""
    with_calls_only: bool = False
    """It is sent only if a generation happened below it."""
    is_apart: bool = False
    """Of a scoped block: its place is not that of a span in the app's traces."""
    is_handed_on: bool = False
    """The settings that took what is below have been replaced: the new ones send it whatever went through them."""
    hides_errors: bool = False
    """Something private happened below: the text of an exception that leaves may quote it."""
    generations: int = 0
    """How many began below a scoped block."""
    latest_ns: int = 0
    """When the last one below a scoped block ended, so far."""
    totals: tuple[Totals, Totals] | None = None
    """Of an outermost one: what is below as known at each end, and once it is rendered, estimated costs included."""
    when_whole: list[Callable[[], None]] = field(default_factory=list)
    """What is to happen once everything below has ended."""
    failure: Failure | None = None
    app_span: Any = None
    """The courtesy span of a scoped block; it ends with the block."""

    @property
    def size(self) -> int:
        """Estimate of the bytes held."""
        metadata = text_size(self.fields.metadata) if self.fields is not None and self.fields.metadata else 0
        return _BASE_SIZE + metadata + (len(self.failure.message) if self.failure is not None else 0)

    def is_whole(self, *, rendered: bool = False) -> bool:
        """Whether everything below has ended, or been rendered, too: a stream may outlive the block that it began in."""
        return self.totals is None or self.totals[rendered].calls >= self.generations

    def settle(self) -> None:
        """Do what has waited for the block to be whole, once; asked again whenever something below has ended."""
        while self.when_whole and self.is_whole():
            with suppress(IndexError):  # another thread was quicker
                self.when_whole.pop()()
