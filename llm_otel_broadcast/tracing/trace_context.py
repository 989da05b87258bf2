"""`trace_context`: naming a request once, for every call made inside it, however deep and in whichever task."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from contextvars import copy_context
from functools import wraps
from types import TracebackType
from typing import Any, Final, Unpack, cast

from opentelemetry import context as otel_context

from llm_otel_broadcast.fields.ids import derive_trace_id
from llm_otel_broadcast.fields.json_text import plain
from llm_otel_broadcast.fields.merge import ID_KEYS, TEXT_KEYS, as_text, has_ids, is_private, over
from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.record.enclosing_span import ENCLOSING_KINDS, EnclosingKind, EnclosingSpan
from llm_otel_broadcast.record.function_content import FunctionContent
from llm_otel_broadcast.tracing.attachment import Attachment
from llm_otel_broadcast.tracing.function_kinds import Function, Steps, around, is_stepwise
from llm_otel_broadcast.tracing.open_context import OpenContext
from llm_otel_broadcast.tracing.reported import ReportedFacts, report
from llm_otel_broadcast.tracing.scope import Scope, current_scope, current_span_ids
from llm_otel_broadcast.tracing.traced_call import shallow, wanted_parts

_SHOWING: Final = Guard("taking what went into a context and came out of it")
_FIXED_KEYS: Final = frozenset({*ID_KEYS, "trace_name", "span_name"})


def add_fields(scope: Scope, late_fields: Mapping[str, object]) -> None:
    """Add fields that are known only now to those of a context; privacy once asked for stays.

    Raises:
        TypeError: what the spans of the context are called and where they hang cannot change any more.
    """
    for name in _FIXED_KEYS & late_fields.keys():
        raise TypeError(f"set(): {name} is fixed when the context begins; say it there, or open a context inside")
    # in place: spans of other instrumentations that are under way refer to it
    scope.context_fields.update(over(scope.context_fields, late_fields))
    scope.merged = {}
    if is_private(scope.context_fields.get("privacy")):
        scope.hide_errors()


class TraceHandle:
    """What `with trace_context(...) as handle` gives: the ids, and a way to say more."""

    def __init__(self, scope: Scope, own_span: EnclosingSpan | None) -> None:
        self._scope = scope
        self._own_span = own_span
        self._ids = scope.parent_ids

    # made into text when they are asked for, as mostly nobody does
    @property
    def trace_id(self) -> str | None:
        """Return 32 hex digits; None where calls inside get a trace each."""
        return f"{self._ids[0]:032x}" if self._ids[0] else None

    @property
    def span_id(self) -> str | None:
        """Return 16 hex digits of the span that calls inside hang below.

        The innermost one open here, or the given parent; None where there is neither.
        """
        return f"{self._ids[1]:016x}" if self._ids[1] else None

    def set(self, **metadata: object) -> None:
        """Add metadata (or `session_id`, `user`, `generation_name`, `privacy`) known only now.

        It is for the spans of this context and for calls from here on.

        Raises:
            TypeError: the names and ids of the context's spans are fixed.
        """
        add_fields(self._scope, metadata)

    def show(self, *, input: object = None, output: object = None) -> None:  # noqa: A002
        """Say what went into this context and what came out of it, which its innermost span then shows. Content.

        Without it the span shows what was asked first below it and answered last. Does nothing where it has no span.

        Args:
            input: arguments by name, or one value; of a tool they are its arguments. None says nothing.
            output: the result. None says nothing.
        """
        own_span = self._own_span
        if own_span is None:
            return
        with _SHOWING:
            parts = wanted_parts()
            content = own_span.function_content or FunctionContent()
            if input is not None and "inputs" in parts:
                content.inputs = dict(input) if isinstance(input, Mapping) else {"input": shallow(input)}
            if output is not None and "outputs" in parts:
                content.pieces = [shallow(output)]
            own_span.function_content = content

    def record(self, **facts: Unpack[ReportedFacts]) -> None:
        """Report a generation that no watched client made: a child span from the start of this context to now.

        Args:
            facts: those of `GenerationHandle.record`.

        Raises:
            TypeError: a fact of a wrong type.
        """
        report(self._scope, facts)


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
        kind: what the innermost span of the context is: `chain`, `tool`, `agent` or `retriever`, as in `@traced`. It is opened
            also where no name is stated. Any other value is metadata.
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
        kind: str | None = None,
        **metadata: object,
    ) -> None:
        fields: dict[str, object] = {
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
        self._kind: EnclosingKind | None = None
        if kind is not None:
            self._kind = next((word for word in ENCLOSING_KINDS if isinstance(kind, str) and word == kind), None)
            # fields of another process may have a key of that name
            if self._kind is None:
                fields["kind"] = kind
        self._fields = {name: value for name, value in fields.items() if value is not None}
        # tasks and threads may share the object: one context for each time that it was entered
        self._open: dict[Scope, OpenContext] = {}

    def __enter__(self) -> TraceHandle:
        context = OpenContext(self._fields, kind=self._kind)
        handle = TraceHandle(context.scope, context.spans.opened[-1] if context.spans.opened else None)
        try:
            self._open[context.scope] = context
            context.enter()
        # a signal handler has raised: there will be no `__exit__`
        except BaseException as error:
            self._leave(context, error)
            raise
        return handle

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        context = None
        try:
            context = self._leaving()
            if context is not None:
                self._leave(context, error)
        # a signal handler has raised in between: nobody will come back
        except BaseException:
            context = context or self._leaving()
            if context is not None:
                self._leave(context, error)
            raise

    def _leave(self, context: OpenContext, error: BaseException | None) -> None:
        context.leave()
        context.spans.close(error)
        self._open.pop(context.scope, None)

    def _leaving(self) -> OpenContext | None:
        """Return the context that is being left: tasks and threads may share the object, and leave in any order."""
        innermost = current_scope()
        context = None if innermost is None else self._open.get(innermost)
        if context is not None:
            return context
        # left more often than entered
        with suppress(KeyError):
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

        def steps_of(_args: object, _kwargs: object) -> Steps:
            context = OpenContext(self._fields, kind=self._kind)
            return Steps(context.enter, context.leave, context.spans.close)

        return around(function, steps_of)


def propagate(function: Function) -> Function:
    """Bind a function to the context that is current now, for executors and threads, which begin with an empty one.

    A generator or a coroutine has it whenever its own code runs.
    """
    if is_stepwise(function):
        scope, current = current_scope(), otel_context.get_current()

        def steps_of(_args: object, _kwargs: object) -> Steps:
            attachment = Attachment(scope, current)
            return Steps(attachment.enter, attachment.leave)

        return around(function, steps_of)
    # executors and new threads begin with an empty context (smolagents#2221, guardrails#1163)
    context = copy_context()

    @wraps(function)
    def bound(*args: object, **kwargs: object) -> object:
        # a copy: a context can be entered once at a time
        return context.copy().run(function, *args, **kwargs)

    return cast("Function", bound)


def current_trace_fields() -> dict[str, Any]:
    """Return the `trace` object that makes another process's calls part of what is current here; empty outside of everything.

    Pass it on by hand (a header, a job's arguments) and give it there as `trace_context(**fields)`, or as a call's `trace`. It
    holds nothing that JSON cannot.
    """
    scope = current_scope()
    # the reserved keys must be text, or a number would stay one over JSON
    portable = (
        {}
        if scope is None
        else {key: as_text(value) if key in TEXT_KEYS else plain(value) for key, value in scope.context_fields.items()}
    )
    trace_object = {key: value for key, value in portable.items() if value is not None}
    ids = current_span_ids()
    if scope is not None and scope.enclosing_spans:
        ids = scope.anchor(ids)
    # stated ids, but no span of ours here: they say it all
    elif has_ids(trace_object):
        return trace_object
    if ids is None:
        return trace_object
    # the ids replace it
    trace_object.pop("traceparent", None)
    trace_id, span_id = ids
    # the caller's own text stays where it stands for this trace: it is sent as `trace.id`
    if "trace_id" not in trace_object or derive_trace_id(trace_object["trace_id"]) != trace_id:
        trace_object["trace_id"] = f"{trace_id:032x}"
    return {**trace_object, "parent_span_id": f"{span_id:016x}"}
