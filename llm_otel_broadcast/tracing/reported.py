"""Generations that no watched client made: a local model, another SDK. The program says what is to be known of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from llm_otel_broadcast.fields.ids import new_span_id, new_trace_id
from llm_otel_broadcast.fields.json_text import bounded_json
from llm_otel_broadcast.host.guard import Guard, or_else
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.generation import Choice, Generation
from llm_otel_broadcast.record.server import Server
from llm_otel_broadcast.record.usage import Usage
from llm_otel_broadcast.tracing.scope import Scope, current_place, sinks

_REPORTING: Final = Guard("reporting a generation")
_MAX_KEPT: Final = 1_000_000
_UNMEASURED: Final = 1_000
"""What a value counts that has no length we know: a thousand of them are kept, or a million characters."""


def _amount(value: object) -> float | None:
    """Return a number of any kind (numpy's, a Decimal) as a float; None is no number."""
    return float(value) if hasattr(value, "__float__") and not isinstance(value, bool) else None


def _count(value: object) -> int | None:
    amount = _amount(value)
    return None if amount is None or not amount.is_integer() else int(amount)


_NUMBERS: Final[Mapping[str, Callable[[object], float | None]]] = {
    "input_tokens": _count,
    "output_tokens": _count,
    "total_tokens": _count,
    "cost": _amount,
}
_TEXTS: Final = ("model", "operation", "provider", "finish_reason", "response_id")


@dataclass(slots=True)
class Facts:
    """What was reported of one generation; None is not known.

    Attributes:
        inputs: arguments by name; content.
        pieces: what came back, piece by piece; content.
        first_ns: nanoseconds from the start to the first piece of several.
        is_told: the program said itself what came back.
        kept: the characters that `pieces` hold, roughly.
    """

    model: str | None = None
    operation: str = "chat"
    provider: str | None = None
    finish_reason: str | None = None
    response_id: str | None = None
    usage: Usage = field(default_factory=Usage)
    inputs: Mapping[str, object] | None = None
    pieces: list[object] = field(default_factory=list)
    first_ns: int | None = None
    is_told: bool = False
    kept: int = 0

    def take(self, told: Mapping[str, object]) -> None:
        """Take reported facts over those known before; None says nothing.

        Raises:
            TypeError: an unknown fact, or one of a wrong type; the text names it and the fix.
        """
        for name, value in told.items():
            if value is None:
                continue
            if name in _TEXTS and isinstance(value, str):
                setattr(self, name, value)
            elif name in _NUMBERS and (number := or_else(partial(_NUMBERS[name], value), None)) is not None:
                setattr(self.usage, name, number)
            elif name == "output":
                self.pieces, self.is_told = [shallow(value)], True
            elif name == "input":
                self.inputs = {"input": shallow(value)}
            else:
                raise TypeError(_complaint(name, value))

    def took(self, value: object) -> None:
        """Take what a function returned."""
        if value is not None and not self.is_told:
            self.pieces = [shallow(value)]

    def piece(self, value: object, *, since_ns: int, kept: bool) -> None:
        """Take a value that a generator yielded; what is not to be kept only says when the first one came."""
        if self.first_ns is None:
            self.first_ns = time.time_ns() - since_ns
        if kept and not self.is_told and self.kept < _MAX_KEPT:
            self.kept += _size(value)
            self.pieces.append(shallow(value))

    def generation(
        self, enclosing_span: EnclosingSpan, enclosing: Sequence[EnclosingSpan], *, content: bool
    ) -> Generation:
        """Return the record: the block's place in the trace and its times, with these facts."""
        record = Generation(self.operation)
        record.trace_id, record.span_id, record.parent_span_id = (
            enclosing_span.trace_id,
            enclosing_span.span_id,
            enclosing_span.parent_span_id,
        )
        record.start_ns = enclosing_span.start_ns
        record.enclosing_spans = tuple(enclosing)
        record.server = Server(self.provider or "", "")
        record.request_model = self.model
        record.response_id = self.response_id
        record.usage = self.usage if self.usage != Usage() else None
        record.first_chunk_ns = self.first_ns
        record.choices = [Choice(finish_reason=self.finish_reason)] if self.finish_reason else []
        if content:
            record.wants_content = True
            record.size += sum(map(_size, (*self.pieces, *(self.inputs or {}).values())))
            record.pending = lambda: self._fill(record)
        record.end(enclosing_span.failure, at_ns=enclosing_span.end_ns)
        return record

    def _fill(self, record: Generation) -> None:
        """Turn arguments and results into text; in the background, because it takes JSON."""
        if self.inputs and "inputs" not in record.unwanted:
            record.messages = [{"role": "user", "content": _as_text(self.inputs)}]
        if self.pieces and "outputs" not in record.unwanted:
            choice = record.choices[0] if record.choices else Choice()
            choice.content = _joined(self.pieces)
            record.choices = [choice]


def report(scope: Scope, told: Mapping[str, object]) -> None:
    """Report a generation inside a context: it spans from the start of the context to now.

    Raises:
        TypeError: see `Facts.take`.
    """
    facts = Facts()
    facts.take(told)
    with _REPORTING:
        trace_id, parent = scope.anchor(current_place()) if scope.enclosing_spans else scope.place
        own = EnclosingSpan("", trace_id or new_trace_id(), new_span_id(), parent, scope.since_ns, time.time_ns())
        for sink in sinks.all[:1]:
            for enclosing_span in scope.enclosing_spans:
                enclosing_span.generations += 1
            record = facts.generation(own, scope.enclosing_spans, content=sink.wants_content)
            sink.reported(record, scope.said)


def shallow(value: object) -> object:
    """Copy a container one deep: the program may go on changing it."""
    return or_else(value.copy, value) if isinstance(value, list | dict | set) else value


def _size(value: object) -> int:
    return len(value) if isinstance(value, str | bytes) else _UNMEASURED


def _as_text(inputs: Mapping[str, object]) -> str:
    """Return a single text argument as it is, anything else as JSON."""
    values = list(inputs.values())
    if len(values) == 1 and isinstance(values[0], str):
        return values[0]
    return bounded_json(inputs)[0]


def _joined(pieces: Sequence[object]) -> str:
    texts = [piece for piece in pieces if isinstance(piece, str)]
    if len(texts) == len(pieces):
        return "".join(texts)
    return bounded_json(pieces[0] if len(pieces) == 1 else list(pieces))[0]


def _complaint(name: str, value: Any) -> str:
    if name in _TEXTS:
        return f"record(): {name} must be text, got {type(value).__name__}"
    if name in _NUMBERS:
        return f"record(): {name} must be a number, got {type(value).__name__}"
    known = ", ".join((*_TEXTS, *_NUMBERS, "input", "output"))
    return f"record(): {name!r} is not a fact it knows: one of {known}"
