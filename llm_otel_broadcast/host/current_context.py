"""OpenTelemetry's current context, read and set without the API's way through four functions each time.

A call to a model looks at it five times: through the API that took 15,000 instructions, a sixth of what a call may cost.
Where a program has a keeper of contexts of its own, the API's functions stand here instead. Imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, Final, cast

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext

# The API has these two under private names only. Where the first is gone, nobody can suppress us.
SUPPRESS_KEY: Final[str] = getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", "")
_SPAN_KEY: Final[str] = next(iter(trace.set_span_in_context(trace.INVALID_SPAN, Context())))


# the API may choose its keeper when it is first asked
otel_context.get_current()
_keeper = getattr(otel_context, "_RUNTIME_CONTEXT", None)
_variable: Any = getattr(_keeper, "_current_context", None) if type(_keeper) is ContextVarsRuntimeContext else None
_is_known: Final = type(_variable) is ContextVar

get_current: Final[Callable[[], Context]] = _variable.get if _is_known else otel_context.get_current
"""Return the current context."""
attach: Final[Callable[[Context], Any]] = _variable.set if _is_known else otel_context.attach
"""Make a context current; return what `reset` takes."""


class BareSpan(trace.NonRecordingSpan):
    """A span that is nothing but its context, for apps without a provider.

    The context is made when somebody asks for it: making it takes 7,000 instructions, and mostly nobody asks.

    Attributes:
        ids: trace and span id.
    """

    def __init__(self, trace_id: int, span_id: int) -> None:
        self.ids = (trace_id, span_id)
        self._span_context: trace.SpanContext | None = None

    def get_span_context(self) -> trace.SpanContext:
        if self._span_context is None:
            self._span_context = trace.SpanContext(
                *self.ids, is_remote=False, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED)
            )
        return self._span_context

    def __repr__(self) -> str:
        return f"NonRecordingSpan({self.get_span_context()!r})"


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
    # not by its class: asking an abstract one takes 2,500 instructions
    return cast("trace.Span", span) if hasattr(span, "get_span_context") else None


def ids_in(context: Context) -> tuple[int, int] | None:
    """Return trace and span id of a context's span, None where it has no valid one."""
    span = context.get(_SPAN_KEY)
    if type(span) is BareSpan:
        return span.ids
    if not hasattr(span, "get_span_context"):
        return None
    span_context = cast("trace.Span", span).get_span_context()
    return (span_context.trace_id, span_context.span_id) if span_context.is_valid else None


def with_span(span: trace.Span, context: Context) -> Context:
    """Return a context like another one, with a span in it."""
    return Context({**context, _SPAN_KEY: span})
