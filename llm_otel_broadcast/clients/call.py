"""The one wrapper round every create method: sync and async, plain, streamed and raw.

Reads what is asked and what comes back, never changes either (but for our own trace fields in the request body, DESIGN
section 3), and never lets an error of ours reach the caller. A function of the client is replaced by a function of the same
name, signature and kind, which neither tracebacks nor warnings show.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from typing import Any, Protocol

from opentelemetry import context as otel_context
from opentelemetry import trace

from llm_otel_broadcast.clients.gateways import note_refusal, note_transport
from llm_otel_broadcast.clients.reader import Reader, answer_of, describe, merged_arguments
from llm_otel_broadcast.clients.streams import is_http, is_raw, is_stream, watch_body, watch_raw, watch_stream
from llm_otel_broadcast.host.guard import Guard, or_else
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import Generation

_ASKING = Guard("reading the request")
_ANSWERING = Guard("reading the response")
_ENDING = Guard("ending the record")
_REQUEST = Guard("preparing the request")
_ENTERING = Guard("making the span current")
_inside: ContextVar[int] = ContextVar("llm_otel_broadcast_inside", default=0)
"""1: a watched method is under way; what it posts belongs to it.

2: also the watched methods that it may go through: `parse` calls `create` in some versions of a client. Not so with 1:
a generator of messages may make calls of its own.
"""
_SUPPRESS_KEY: Any = getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", None)


class Observer(Protocol):
    """What the wrapper needs from the rest of the package; made by `instrumentation`."""

    def rewrite(self, instance: Any, kwargs: dict[str, Any], record: Generation) -> dict[str, Any]:
        """Read the call's fields, and return the arguments to call the client with."""

    def opened(self, record: Generation) -> Any:
        """Place the record and start the courtesy span as the call begins; return the context to make current, or None."""

    def closed(self, record: Generation) -> None:
        """End the courtesy span of an ended record and hand it to the lanes."""

    def settled(self, record: Generation) -> None:
        """End the courtesy span of a record that has been read after its end."""

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
            if or_else(functools.partial(covers, instance), default=False):
                return observer
        return self.observer


class Call:
    """One call under way: its record, its arguments, and the context made current for it."""

    __slots__ = (
        "_attached",
        "_before",
        "_encloses",
        "_inside",
        "_is_closed",
        "_is_placed",
        "_observer",
        "_outer",
        "_token",
        "kwargs",
        "reader",
        "record",
    )

    def __init__(
        self, observer: Observer, reader: Reader, record: Generation, kwargs: dict[str, Any], *, encloses: bool
    ) -> None:
        self.record = record
        self.reader = reader
        self.kwargs = kwargs
        self._observer = observer
        self._encloses = encloses
        self._before: Any = None
        self._token: Any = None
        self._attached: Any = None
        self._inside: Any = None
        self._outer: int | None = None
        self._is_placed = self._is_closed = False

    def enter(self) -> None:
        """Make the call's span current, and keep watched methods that this one may go through from being counted.

        A signal handler may raise between any two steps: what `leave` needs is noted before each step.
        """
        with _ENTERING:
            self._outer = _inside.get()
            self._inside = _inside.set(2 if self._encloses else 1)
            context = self._observer.opened(self.record)
            self._is_placed = True
            if context is not None:
                self._before = otel_context.get_current()
                self._attached = context
                self._token = otel_context.attach(context)

    def place(self) -> None:
        """Give the record its place in the trace without making anything current."""
        with _ENTERING:
            self._observer.opened(self.record)
            self._is_placed = True

    def leave(self) -> None:
        """Take the call's span back, unless control has moved to another context meanwhile (then it is not there).

        May be called again where a signal handler has interrupted it.
        """
        if self._inside is not None:
            _reset(self._inside)
        elif self._outer is not None:
            _inside.set(self._outer)
        self._inside = self._outer = None
        attached = self._attached
        if attached is None:
            return
        current = otel_context.get_current()
        if current is attached:
            if type(self._token) is Token:
                # not by `detach`, which swallows what a signal handler raises meanwhile
                _reset(self._token)
            elif self._token is None:
                otel_context.attach(self._before)
            else:
                otel_context.detach(self._token)
        elif trace.get_current_span(current) is trace.get_current_span(attached):
            # somebody has left a context of his own behind, made from ours: his values stay, our span does not
            otel_context.attach(trace.set_span_in_context(trace.get_current_span(self._before), current))
        self._attached = None

    def finish(self, failure: Failure | None = None) -> None:
        """End the record, once."""
        with _ENDING:
            self.record.end(failure)
            # not placed: a signal handler has interrupted the call before it had begun
            if self._is_placed and not self._is_closed:
                self._is_closed = True
                self._observer.closed(self.record)

    def failed(self, error: BaseException) -> None:
        """Describe the error that the call raised, and end."""
        failure = Failure(type(error).__qualname__)
        try:
            with _ENDING:
                self.leave()
                failure = describe(error)
                note_transport(self.record, error)
                note_refusal(self.record, error)
                answer = answer_of(error)
                if answer is not None:  # the model answered, and the client found the answer wanting (`parse`)
                    self.reader.read_response(self.record, answer)
        finally:
            self.leave()
            self.finish(failure)

    def parsed(self, answer: Any) -> None:
        """Read the answer of a raw response that the caller has parsed, instead of its bytes in the background."""
        record = self.record
        if record.settle_by(functools.partial(self.reader.read_response, record, answer)):
            self._observer.settled(record)

    def returned(self, result: Any) -> Any:
        """Read the answer, or watch the stream; return what the caller gets."""
        outcome = result
        ended = True
        self.kwargs = {}  # a stream may live long
        with _ANSWERING:
            self.leave()
            if is_stream(result):
                note_transport(self.record, result)
                outcome = watch_stream(result, self)
                ended = False
            elif is_raw(result):
                note_transport(self.record, result)
                ended = watch_raw(result, self)
            elif is_http(result):
                note_transport(self.record, result)
                ended = watch_body(result, self)
            else:
                self.reader.read_response(self.record, result)
        if ended:
            self.finish()
        return outcome


