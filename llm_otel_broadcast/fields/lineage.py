"""Where a generation hangs: trace id, parent and the root and intermediate spans above it (DESIGN, section 3)."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from typing import Final

from llm_otel_broadcast.fields.ids import derive_span_id, derive_trace_id, new_span_id, new_trace_id, root_span_id
from llm_otel_broadcast.generation import Block, Generation

_MAX_ROOTS: Final = 10_000


class Roots:
    """The root spans this process has opened, so that later calls of a trace refer to the first one's."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[tuple[int, str], Block] = OrderedDict()

    def root(self, trace_id: int, name: str, parent_span_id: int, start_ns: int) -> Block:
        """Return the one root called `name` in the trace; the first caller's start and parent are its own.

        No lock, which a fork could leave held: each operation on the dict is atomic.
        """
        key = (trace_id, name)
        block = self._blocks.get(key)
        if block is None:
            made = Block(name, trace_id, root_span_id(trace_id, name), parent_span_id, start_ns)
            block = self._blocks.setdefault(key, made)
        with suppress(KeyError):
            self._blocks.move_to_end(key)
            if len(self._blocks) > _MAX_ROOTS:
                self._blocks.popitem(last=False)
        return block


def place(record: Generation, current: tuple[int, int] | None, roots: Roots) -> None:
    """Give the record its ids, its parent and its enclosing blocks.

    Args:
        record: `fields` must be set.
        current: trace and span id of the host's current span, None when there is none.
        roots: the book of root spans.
    """
    fields = record.fields
    if fields.trace_id:
        trace_id, parent = derive_trace_id(fields.trace_id), 0
        if fields.parent_span_id:
            parent = derive_span_id(fields.parent_span_id)
    elif fields.parent_span_id:
        trace_id = current[0] if current else new_trace_id()
        parent = derive_span_id(fields.parent_span_id)
    elif current:
        trace_id, parent = current
    else:
        trace_id, parent = new_trace_id(), 0
    blocks: tuple[Block, ...] = ()
    if fields.trace_name and not fields.parent_span_id:
        root = roots.root(trace_id, fields.trace_name, parent, record.start_ns)
        blocks, parent = (root,), root.span_id
    if fields.span_name:
        step = Block(fields.span_name, trace_id, new_span_id(), parent, record.start_ns)
        blocks, parent = (*blocks, step), step.span_id
    record.trace_id, record.parent_span_id, record.blocks = trace_id, parent, blocks
    record.span_id = new_span_id()
