"""Generations that no watched client made: a local model, another SDK. The program reports what it knows of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypedDict, TypeVar

from llm_otel_broadcast.fields.ids import new_span_id, new_trace_id
from llm_otel_broadcast.fields.json_text import bounded_json
from llm_otel_broadcast.host.deferred import Deferred
from llm_otel_broadcast.host.guard import Guard, or_else
from llm_otel_broadcast.record.content import Content
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.function_content import FunctionContent
from llm_otel_broadcast.record.generation import Choice, Generation
from llm_otel_broadcast.record.server import Server
from llm_otel_broadcast.record.usage import Usage
from llm_otel_broadcast.tracing.scope import Scope, current_span_ids, sinks
from llm_otel_broadcast.tracing.traced_call import shallow

_REPORTING: Final = Guard("reporting a generation")
Number = TypeVar("Number", int, float)


class ReportedFacts(TypedDict, total=False):
    """The arguments of `record()`; None says nothing."""

    model: str | None
    operation: str | None
    provider: str | None
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cost: float | None
    finish_reason: str | None
    response_id: str | None
    input: object
    output: object


_NAMES: Final = frozenset(ReportedFacts.__annotations__)


def check_names(reported: ReportedFacts) -> None:
    """Refuse what is no fact.

    Raises:
        TypeError: naming it, and what there is.
    """
    for name in reported.keys() - _NAMES:
        raise TypeError(f"record() got an unexpected keyword argument {name!r}; it knows {', '.join(sorted(_NAMES))}")


def _text(name: str, value: object, otherwise: str | None) -> str | None:
    if value is None:
        return otherwise
    if not isinstance(value, str):
        raise TypeError(f"record(): {name} must be text, got {type(value).__name__}")
    # of a member of a `str` enum its value
    return str.__str__(value)


def _number(
    name: str, value: object, otherwise: Number | None, convert: Callable[[object], Number | None]
) -> Number | None:
    if value is None:
        return otherwise
    number = or_else(partial(convert, value), None)
    if number is None:
        raise TypeError(f"record(): {name} must be a number, got {type(value).__name__}")
    return number


def _amount(value: object) -> float | None:
    """Return a number of any kind (numpy's, a Decimal) as a float; None is no number."""
    # a truth value has `__float__`, and as a number it is a mistake
    return float(value) if hasattr(value, "__float__") and not isinstance(value, bool) else None


def _count(value: object) -> int | None:
    amount = _amount(value)
    # 12.0 is a count, 12.5 is a mistake
    return None if amount is None or not amount.is_integer() else int(amount)


@dataclass(slots=True)
class Facts:
    """What was reported of one generation; None is not known.

    Attributes:
        content: what went in and what came back.
        first_piece_ns: nanoseconds from the start to the first piece of several.
        are_stated: the program has stated any.
        has_stated_output: the program said itself what came back.
    """

    model: str | None = None
    operation: str = "chat"
    provider: str | None = None
    finish_reason: str | None = None
    response_id: str | None = None
    usage: Usage = field(default_factory=Usage)
    content: FunctionContent = field(default_factory=FunctionContent)
    first_piece_ns: int | None = None
    are_stated: bool = False
    has_stated_output: bool = False

    def update(self, reported: ReportedFacts) -> None:
        """Take reported facts over those known before; None says nothing.

        Raises:
            TypeError: a fact of a wrong type; the text names it and the fix.
        """
        get = reported.get
        self.are_stated = True
        self.model = _text("model", get("model"), self.model)
        self.operation = _text("operation", get("operation"), self.operation) or self.operation
        self.provider = _text("provider", get("provider"), self.provider)
        self.finish_reason = _text("finish_reason", get("finish_reason"), self.finish_reason)
        self.response_id = _text("response_id", get("response_id"), self.response_id)
        usage = self.usage
        usage.input_tokens = _number("input_tokens", get("input_tokens"), usage.input_tokens, _count)
        usage.output_tokens = _number("output_tokens", get("output_tokens"), usage.output_tokens, _count)
        usage.total_tokens = _number("total_tokens", get("total_tokens"), usage.total_tokens, _count)
        usage.cost = _number("cost", get("cost"), usage.cost, _amount)
        if get("input") is not None:
            self.content.inputs = {"input": shallow(get("input"))}
        if get("output") is not None:
            self.content.pieces, self.has_stated_output = [shallow(get("output"))], True

    def generation(self, own_span: EnclosingSpan, enclosing: Sequence[EnclosingSpan], *, content: bool) -> Generation:
        """Return the record: the place in the trace and the times of a span, with these facts."""
        record = Generation(self.operation)
        record.trace_id, record.span_id = own_span.trace_id, own_span.span_id
        record.parent_span_id = own_span.parent_span_id
        record.start_ns = own_span.start_ns
        record.enclosing_spans = tuple(enclosing)
        # unknown is unknown: a local model has no provider that we could name
        record.server = Server(self.provider or "", "")
        record.request_model = self.model
        record.response_id = self.response_id
        # nothing reported is no usage, not a usage of zero
        record.usage = self.usage if self.usage != Usage() else None
        record.first_chunk_ns = self.first_piece_ns
        record.choices = [Choice(finish_reason=self.finish_reason)] if self.finish_reason else []
        if content:
            record.wants_content = True
            record.read_content = _content_of
            record.size += self.content.size
            record.pending = Deferred(self._fill, record)
        record.end(own_span.failure, at_ns=own_span.end_ns)
        return record

    def _fill(self, record: Generation) -> None:
        """Turn arguments and results into text; in the background, because it takes JSON."""
        argument, result = self.content.argument(), self.content.result()
        # a single text is as it is, anything else JSON
        if argument is not None and "inputs" not in record.unwanted:
            text = argument if isinstance(argument, str) else bounded_json(argument)[0]
            record.messages = [{"role": "user", "parts": [{"type": "text", "content": text}]}]
        if result is not None and "outputs" not in record.unwanted:
            choice = record.choices[0] if record.choices else Choice()
            choice.content = result if isinstance(result, str) else bounded_json(result)[0]
            record.choices = [choice]


def _content_of(record: Generation) -> Content:
    """Return what `_fill` has kept, which is neutral content already."""
    inputs = [message for message in record.messages or () if isinstance(message, dict)]
    outputs: list[dict[str, object]] = [
        {
            "role": choice.role,
            "parts": [{"type": "text", "content": choice.content}] if choice.content else [],
            **({"finish_reason": choice.finish_reason} if choice.finish_reason else {}),
        }
        for choice in record.choices
    ]
    return Content(inputs=inputs, outputs=outputs)


def report(scope: Scope, reported: ReportedFacts) -> None:
    """Report a generation inside a context: it spans from the start of the context to now.

    Raises:
        TypeError: see `check_names` and `Facts.update`.
    """
    check_names(reported)
    facts = Facts()
    facts.update(reported)
    with _REPORTING:
        trace_id, parent = scope.anchor(current_span_ids()) if scope.enclosing_spans else scope.parent_ids
        # only its ids and times are taken: it is the generation, and no span of its own
        own_span = EnclosingSpan("", trace_id or new_trace_id(), new_span_id(), parent, scope.start_ns, time.time_ns())
        sink = sinks.primary
        if sink is not None:
            for enclosing_span in scope.enclosing_spans:
                enclosing_span.generations += 1
            record = facts.generation(own_span, scope.enclosing_spans, content=sink.wants_content)
            sink.reported(record, scope)
