"""OpenTelemetry's current context, read and set without the API's way through four functions each time.

A call to a model looks at it five times: through the API that took 15,000 instructions, a sixth of what a call may cost.
Where a program has a keeper of contexts of its own, the API's functions stand here instead. Imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from functools import lru_cache
from typing import Any, Final, cast

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext

# The API has these two under private names only. Where the first is gone, nobody can suppress us.
SUPPRESS_KEY: Final[str] = getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", "")
_SPAN_KEY: Final[str] = next(iter(trace.set_span_in_context(trace.INVALID_SPAN, Context())))


def _variable() -> ContextVar[Context] | None:
    """Return the variable that keeps the current context; None where something else does, or another version of the API."""
    # the API may choose its keeper when it is first asked
    otel_context.get_current()
    keeper = getattr(otel_context, "_RUNTIME_CONTEXT", None)
    variable = getattr(keeper, "_current_context", None)
    return variable if type(keeper) is ContextVarsRuntimeContext and type(variable) is ContextVar else None


_current: Final = _variable()
get_current: Final[Callable[[], Context]] = otel_context.get_current if _current is None else _current.get
"""Return the current context."""
attach: Final[Callable[[Context], Any]] = otel_context.attach if _current is None else _current.set
"""Make a context current; return what `reset` takes."""


def reset(token: Token[Any]) -> None:
    """Put back what a context variable had before. Does nothing where that has been done, or in another context."""
    # not by the API's `detach`, which swallows and logs what a signal handler raises meanwhile
    try:  # noqa: SIM105  # a `with` costs several times as much, at every call
        token.var.reset(token)
    except (RuntimeError, ValueError):
        pass


def span_in(context: Context) -> trace.Span | None:
    """Return the span of a context, None where it has none."""
    span = context.get(_SPAN_KEY)
    if span is None:
        return None
    kind: Any = type(span)
    return cast("trace.Span", span) if _is_span_class(kind) else None


# Cached: asking an abstract class takes 2,500 instructions.
@lru_cache(maxsize=128)
def _is_span_class(kind: type) -> bool:
    return issubclass(kind, trace.Span)


def with_span(span: trace.Span, context: Context) -> Context:
    """Return a context like another one, with a span in it."""
    return Context({**context, _SPAN_KEY: span})
