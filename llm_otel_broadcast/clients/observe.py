"""The one wrapper round every create method: sync and async, plain, streamed and raw.

Reads what is asked and what comes back, never changes either (but for our own trace fields in the request body, DESIGN
section 3), and never lets an error of ours reach the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Protocol

from opentelemetry import context as otel_context

from llm_otel_broadcast.clients.reading import Reader, describe, retries_of
from llm_otel_broadcast.clients.streams import is_http, is_raw, is_stream, unseen, watch_body, watch_raw, watch_stream
from llm_otel_broadcast.generation import Failure, Generation
from llm_otel_broadcast.guard import Guard

_ASKING = Guard("reading the request")
_ANSWERING = Guard("reading the response")
_ENDING = Guard("ending the record")
_REQUEST = Guard("preparing the request")
_inside: ContextVar[int] = ContextVar("llm_otel_broadcast_inside", default=0)
"""1: a watched method is under way; what it posts belongs to it.

2: also the watched methods that it may go through: `parse` calls `create` in some versions of a client. Not so with 1:
a generator of messages may make calls of its own.
"""
_SUPPRESS_KEY: Any = getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", None)


class Observer(Protocol):
    """What the wrapper needs from the rest of the package; made by `instrumentation`."""

    def rewrite(self, instance: Any, kwargs: dict[str, Any], record: Generation) -> dict[str, Any]:
        """Place the record (fields, ids, parent) and return the arguments to call the client with."""

    def opened(self, record: Generation) -> Any:
        """Start the courtesy span as the call begins; return the context to make current, or None."""

    def closed(self, record: Generation) -> None:
        """End the courtesy span of an ended record and hand it to the lanes."""

    @property
    def wants_content(self) -> bool:
        """Whether anybody wants content at all."""


class Switch:
    """What a patched method asks at each call: who is watching? None: nobody, and the call goes straight through.

    Attributes:
        observer: watches all calls of the process.
        chosen: who watches single clients instead, asked first.
    """

    __slots__ = ("chosen", "observer")

    def __init__(self) -> None:
        self.observer: Observer | None = None
        self.chosen: tuple[tuple[Callable[[Any], bool], Observer], ...] = ()

    def find(self, instance: Any) -> Observer | None:
        """Return who watches the calls of a resource of a client."""
        for covers, observer in self.chosen:
            if covers(instance):
                return observer
        return self.observer


class Call:
    """One call under way: its record, its arguments, and the context made current for it."""

    __slots__ = ("_attached", "_inside", "_observer", "_token", "kwargs", "reader", "record")

    def __init__(self, observer: Observer, reader: Reader, record: Generation, kwargs: dict[str, Any]) -> None:
        self.record = record
        self.reader = reader
        self.kwargs = kwargs
        self._observer = observer
        self._token: Any = None
        self._attached: Any = None
        self._inside: Any = None

    def enter(self, *, encloses: bool) -> None:
        """Make the call's span current; `encloses` keeps watched methods that this one goes through from being counted."""
        self._inside = _inside.set(2 if encloses else 1)
        context = self._observer.opened(self.record)
        if context is not None:
            self._attached = context
            self._token = otel_context.attach(context)

    def leave(self) -> None:
        """Take the call's span back, unless control has moved to another context meanwhile (then it is not there)."""
        inside, self._inside = self._inside, None
        if inside is not None:
            with suppress(ValueError):  # control has moved to another context meanwhile
                _inside.reset(inside)
        attached, self._attached = self._attached, None
        if attached is not None and otel_context.get_current() is attached:
            otel_context.detach(self._token)

    def finish(self, failure: Failure | None = None) -> None:
        """End the record, once."""
        with _ENDING:
            if self.record.end(failure):
                self._observer.closed(self.record)

    def failed(self, error: BaseException) -> None:
        """Describe the error that the call raised, and end."""
        failure = Failure(type(error).__qualname__)
        with _ENDING:
            self.leave()
            failure = describe(error)
            self.record.retries = retries_of(error)
            answer = getattr(error, "completion", None)
            if answer is not None:  # the model answered, and the client found the answer wanting (`parse`)
                self.reader.read_response(self.record, answer)
        self.finish(failure)

    def returned(self, result: Any) -> Any:
        """Read the answer, or watch the stream; return what the caller gets."""
        outcome = result
        ended = True
        with _ANSWERING:
            self.leave()
            if is_stream(result):
                self.record.retries = retries_of(result)
                outcome = watch_stream(result, self)
                ended = False
            elif is_raw(result):
                self.record.retries = retries_of(result)
                ended = watch_raw(result, self)
            elif is_http(result):
                ended = watch_body(result, self)
            else:
                self.reader.read_response(self.record, result)
        if ended:
            self.finish()
        return outcome


def _begin(switch: Switch, reader: Reader, instance: Any, kwargs: Mapping[str, Any], *, encloses: bool) -> Call | None:
    observer = switch.find(instance)
    if observer is None or _inside.get() > 1 or (_SUPPRESS_KEY is not None and otel_context.get_value(_SUPPRESS_KEY)):
        return None
    call = None
    with _REQUEST:
        record = Generation(reader.operation, reader.api)
        arguments = dict(kwargs)
        call = Call(observer, reader, record, arguments)
        with _ASKING:
            reader.read_request(record, arguments, content=observer.wants_content)
        call.kwargs = observer.rewrite(instance, arguments, record)
        call.enter(encloses=encloses)
    return call


def is_under_way() -> bool:
    """Return whether a watched method is under way here."""
    return _inside.get() > 0


def watch(reader: Reader, switch: Switch, *, is_async: bool, encloses: bool = False) -> Callable[..., Any]:
    """Return the wrapper for a create method, in wrapt's form.

    Args:
        reader: reads the method's arguments and answers.
        switch: says who is watching.
        is_async: the method is a coroutine function.
        encloses: the method may go through another watched one, which is not to be counted as well.
    """

    def create(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = _begin(switch, reader, instance, kwargs, encloses=encloses)
        if call is None:
            return wrapped(*args, **kwargs)
        try:
            result = wrapped(*args, **call.kwargs)
        except BaseException as error:
            call.failed(error)
            unseen(error)
            raise
        return call.returned(result)

    async def create_async(
        wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        call = _begin(switch, reader, instance, kwargs, encloses=encloses)
        if call is None:
            return await wrapped(*args, **kwargs)
        try:
            result = await wrapped(*args, **call.kwargs)
        except BaseException as error:
            call.failed(error)
            unseen(error)
            raise
        return call.returned(result)

    return create_async if is_async else create
