"""What a dialect is given of an enclosing span. Imports only values of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llm_otel_broadcast.record.enclosing_span import EnclosingKind
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.trace_fields import Fields


@dataclass(frozen=True, slots=True)
class EnclosingSpanFacts:
    """An enclosing span as one destination may have it: its place, its times, whom it is for; no content.

    Attributes:
        kind: what the piece of the program that it stands for is.
        subject: what the tool or the agent is called.
        fields: its own, else those of the generation it is sent with, as far as the destination may have them.
        failure: without its message.
        failed_calls: how many generations below a context's did not end well.
        totals: sums over all generations below an outermost span, by the names of `Spent`, and `calls`.
    """

    name: str
    trace_id: int
    span_id: int
    parent_span_id: int
    start_ns: int
    end_ns: int
    kind: EnclosingKind
    subject: str
    fields: Fields
    failure: Failure | None
    failed_calls: int
    totals: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A text that a list of spans shows; `is_json`: it is JSON."""

    text: str = ""
    is_json: bool = False


@dataclass(frozen=True, slots=True)
class EnclosingContent:
    """What was said in an enclosing span, as far as one destination may have it. Empty texts: there is nothing.

    Attributes:
        input: what a function got, else what was asked first below.
        output: what a function returned, else what was answered last below.
        is_of_function: they are a function's own arguments and result.
        error_text: the text of the exception that left it, or of the failure that it takes over.
    """

    input: Excerpt = Excerpt()
    output: Excerpt = Excerpt()
    is_of_function: bool = False
    error_text: str = ""
