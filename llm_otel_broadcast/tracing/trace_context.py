"""`trace_context`: naming a request once, for every call made inside it, however deep and in whichever task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import copy_context
from functools import wraps
from types import TracebackType
from typing import Any, Final, TypeVar, cast

from opentelemetry import context as otel_context

from llm_otel_broadcast.fields.ids import derive_trace_id
from llm_otel_broadcast.fields.json_text import plain
from llm_otel_broadcast.fields.merge import ID_KEYS, TEXT_KEYS, as_text, has_ids, is_private, over
from llm_otel_broadcast.tracing.function_kinds import around, is_stepwise
from llm_otel_broadcast.tracing.reported import report
from llm_otel_broadcast.tracing.scope import OpenScope, Scope, Stay, current_place, current_scope

Function = TypeVar("Function", bound=Callable[..., Any])
FIXED: Final = frozenset({*ID_KEYS, "trace_name", "span_name"})


def say(scope: Scope, told: Mapping[str, object]) -> None:
    """Add what is known only now to what a context says; privacy once asked for stays.

    Raises:
        TypeError: what the spans of the context are called and where they hang cannot change any more.
    """
    for name in FIXED & told.keys():
        raise TypeError(f"set(): {name} is fixed when the context begins; say it there, or open a context inside")
    scope.said.update(over(scope.said, told))
    if is_private(scope.said.get("privacy")):
        scope.hide_errors()


class TraceHandle:
    """What `with trace_context(...) as handle` gives: the ids, and a way to say more.

    Attributes:
        trace_id: 32 hex digits; None where calls inside get a trace each.
        span_id: 16 hex digits of the span that calls inside hang below: the innermost one open here, or the given parent; None
            where there is neither.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        trace_id, span_id = scope.place
        self.trace_id = f"{trace_id:032x}" if trace_id else None
        self.span_id = f"{span_id:016x}" if span_id else None

    def set(self, **metadata: object) -> None:
        """Add metadata (or `session_id`, `user`, `generation_name`, `privacy`) known only now.

        It is for the spans of this context and for calls from here on.

        Raises:
            TypeError: the names and ids of the context's spans are fixed.
        """
        say(self._scope, metadata)

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
        """Report a generation that no watched client made: a child span from the start of this context to now.

        The facts are those of `GenerationHandle.record`.

        Raises:
            TypeError: a fact of a wrong type.
        """
        report(self._scope, {name: value for name, value in locals().items() if name != "self"})


class trace_context:  # noqa: N801  # used like a function, as contextlib's own are
    """Name what happens inside: `with`, `async with`, or as a decorator.

    Contexts nest and are merged key by key, the inner ones and a call's own `trace` object being stronger. They travel through
    asyncio tasks and `asyncio.to_thread`; `propagate` carries them into other threads.

    Args:
        trace_name: opens the root span of this name, which ends with the block, unless a parent is given; nested, a span below
            the outer one.
        span_name: opens a span below it.
        trace_id: the trace of everything inside: 32 hex digits or a UUID as they are, other text hashed.
        parent_span_id: the span to hang below.
        traceparent: W3C text for both.
        generation_name: name of the LLM spans inside.
        session_id: `session.id` of every span inside.
        user: `user.id` of every span inside.
        privacy: True: no content of calls inside goes anywhere; an inner context or call cannot take that back.
        metadata: anything else: `trace.metadata.<key>`.
    """

    def __init__(  # noqa: PLR0913  # the keys of the `trace` object, all by keyword
        self,
        *,
        trace_name: str | None = None,
        span_name: str | None = None,
        trace_id: str | None = None,
        parent_span_id: str | None = None,
        traceparent: str | None = None,
        generation_name: str | None = None,
        session_id: str | None = None,
        user: str | None = None,
        privacy: bool | None = None,
        **metadata: object,
    ) -> None:
        given = {
            "trace_name": trace_name,
            "span_name": span_name,
            "trace_id": trace_id,
            "parent_span_id": parent_span_id,
            "traceparent": traceparent,
            "generation_name": generation_name,
            "session_id": session_id,
            "user": user,
            "privacy": privacy,
            **metadata,
        }
        self._given = {name: value for name, value in given.items() if value is not None}
        self._open: dict[Scope, OpenScope] = {}

    def __enter__(self) -> TraceHandle:
        opened = OpenScope(self._given)
        handle = TraceHandle(opened.scope)
        try:
            self._open[opened.scope] = opened
            opened.enter()
        except BaseException as error:  # a signal handler has raised: there will be no `__exit__`
            self._leave(opened, error)
            raise
        return handle

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        opened = None
        try:
            opened = self._left()
            if opened is not None:
                self._leave(opened, error)
        except BaseException:  # a signal handler has raised in between: nobody will come back
            opened = opened or self._left()
            if opened is not None:
                self._leave(opened, error)
            raise

    def _leave(self, opened: OpenScope, error: BaseException | None) -> None:
        opened.leave()
        opened.close(error)
        self._open.pop(opened.scope, None)

    def _left(self) -> OpenScope | None:
        """Return the one that is being left: tasks and threads may share the object, and leave in any order."""
        here = current_scope()
        opened = None if here is None else self._open.get(here)
        if opened is not None:
            return opened
        with suppress(KeyError):  # left more often than entered
            return self._open.popitem()[1]
        return None

    async def __aenter__(self) -> TraceHandle:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: Function) -> Function:
        """Decorate a function, coroutine function, generator or asynchronous generator: each call has a context of its own."""
        return around(function, lambda _args, _kwargs: OpenScope(self._given))


def propagate(function: Function) -> Function:
    """Bind a function to the context that is current now, for executors and threads, which begin with an empty one.

    A generator or a coroutine has it whenever its own code runs.
    """
    if is_stepwise(function):
        scope, current = current_scope(), otel_context.get_current()
        return around(function, lambda _args, _kwargs: Stay(scope, current))
    context = copy_context()

    @wraps(function)
    def bound(*args: Any, **kwargs: Any) -> Any:
        return context.copy().run(function, *args, **kwargs)  # a copy: a context can be entered once at a time

    return cast("Function", bound)


def current_trace_fields() -> dict[str, Any]:
    """Return the `trace` object that makes another process's calls part of what is current here; empty outside of everything.

    Pass it on by hand (a header, a job's arguments) and give it there as `trace_context(**fields)`, or as a call's `trace`. It
    holds nothing that JSON cannot.
    """
    scope = current_scope()
    said = {} if scope is None else {key: _portable(key, value) for key, value in scope.said.items()}
    said = {key: value for key, value in said.items() if value is not None}
    here = current_place()
    if scope is not None and scope.enclosing_spans:
        here = scope.anchor(here)
    elif has_ids(said):  # given ids, but no span of ours here: they say it all
        return said
    if here is None:
        return said
    said.pop("traceparent", None)
    trace_id, span_id = here
    if "trace_id" not in said or derive_trace_id(said["trace_id"]) != trace_id:
        said["trace_id"] = f"{trace_id:032x}"
    return {**said, "parent_span_id": f"{span_id:016x}"}


def _portable(key: str, value: object) -> Any:
    return as_text(value) if key in TEXT_KEYS else plain(value)
