"""`@traced_generation`: a function as a span, which is the generation itself when nothing inside turns out to be one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar, overload

from llm_otel_broadcast.fields.merge import as_text
from llm_otel_broadcast.host.guard import Callback, Guard, or_else
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.tracing.function_kinds import around
from llm_otel_broadcast.tracing.reported import Facts, shallow
from llm_otel_broadcast.tracing.scope import OpenScope, running, sinks
from llm_otel_broadcast.tracing.trace_context import say

Function = TypeVar("Function", bound=Callable[..., Any])
_TAKING: Final = Guard("reading what a decorated function returned")
_BINDING: Final = Guard("reading a decorated function's arguments")
_ANY: Final = inspect.Signature(
    [
        inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
)
"""Of what does not say which arguments it takes, as some functions written in C."""
_SELVES: Final = frozenset({"self", "cls"})


class GenerationHandle:
    """The decorated call that is running, to say what it knows about itself. Outside of any it does nothing."""

    def __init__(self, running: OwnScope | None) -> None:
        self._running = running

    def record(  # noqa: PLR0913  # facts, all by keyword
        self,
        *,
        model: str | None = None,
        operation: str | None = None,
        provider: str | None = None,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        total_tokens: int | None = None,
        cost: float | None = None,
        finish_reason: str | None = None,
        response_id: str | None = None,
        input: object = None,  # noqa: A002  # the word that fits
        output: object = None,
    ) -> None:
        """Say what is to be known of the generation; may be called several times. Has no effect where calls inside are traced.

        Args:
            model: the model that answered.
            operation: `gen_ai.operation.name`; default `chat`.
            provider: `gen_ai.provider.name`.
            input_tokens: tokens read.
            output_tokens: tokens made.
            total_tokens: their sum, where it is stated.
            cost: USD; looked up by model and tokens if not given.
            finish_reason: why the model stopped.
            response_id: the answer's id.
            input: content instead of the arguments.
            output: content instead of the return value.

        Raises:
            TypeError: a fact of a wrong type.
        """
        told = {name: value for name, value in locals().items() if name != "self"}
        if self._running is not None:
            self._running.facts.take(told)

    def set(self, **metadata: object) -> None:
        """Add metadata that is known only now; see `TraceHandle.set`."""
        if self._running is not None:
            say(self._running.scope, metadata)


class OwnScope(OpenScope):
    """The scope of one decorated call. Its innermost block is the call's own span."""

    __slots__ = ("_wanted", "facts")

    def __init__(self, given: Mapping[Any, Any], inputs: Mapping[str, object] | None) -> None:
        super().__init__(given)
        self.scope.own = self
        self.facts = Facts(inputs=inputs)
        self._wanted = any(sink.wants_content for sink in sinks.all)

    def took(self, value: Any) -> None:
        if self._wanted:
            with _TAKING:
                self.facts.took(value)

    def yielded(self, value: Any) -> None:
        with _TAKING:
            own = self.scope.enclosing_spans[-1]
            self.facts.piece(value, since_ns=own.start_ns, kept=self._wanted and not own.generations)

    def _end(self, enclosing_span: EnclosingSpan) -> None:
        own = self.scope.enclosing_spans[-1]
        if enclosing_span is not own or enclosing_span.generations:
            super()._end(enclosing_span)
            return
        enclosing = self.scope.enclosing_spans[:-1]
        for sink in self._hearing(enclosing_span)[:1]:
            for above in enclosing:
                above.generations += 1
            record = self.facts.generation(enclosing_span, enclosing, content=sink.wants_content)
            sink.reported(record, self.scope.said, enclosing_span)


def current_generation() -> GenerationHandle:
    """Return the decorated call that is running; outside of any a handle that does nothing."""
    return GenerationHandle(running())


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


def traced_generation(function: Any = None, /, *, capture: Sequence[str] | None = None, **fields: Any) -> Any:
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
    trace = partial(_trace, capture=capture, fields=fields)
    return trace if function is None else trace(function)


def _trace(function: Any, *, capture: Sequence[str] | None, fields: Mapping[str, Any]) -> Any:
    plain = function.__func__ if isinstance(function, staticmethod | classmethod) else function
    name = _name_of(plain)
    return around(function, partial(_open, _Arguments(plain, name, capture, fields), name))


def _name_of(function: Any) -> str:
    """Return the qualified name; a `functools.partial` or a callable object has its type's."""
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _open(arguments: _Arguments, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OwnScope:
    given: dict[str, Any] = {}
    inputs: Mapping[str, object] | None = None
    with _BINDING:
        given, inputs = arguments.read(args, kwargs)
    if as_text(given.get("span_name")) is None:
        given["span_name"] = name
    return OwnScope(given, inputs)


class _Arguments:
    """How a decorated function's arguments give fields and content."""

    def __init__(self, function: Any, name: str, capture: Sequence[str] | None, fields: Mapping[str, Any]) -> None:
        self._name = name
        self._signature = or_else(lambda: inspect.signature(function), _ANY)
        known = frozenset(self._signature.parameters)
        self._constant = {key: value for key, value in fields.items() if value is not None and not callable(value)}
        self._asked = {key: (value, _names_of(value, known)) for key, value in fields.items() if callable(value)}
        self._capture = None if capture is None else tuple(capture)
        asked = {argument for _, names in self._asked.values() for argument in names or ()}
        for argument in (*(self._capture or ()), *sorted(asked)):
            if argument not in known:
                raise TypeError(f"{name}() has no argument {argument!r}, only {sorted(known)}")

    def read(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Any], Mapping[str, object] | None]:
        """Return the fields and, if anybody wants content, the captured arguments of one call."""
        wanted = any(sink.wants_content for sink in sinks.all)
        if not self._asked and not wanted:
            return dict(self._constant), None
        said = dict(self._constant)
        bound = or_else(lambda: self._signature.bind(*args, **kwargs), None)
        if bound is None:  # the call itself will say what is wrong with it
            return said, None
        bound.apply_defaults()
        for key, (function, names) in self._asked.items():
            passed = bound.arguments if names is None else {name: bound.arguments[name] for name in names}
            said[key] = self._result_of(key, partial(function, **passed))
        if not wanted:
            return said, None
        kept = self._capture
        if kept is None:
            kept = tuple(name for name in bound.arguments if name not in _SELVES)
        return said, {name: shallow(bound.arguments[name]) for name in kept}

    def _result_of(self, key: str, function: Callable[[], Any]) -> Any:
        """Return what a function of the program's returns, None if it fails."""
        name = f"{key}= of @traced_generation on {self._name}"
        return Callback(name, function, "what it should say is left out", prefix="")()[1]


def _names_of(function: Any, known: frozenset[str]) -> tuple[str, ...] | None:
    """Return the arguments that a field's function takes; None: it takes any."""
    parameters = or_else(lambda: inspect.signature(function), _ANY).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return None
    return tuple(one.name for one in parameters if one.name in known or one.default is one.empty)
