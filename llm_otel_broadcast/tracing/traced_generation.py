"""`@traced_generation`: a function as a span, which is the generation itself when it records one and nothing inside is one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Unpack, overload

from llm_otel_broadcast.fields.merge import TraceObject, as_text
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.tracing.function_kinds import Function, Steps, around
from llm_otel_broadcast.tracing.reported import Facts, ReportedFacts, check_names
from llm_otel_broadcast.tracing.scope import innermost_scope
from llm_otel_broadcast.tracing.trace_context import add_fields
from llm_otel_broadcast.tracing.traced_call import READING_RESULT, FunctionArguments, TracedCall


class GenerationHandle:
    """The decorated call that is running, to say what it knows about itself. Outside of any it does nothing."""

    def __init__(self, call: DecoratedCall | None) -> None:
        self._call = call

    def record(self, **facts: Unpack[ReportedFacts]) -> None:
        """Report what is known of the generation; may be called several times. Has no effect where calls inside are traced.

        Args:
            facts: each by keyword; None says nothing.

                - `model`: the model that answered.
                - `operation`: `gen_ai.operation.name`; default `chat`.
                - `provider`: `gen_ai.provider.name`.
                - `input_tokens`: tokens read.
                - `output_tokens`: tokens made.
                - `total_tokens`: their sum, where it is stated.
                - `cost`: USD; looked up by model and tokens if not given.
                - `finish_reason`: why the model stopped.
                - `response_id`: the answer's id.
                - `input`: content instead of the arguments.
                - `output`: content instead of the return value.

        Raises:
            TypeError: a fact of a wrong type.
        """
        check_names(facts)
        if self._call is not None:
            self._call.facts.update(facts)

    def set(self, **metadata: object) -> None:
        """Add metadata that is known only now; see `TraceHandle.set`."""
        if self._call is not None:
            add_fields(self._call.context.scope, metadata)


class DecoratedCall(TracedCall):
    """One call of a decorated function, which may turn out to be a generation.

    Attributes:
        facts: what is known of it, should it be the generation itself.
    """

    __slots__ = ("facts",)

    def __init__(self, own_fields: TraceObject, inputs: Mapping[str, object] | None) -> None:
        super().__init__(own_fields, inputs, stands_for_model=True)
        self.context.scope.decorated_call = self
        self.facts = Facts(content=self.content)

    def take_result(self, value: object) -> None:
        if not self.facts.has_stated_output:
            super().take_result(value)

    def take_piece(self, value: object) -> None:
        """Take a value that the generator yielded; its content only as long as it may be the generation's."""
        with READING_RESULT:
            own_span = self.context.scope.enclosing_spans[-1]
            if self.facts.first_piece_ns is None:
                self.facts.first_piece_ns = time.time_ns() - own_span.start_ns
            if not own_span.generations and not self.facts.has_stated_output:
                super().take_piece(value)

    def _end(self, enclosing_span: EnclosingSpan) -> None:
        """Report the call's own span as the generation when it has recorded one and none has happened below it."""
        scope, spans = self.context.scope, self.context.spans
        *enclosing, own_span = scope.enclosing_spans
        if enclosing_span is not own_span or own_span.generations or not self.facts.are_stated:
            super()._end(enclosing_span)
            return
        for sink in spans.listeners(enclosing_span)[:1]:
            # a call counts itself when it begins; this one turns out to be one only now
            for span in enclosing:
                span.generations += 1
            record = self.facts.generation(enclosing_span, enclosing, content=sink.wants_content)
            sink.reported(record, scope, enclosing_span)


def current_generation() -> GenerationHandle:
    """Return the decorated call that is running; outside of any a handle that does nothing."""
    scope = innermost_scope()
    call = None if scope is None else scope.decorated_call
    return GenerationHandle(call if isinstance(call, DecoratedCall) else None)


@overload
def traced_generation(function: Function, /) -> Function: ...


@overload
def traced_generation(
    *,
    generation_name: str | Callable[..., str] | None = None,
    trace_name: str | Callable[..., str] | None = None,
    span_name: str | Callable[..., str] | None = None,
    session_id: str | Callable[..., str] | None = None,
    user: str | Callable[..., str] | None = None,
    capture: Sequence[str] | None = None,
    **fields: Any,
) -> Callable[[Function], Function]: ...


def traced_generation(
    function: Function | None = None, /, *, capture: Sequence[str] | None = None, **fields: object
) -> Function | Callable[[Function], Function]:
    """Trace a function, coroutine function, generator or asynchronous generator; with or without parentheses.

    LLM calls inside become its generation spans and take `generation_name`; the function's own span, called `span_name` or by
    the function's qualified name, is their parent. Without such a call it is the generation itself if it records one
    (`current_generation().record(...)`): then it takes `generation_name`. Else it is a span like that of `@traced`, with
    arguments and result as content.

    Args:
        function: the function, when used without parentheses.
        capture: the arguments that are content; default: all but `self` and `cls`.
        fields: the keys of the `trace` object, `session_id`, `user` and any metadata; each a value, or a function of some of
            the decorated one's arguments, by their names.

    Raises:
        TypeError: `capture` or a field's function names an argument that there is not.
    """
    if function is None:
        return partial(traced_generation, capture=capture, **fields)
    arguments = FunctionArguments(function, "traced_generation", capture, fields)

    def steps_of(args: tuple[object, ...], kwargs: dict[str, object]) -> Steps:
        own_fields, inputs = arguments.read(args, kwargs)
        if as_text(own_fields.get("span_name")) is None:
            own_fields["span_name"] = arguments.name
        return DecoratedCall(own_fields, inputs).steps()

    return around(function, steps_of)
