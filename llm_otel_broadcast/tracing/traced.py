"""`@traced`: a function that is a tool, an agent, a retriever or another step, as a span that is no call of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, overload

from llm_otel_broadcast.fields.merge import as_text
from llm_otel_broadcast.record.enclosing_span import ENCLOSING_KINDS, OPERATIONS, EnclosingKind
from llm_otel_broadcast.tracing.function_kinds import Function, Steps, around
from llm_otel_broadcast.tracing.traced_call import FunctionArguments, TracedCall


@overload
def traced(function: Function, /) -> Function: ...


@overload
def traced(
    *,
    kind: EnclosingKind = "chain",
    name: str | None = None,
    span_name: str | Callable[..., str] | None = None,
    trace_name: str | Callable[..., str] | None = None,
    session_id: str | Callable[..., str] | None = None,
    user: str | Callable[..., str] | None = None,
    capture: Sequence[str] | None = None,
    **fields: Any,
) -> Callable[[Function], Function]: ...


def traced(
    function: Function | None = None,
    /,
    *,
    kind: EnclosingKind = "chain",
    name: str | None = None,
    capture: Sequence[str] | None = None,
    **fields: object,
) -> Function | Callable[[Function], Function]:
    """Trace a function, coroutine function, generator or asynchronous generator as a step; with or without parentheses.

    Its span is no call of a model and counts in no total. Arguments and result are its content, which goes where content may
    go. Calls inside, of models and of other such functions, are below it.

    Args:
        function: the function, when used without parentheses.
        kind: `chain`, any step; `tool`, what a model calls (`execute_tool` of the GenAI conventions); `agent`, what plans and
            calls models and tools (`invoke_agent`); `retriever`, what searches (`retrieval`).
        name: the tool's or the agent's; default: the function's.
        capture: the arguments that are content; default: all but `self` and `cls`.
        fields: `span_name` (default: the operation and the name; of a chain the function's qualified name), and the keys of the
            `trace` object, `session_id`, `user` and any metadata; each a value, or a function of some of the decorated one's
            arguments, by their names.

    Raises:
        TypeError: `capture` or a field's function names an argument that there is not.
        ValueError: there is no such kind.
    """
    if kind not in ENCLOSING_KINDS:
        raise ValueError(f"traced(): kind must be one of {', '.join(ENCLOSING_KINDS)}, got {kind!r}")
    if function is None:
        return partial(traced, kind=kind, name=name, capture=capture, **fields)
    arguments = FunctionArguments(function, "traced", capture, fields)
    subject = name or arguments.name.rpartition(".")[2]
    operation = OPERATIONS.get(kind)
    span_name = f"{operation} {subject}" if operation else name or arguments.name

    def steps_of(args: tuple[object, ...], kwargs: dict[str, object]) -> Steps:
        own_fields, inputs = arguments.read(args, kwargs)
        if as_text(own_fields.get("span_name")) is None:
            own_fields["span_name"] = span_name
        return TracedCall(own_fields, inputs, kind, subject).steps()

    return around(function, steps_of)