def _reset(token: Token[Any]) -> None:
    """Put back what a context variable had before."""
    try:  # noqa: SIM105  # a `with` costs several times as much, at every call
        token.var.reset(token)
    except (RuntimeError, ValueError):  # done already, or set in another context
        pass


def begin(
    switch: Switch,
    reader: Reader,
    instance: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    encloses: bool = False,
) -> Call | None:
    """Return the call to be recorded, its arguments ready, or None when nobody watches it."""
    observer = switch.find(instance)
    if observer is None or _inside.get() > 1 or (_SUPPRESS_KEY is not None and otel_context.get_value(_SUPPRESS_KEY)):
        return None
    call = None
    with _REQUEST:
        record = Generation(reader.operation, reader.api)
        arguments = dict(kwargs)
        call = Call(observer, reader, record, arguments, encloses=encloses)
        with _ASKING:
            merged = merged_arguments(arguments)
            named = dict(zip(getattr(reader, "positional", ()), args, strict=False)) if args else None
            asked = {**merged, **named} if named else merged
            reader.read_request(record, asked, content=observer.wants_content)
            if asked is not arguments:
                _keep_tees(arguments, asked)
        call.kwargs = observer.rewrite(instance, arguments, record)
    return call


def _keep_tees(arguments: dict[str, Any], asked: dict[str, Any]) -> None:
    """Take over what a reader has put in the place of an argument that can be iterated once only."""
    extra = arguments.get("extra_body")
    overridden = extra if isinstance(extra, Mapping) else ()
    for name in arguments:
        if name not in overridden:
            arguments[name] = asked[name]


def is_under_way() -> bool:
    """Return whether a watched method is under way here."""
    return _inside.get() > 0


class Post:
    """Where a patched method asks and what it knows.

    Attributes:
        switch: says who is watching.
        encloses: the method may go through another watched one, which is not to be counted as well.
        traced_below: another instrumentation below this patch makes the app's span of each call.
    """

    __slots__ = ("_reader", "encloses", "switch", "traced_below")

    def __init__(self, reader: Reader, switch: Switch, *, encloses: bool, traced_below: bool = False) -> None:
        self._reader = reader
        self.switch = switch
        self.encloses = encloses
        self.traced_below = traced_below

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        """Return the call to be recorded, its arguments ready, or None when nobody watches it."""
        instance = args[0] if args else None
        call = begin(self.switch, self._reader, instance, args[1:], kwargs, encloses=self.encloses)
        if call is not None:
            call.record.traced_below = self.traced_below
        return call
