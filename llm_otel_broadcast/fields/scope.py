"""What the program has said round the calls it makes: fields, and the spans that its contexts opened.

One scope a context; the current one travels with `contextvars` through tasks and `asyncio.to_thread`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Protocol

from opentelemetry import context as otel_context
from opentelemetry import trace

from llm_otel_broadcast.fields.ids import new_span_id, root_span_id
from llm_otel_broadcast.fields.lineage import Place, roots, stated_place
from llm_otel_broadcast.fields.merge import as_text, has_ids, merge, over
from llm_otel_broadcast.generation import Block, Failure, Generation
from llm_otel_broadcast.guard import Guard, ask

_OPENING: Final = Guard("opening a trace context")
_CLOSING: Final = Guard("closing a trace context")


class Sink(Protocol):
    """Who wants to know of blocks: the newest `instrument()`, and those for single clients."""

    def block_opened(self, block: Block, said: Mapping[Any, Any]) -> trace.Span | None:
        """Complete the block's fields from what was said; return the span that is to be current in it, None for none."""

    def block_closed(self, block: Block, said: Mapping[Any, Any]) -> None:
        """Take a block that has ended."""

    def reported(self, record: Generation, said: Mapping[Any, Any], block: Block | None = None) -> None:
        """Take a generation that the program itself reported; `block` is the span it turned out to be."""

    @property
    def wants_content(self) -> bool:
        """Whether anybody wants content at all."""

    @property
    def joins(self) -> bool:
        """Whether what is sent hangs below the app's own current span."""


class Sinks:
    """The sinks of this process; the first one makes courtesy spans."""

    def __init__(self) -> None:
        self.all: tuple[Sink, ...] = ()


sinks: Final = Sinks()


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """What holds for calls made inside a context.

    Attributes:
        said: the fields of this context over those of the outer ones.
        blocks: the spans opened by this and the outer contexts, outermost first.
        is_explicit: the ids of the blocks were given: calls hang below the innermost block, whatever span is current.
    """

    said: dict[Any, Any]
    blocks: tuple[Block, ...] = ()
    is_explicit: bool = False

    def anchor(self, current: Place | None) -> Place:
        """Return where a call inside hangs."""
        innermost = self.blocks[-1]
        if self.is_explicit or current is None:
            return innermost.trace_id, innermost.span_id
        return current

    def place(self) -> Place | None:
        """Return the trace and the span that calls inside hang below as far as it is known before they are made."""
        if self.blocks:
            innermost = self.blocks[-1]
            return innermost.trace_id, innermost.span_id
        fields = merge(self.said, None, None, {})
        return stated_place(fields, None) if fields.trace_id else None


_current: ContextVar[Scope | None] = ContextVar("llm_otel_broadcast_scope", default=None)


def current_place() -> Place | None:
    """Return trace and span id of the host's current span, None when there is none."""
    around = trace.get_current_span().get_span_context()
    return (around.trace_id, around.span_id) if around.is_valid else None


def current_scope() -> Scope | None:
    """Return the innermost scope, None outside of all contexts."""
    return _current.get()


class OpenScope:
    """A context from its beginning to its end. Current only between `enter` and `leave`, which may alternate."""

    __slots__ = ("_attached", "_before", "_late", "_opened", "_outer", "_span", "_with_calls_only", "scope")

    def __init__(self, given: Mapping[Any, Any], *, with_calls_only: bool = False) -> None:
        """Begin a context.

        Args:
            given: its fields. A `trace_name` that is no text is asked for its text again at the end.
            with_calls_only: its spans are sent only if a generation happened below.
        """
        name = given.get("trace_name")
        self._late = None if name is None or isinstance(name, str) else name
        self._with_calls_only = with_calls_only
        self._outer = _current.get()
        self._opened: tuple[Block, ...] = ()
        self._span: trace.Span | None = None
        self._attached: Any = None
        self._before: Any = None
        self.scope = Scope(dict(given))
        with _OPENING:
            self.scope = self._open(given)

    def _open(self, given: Mapping[Any, Any]) -> Scope:
        outer = self._outer or Scope({})
        said = over(outer.said, given)
        span_name = as_text(said.pop("span_name", None))
        fields = merge(said, None, None, {})
        apart = has_ids(given) or not outer.blocks
        current = current_place() if all(sink.joins for sink in sinks.all[:1]) else None
        where = stated_place(fields, current) if apart else outer.anchor(current)
        enclosing = () if apart else outer.blocks
        names = []
        if as_text(given.get("trace_name")) and not (apart and fields.parent_span_id):
            names.append((fields.trace_name or "", apart))
        if span_name:
            names.append((span_name, False))
        for name, is_root in names:
            outermost = not (enclosing or self._opened)
            where = self._begin(name, where, said, is_root=is_root, outermost=outermost)
        is_explicit = bool(fields.trace_id or fields.parent_span_id) if apart else outer.is_explicit
        return Scope(said, (*enclosing, *self._opened), is_explicit)

    def _begin(self, name: str, where: Place, said: Mapping[Any, Any], *, is_root: bool, outermost: bool) -> Place:
        """Open a block below `where`; return the place below it."""
        trace_id, parent = where
        now = time.time_ns()
        span_id = new_span_id()
        if is_root and self._late is None and roots.claim(trace_id, name, parent, now):
            span_id = root_span_id(trace_id, name)
        block = Block(name, trace_id, span_id, parent, now, is_scoped=True, is_outermost=outermost)
        block.with_calls_only = self._with_calls_only
        block.fields = merge(said, None, None, {})
        self._opened = (*self._opened, block)
        for sink in sinks.all[:1]:
            with trace.use_span(self._span, end_on_exit=False) if self._span else nullcontext():
                self._span = sink.block_opened(block, said) or self._span
        return block.trace_id, block.span_id

    def enter(self) -> None:
        """Make the scope and its innermost span current."""
        _current.set(self.scope)
        if self._span is not None:
            self._before = otel_context.get_current()
            self._attached = trace.set_span_in_context(self._span)
            otel_context.attach(self._attached)

    def leave(self) -> None:
        """Put back what was current, unless control has moved to another context meanwhile (then ours is not there)."""
        if _current.get() is self.scope:
            _current.set(self._outer)
        attached, self._attached = self._attached, None
        if attached is not None and otel_context.get_current() is attached:
            otel_context.attach(self._before)  # no detach: its token belongs to the context that `enter` ran in

    def took(self, value: Any) -> None:
        """Take what a decorated function returned: nothing to a plain context."""

    def yielded(self, value: Any) -> None:
        """Take one of the values that a decorated generator yielded: likewise."""

    def close(self, error: BaseException | None = None) -> None:
        """End the spans that this context opened, innermost first; only the first time counts."""
        with _CLOSING:
            failure = None
            if error is not None and not isinstance(error, GeneratorExit):
                failure = Failure(type(error).__qualname__, ask(lambda: str(error), ""))
            now = time.time_ns()
            opened, self._opened = self._opened, ()
            if opened and self._late is not None:
                opened[0].name = as_text(self._late) or opened[0].name
            for block in reversed(opened):
                block.end_ns, block.failure = now, failure
                self._end(block)

    def _end(self, block: Block) -> None:
        for sink in sinks.all:
            sink.block_closed(block, self.scope.said)
