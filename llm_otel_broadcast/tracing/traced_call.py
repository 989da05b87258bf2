"""One call of a decorated function: its context, its arguments and what it returns, as content of its span."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from llm_otel_broadcast.fields.merge import TraceObject
from llm_otel_broadcast.host.guard import Callback, Guard, or_else
from llm_otel_broadcast.record.enclosing_span import EnclosingKind, EnclosingSpan
from llm_otel_broadcast.record.function_content import FunctionContent
from llm_otel_broadcast.tracing.function_kinds import Steps
from llm_otel_broadcast.tracing.open_context import OpenContext
from llm_otel_broadcast.tracing.scope import sinks

READING_RESULT: Final = Guard("reading what a decorated function returned")
_ARGUMENTS: Final = Guard("reading a decorated function's arguments")
_ANY_ARGUMENTS: Final = inspect.Signature(
    [
        inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
)
"""Of what does not say which arguments it takes, as some functions written in C."""
_SELVES: Final = frozenset({"self", "cls"})


class TracedCall:
    """One call of a decorated function, whose content is that of its own span.

    Attributes:
        context: its context; the innermost span of that is the call's own.
        content: its arguments and what it returned, as far as anybody wants content.
    """

    __slots__ = ("_wanted", "content", "context")

    def __init__(
        self,
        own_fields: TraceObject,
        inputs: Mapping[str, object] | None,
        kind: EnclosingKind | None = None,
        subject: str = "",
    ) -> None:
        """Begin the call.

        Args:
            own_fields: the fields of its context, with a `span_name`.
            inputs: its arguments by name, if anybody wants content.
            kind: what the function is.
            subject: what the tool or the agent is called.
        """
        self.context = OpenContext(own_fields, end=self._end, kind=kind, subject=subject)
        # what nobody may have is not even referenced
        self._wanted = {part for part in ("inputs", "outputs") if any(part not in sink.unwanted for sink in sinks.all)}
        self.content = FunctionContent(inputs if "inputs" in self._wanted else None)

    def steps(self) -> Steps:
        """Return what to do around the function's code."""
        context = self.context
        return Steps(context.enter, context.leave, context.spans.close, self.take_result, self.take_piece)

    def take_result(self, value: object) -> None:
        """Take what the function returned."""
        with READING_RESULT:
            if "outputs" in self._wanted and value is not None:
                self.content.add_piece(shallow(value))

    def take_piece(self, value: object) -> None:
        """Take a value that the generator yielded."""
        with READING_RESULT:
            if "outputs" in self._wanted and self.content.has_room:
                self.content.add_piece(shallow(value))

    def _end(self, enclosing_span: EnclosingSpan) -> None:
        """Hand over a span of the call's; its own has the content."""
        if enclosing_span is self.context.scope.enclosing_spans[-1]:
            self._attach_content(enclosing_span)
        self.context.spans.hand_over(enclosing_span)

    def _attach_content(self, own_span: EnclosingSpan) -> None:
        if self._wanted:
            own_span.function_content = self.content


class FunctionArguments:
    """How a decorated function's arguments give fields and content.

    Attributes:
        name: the function's qualified name.
    """

    def __init__(
        self,
        function: Callable[..., object],
        decorator: str,
        capture: Sequence[str] | None,
        fields: Mapping[str, object],
    ) -> None:
        """Prepare reading.

        Args:
            function: the function.
            decorator: how it is decorated, in the log.
            capture: the arguments that are content; None: all but `self` and `cls`.
            fields: each a value, or a function of some of the arguments.

        Raises:
            TypeError: `capture` or a field's function names an argument that there is not.
        """
        # under the descriptor; a `functools.partial` or a callable object has its type's name
        plain = function.__func__ if isinstance(function, staticmethod | classmethod) else function
        self.name = str(getattr(plain, "__qualname__", type(plain).__qualname__))
        self._decorator = decorator
        self._signature = or_else(lambda: inspect.signature(plain), _ANY_ARGUMENTS)
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
                raise TypeError(f"{self.name}() has no argument {argument!r}, only {sorted(parameters)}")

    def read(
        self, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> tuple[dict[str, object], Mapping[str, object] | None]:
        """Return the fields and, if anybody wants content, the captured arguments of one call; nothing where that fails."""
        with _ARGUMENTS:
            return self._read(args, kwargs)
        return {}, None

    def _read(
        self, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> tuple[dict[str, object], Mapping[str, object] | None]:
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
            name = f"{key}= of @{self._decorator} on {self.name}"
            fields[key] = Callback(name, partial(function, **passed), "what it should say is left out", prefix="")()[1]
        if not wants_content:
            return fields, None
        captured = self._capture
        if captured is None:
            captured = tuple(name for name in bound.arguments if name not in _SELVES)
        return fields, {name: shallow(bound.arguments[name]) for name in captured}


def shallow(value: object) -> object:
    """Copy a container one deep: the program may go on changing it."""
    return or_else(value.copy, value) if isinstance(value, list | dict | set) else value
