"""`@traced_generation`: a function as a span, which is the generation itself when nothing inside turns out to be one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Unpack, overload

from llm_otel_broadcast.fields.merge import TraceObject, as_text
from llm_otel_broadcast.host.guard import Callback, Guard, or_else
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.tracing.function_kinds import Function, Steps, around
from llm_otel_broadcast.tracing.open_context import OpenContext
from llm_otel_broadcast.tracing.reported import Facts, ReportedFacts, check_names, shallow
from llm_otel_broadcast.tracing.scope import innermost_scope, sinks
from llm_otel_broadcast.tracing.trace_context import add_fields

_RESULT: Final = Guard("reading what a decorated function returned")
_ARGUMENTS: Final = Guard("reading a decorated function's arguments")
_ANY_ARGUMENTS: Final = inspect.Signature(
    [
        inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
)
"""Of what does not say which arguments it takes, as some functions written in C."""
_SELVES: Final = frozenset({"self", "cls"})


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


class DecoratedCall:
    """One call of a decorated function.

    Attributes:
        context: its context; the innermost span of that is the call's own.
        facts: what is known of it, should it be the generation itself.
    """

    __slots__ = ("_wants_content", "context", "facts")

    def __init__(self, own_fields: TraceObject, inputs: Mapping[str, object] | None) -> None:
        self.context = OpenContext(own_fields, end=self._end)
        self.context.scope.decorated_call = self
        self.facts = Facts(inputs=inputs)
        self._wants_content = any(sink.wants_content for sink in sinks.all)

    def take_result(self, value: object) -> None:
        """Take what the function returned."""
        # what nobody may have is not even referenced
        if self._wants_content:
            with _RESULT:
                self.facts.take_result(value)

    def take_piece(self, value: object) -> None:
        """Take a value that the generator yielded."""
        with _RESULT:
            own_span = self.context.scope.enclosing_spans[-1]
            keeps_content = self._wants_content and not own_span.generations
            self.facts.take_piece(value, start_ns=own_span.start_ns, keeps_content=keeps_content)

    def _end(self, enclosing_span: EnclosingSpan) -> None:
        """Report the call's own span as the generation when none has happened below it; hand over the others."""
        scope, spans = self.context.scope, self.context.spans
        *enclosing, own_span = scope.enclosing_spans
        if enclosing_span is not own_span or enclosing_span.generations:
            spans.hand_over(enclosing_span)
            return
        for sink in spans.listeners(enclosing_span)[:1]:
            # a call counts itself when it begins; this one turns out to be one only now
            for span in enclosing:
                span.generations += 1
            record = self.facts.generation(enclosing_span, enclosing, content=sink.wants_content)
            sink.reported(record, scope.context_fields, enclosing_span)


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
    the function's qualified name, is their parent. Without such a call it is the generation itself, takes `generation_name`,
    has arguments and result as content, and what `current_generation().record(...)` says of it.

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
    plain = function.__func__ if isinstance(function, staticmethod | classmethod) else function
    # a `functools.partial` or a callable object has its type's name
    name = str(getattr(plain, "__qualname__", type(plain).__qualname__))
    arguments = _Arguments(plain, name, capture, fields)

    def steps_of(args: tuple[object, ...], kwargs: dict[str, object]) -> Steps:
        own_fields: dict[str, object] = {}
        inputs: Mapping[str, object] | None = None
        with _ARGUMENTS:
            own_fields, inputs = arguments.read(args, kwargs)
        if as_text(own_fields.get("span_name")) is None:
            own_fields["span_name"] = name
        call = DecoratedCall(own_fields, inputs)
        context = call.context
        return Steps(context.enter, context.leave, context.spans.close, call.take_result, call.take_piece)

    return around(function, steps_of)


class _Arguments:
    """How a decorated function's arguments give fields and content."""

    def __init__(
        self,
        function: Callable[..., object],
        name: str,
        capture: Sequence[str] | None,
        fields: Mapping[str, object],
    ) -> None:
        self._name = name
        self._signature = or_else(lambda: inspect.signature(function), _ANY_ARGUMENTS)
        parameters = frozenset(self._signature.parameters)
        self._constants = {key: value for key, value in fields.items() if value is not None and not callable(value)}
        self._functions: dict[str, tuple[Callable[..., object], tuple[str, ...] | None]] = {}
        """The fields' functions, each with those of the decorated one's arguments that it takes; None: it takes any."""
        for key, value in fields.items():
            if not callable(value):
                continue
            own_parameters = or_else(partial(inspect.signature, value), _ANY_ARGUMENTS).parameters.values()
            takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in own_parameters)
            names = (
                parameter.name
                for parameter in own_parameters
                if parameter.name in parameters or parameter.default is parameter.empty
            )
            self._functions[key] = (value, None if takes_any else tuple(names))
        self._capture = None if capture is None else tuple(capture)
        asked_for = {argument for _, names in self._functions.values() for argument in names or ()}
        # when the module is imported, not at the first call
        for argument in (*(self._capture or ()), *sorted(asked_for)):
            if argument not in parameters:
                raise TypeError(f"{name}() has no argument {argument!r}, only {sorted(parameters)}")

    def read(
        self, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> tuple[dict[str, object], Mapping[str, object] | None]:
        """Return the fields and, if anybody wants content, the captured arguments of one call."""
        wants_content = any(sink.wants_content for sink in sinks.all)
        fields = dict(self._constants)
        # `Signature.bind` takes microseconds, and mostly nobody needs it
        if not self._functions and not wants_content:
            return fields, None
        bound = or_else(lambda: self._signature.bind(*args, **kwargs), None)
        # the call itself will say what is wrong with its arguments
        if bound is None:
            return fields, None
        bound.apply_defaults()
        for key, (function, names) in self._functions.items():
            passed = bound.arguments if names is None else {name: bound.arguments[name] for name in names}
            # one that fails leaves its field out, and is logged once
            name = f"{key}= of @traced_generation on {self._name}"
            fields[key] = Callback(name, partial(function, **passed), "what it should say is left out", prefix="")()[1]
        if not wants_content:
            return fields, None
        captured = self._capture
        if captured is None:
            captured = tuple(name for name in bound.arguments if name not in _SELVES)
        return fields, {name: shallow(bound.arguments[name]) for name in captured}
