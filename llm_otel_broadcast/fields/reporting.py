"""Generations that no watched client made: a local model, another SDK. The program says what is to be known of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from llm_otel_broadcast.fields.ids import new_span_id
from llm_otel_broadcast.fields.json_text import bounded_json
from llm_otel_broadcast.fields.scope import Scope, sinks
from llm_otel_broadcast.generation import Block, Choice, Generation, Server, Usage
from llm_otel_broadcast.guard import Guard

_REPORTING: Final = Guard("reporting a generation")
_MAX_PIECES: Final = 100_000
_NUMBERS: Final = {
    "input_tokens": int,
    "output_tokens": int,
    "total_tokens": int,
    "cost": float,
}
_TEXTS: Final = ("model", "operation", "provider", "finish_reason", "response_id")


@dataclass(slots=True)
class Facts:
    """What was reported of one generation; None is not known.

    Attributes:
        inputs: arguments by name; content.
        pieces: what came back, piece by piece; content.
        first_ns: nanoseconds from the start to the first piece of several.
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
    """The program said itself what came back."""

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
            elif name in _NUMBERS and isinstance(value, int | _NUMBERS[name]) and not isinstance(value, bool):
                setattr(self.usage, name, _NUMBERS[name](value))
            elif name == "output":
                self.pieces, self.is_told = [value], True
            elif name == "input":
                self.inputs = {"input": value}
            else:
                raise TypeError(_complaint(name, value))

    def took(self, value: object) -> None:
        """Take what a function returned."""
        if value is not None and not self.is_told:
            self.pieces = [value]

    def piece(self, value: object, *, since_ns: int) -> None:
        """Take a value that a generator yielded."""
        if self.first_ns is None:
            self.first_ns = time.time_ns() - since_ns
        if not self.is_told and len(self.pieces) < _MAX_PIECES:
            self.pieces.append(value)

    def generation(self, block: Block, enclosing: Sequence[Block], *, content: bool) -> Generation:
        """Return the record: the block's place in the trace and its times, with these facts."""
        record = Generation(self.operation)
        record.trace_id, record.span_id, record.parent_span_id = block.trace_id, block.span_id, block.parent_span_id
        record.start_ns, record.end_ns = block.start_ns, block.end_ns
        record.blocks = tuple(enclosing)
        record.server = Server(self.provider or "", "")
        record.request_model = self.model
        record.response_id = self.response_id
        record.usage = self.usage if self.usage != Usage() else None
        record.failure = block.failure
        record.first_chunk_ns = self.first_ns
        record.choices = [Choice(finish_reason=self.finish_reason)] if self.finish_reason else []
        if content:
            record.wants_content = True
            record.size += sum(len(piece) for piece in self.pieces if isinstance(piece, str))
            record.pending = lambda: self._fill(record)
        record.ended = True
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
    """Report a generation inside a scope: it spans from the start of the scope's innermost block to now.

    Raises:
        TypeError: see `Facts.take`.
    """
    facts = Facts()
    facts.take(told)
    with _REPORTING:
        place = scope.place() or (0, 0)
        above = scope.blocks[-1] if scope.blocks else None
        now = time.time_ns()
        own = Block("", place[0], new_span_id(), place[1], above.start_ns if above else now, now)
        for block in scope.blocks:
            block.generations += 1
        for sink in sinks.all[:1]:
            record = facts.generation(own, scope.blocks, content=sink.wants_content)
            sink.reported(record, scope.said)


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
