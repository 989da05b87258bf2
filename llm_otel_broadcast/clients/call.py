"""One watched call, from its arguments to its end: sync and async, plain, streamed and raw.

Reads the request and the answer, never changes either (but for our own trace fields in the request body),
and never lets an error of ours reach the caller.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, Protocol

from opentelemetry import context as otel_context
from opentelemetry import trace

from llm_otel_broadcast.clients.answer_limits import limit_answer
from llm_otel_broadcast.clients.gateways import note_refusal, note_transport
from llm_otel_broadcast.clients.generators import is_generator, watch_generator
from llm_otel_broadcast.clients.library import ClientLibrary
from llm_otel_broadcast.clients.raw_responses import is_answer_class, is_http_class, is_raw, watch_body, watch_raw
from llm_otel_broadcast.clients.reader import Reader
from llm_otel_broadcast.clients.streams import is_stream_class, watch_stream
from llm_otel_broadcast.host.current_context import SUPPRESS_KEY, attach, get_current, reset
from llm_otel_broadcast.host.guard import Guard, or_else
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import Generation

_ASKING = Guard("reading the request")
_ANSWERING = Guard("reading the response")
_ENDING = Guard("ending the record")
_REQUEST = Guard("preparing the request")
_ENTERING = Guard("making the span current")
# 1: a watched method is under way, and what it posts belongs to it. 2: the watched methods that it goes through belong to it
# too, as `parse` calls `create` in some versions of the openai client. Not so with 1: an iterator of messages that the program
# passes may make calls of its own while the client consumes it.
_nesting: ContextVar[int] = ContextVar("llm_otel_broadcast_inside", default=0)


class Observer(Protocol):
    """What a watched call needs from the rest of the package; made by `runtime`."""

    def prepare(
        self, library: ClientLibrary, instance: Any, arguments: dict[str, Any], record: Generation
    ) -> dict[str, Any]:
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
        chosen: who watches single clients instead, each with a test for their instances; they are asked first.
    """

    __slots__ = ("chosen", "observer")

    def __init__(self) -> None:
        self.observer: Observer | None = None
        self.chosen: tuple[tuple[Callable[[Any], bool], Observer], ...] = ()

    def find(self, instance: Any) -> Observer | None:
        """Return who watches the calls of an instance."""
        for covers, observer in self.chosen:
            if or_else(functools.partial(covers, instance), default=False):
                return observer
        return self.observer


class Call:
    """One call under way: its record, its arguments, and the context made current for it.

    Attributes:
        library: the client library it is made with.
        reader: reads it.
        record: what is known of it.
        kwargs: what the client's method is to be called with by keyword; empty once it has returned.
    """

    __slots__ = (
        "_attached",
        "_caller_context",
        "_context",
        "_encloses",
        "_is_closed",
        "_is_placed",
        "_nesting_token",
        "_observer",
        "_outer",
        "_token",
        "kwargs",
        "library",
        "reader",
        "record",
    )

    def __init__(self, patchpoint: Patchpoint, observer: Observer, record: Generation, kwargs: dict[str, Any]) -> None:
        self.library = patchpoint.library
        self.reader = patchpoint.reader
        self.record = record
        self.kwargs = kwargs
        self._observer = observer
        self._encloses = patchpoint.encloses
        self._context: Any = None
        self._caller_context: Any = None
        self._token: Any = None
        self._attached: Any = None
        self._nesting_token: Any = None
        self._outer: int | None = None
        self._is_placed = self._is_closed = False

    def enter(self) -> None:
        """Make the call's span current, and keep watched methods that this one may go through from being counted.

        Each step of a generator enters anew. A signal handler may raise between any two lines: what `leave` needs is noted
        before each of them.
        """
        try:
            self._outer = _nesting.get()
            self._nesting_token = _nesting.set(2 if self._encloses else 1)
            context = self._context
            if not self._is_placed:
                context = self._context = self._observer.opened(self.record)
                self._is_placed = True
            elif context is not None:
                # a further step of a generator, whose caller may have changed the context since
                context = trace.set_span_in_context(trace.get_current_span(context))
            if context is not None:
                self._caller_context = get_current()
                self._attached = context
                self._token = attach(context)
        except BaseException as error:
            if not _ENTERING.stops(error):
                raise

    def place_record(self) -> None:
        """Give the record its ids and its parent without making anything current."""
        with _ENTERING:
            self._observer.opened(self.record)
            self._is_placed = True

    def leave(self) -> None:
        """Take the call's span back, unless control has moved to another context meanwhile (then it is not there).

        May be called again where a signal handler has interrupted it.
        """
        if self._nesting_token is not None:
            reset(self._nesting_token)
        elif self._outer is not None:
            _nesting.set(self._outer)
        self._nesting_token = self._outer = None
        attached = self._attached
        if attached is None:
            return
        current = get_current()
        if current is attached:
            if type(self._token) is Token:
                reset(self._token)
            elif self._token is None:
                attach(self._caller_context)
            else:
                otel_context.detach(self._token)
        elif trace.get_current_span(current) is trace.get_current_span(attached):
            # somebody has left a context of their own behind, made from ours: its values stay, our span does not
            otel_context.attach(trace.set_span_in_context(trace.get_current_span(self._caller_context), current))
        self._attached = None

    def finish(self, failure: Failure | None = None) -> None:
        """End the record, once."""
        try:
            self.record.end(failure)
            # without a place in a trace: a signal handler has interrupted the call before it had begun
            if self._is_placed and not self._is_closed:
                self._is_closed = True
                self._observer.closed(self.record)
        except BaseException as error:
            if not _ENDING.stops(error):
                raise

    def failed(self, error: BaseException) -> None:
        """Take the error that the call raised, and end the record with it."""
        failure = Failure(type(error).__qualname__)
        try:
            with _ENDING:
                self.leave()
                failure = self.library.describe_error(error)
                note_transport(self.record, error)
                note_refusal(self.record, error)
                answer = self.library.answer_of(error)
                # the model answered, and the client found the answer wanting (`parse`)
                if answer is not None:
                    self.reader.read_response(self.record, answer)
        finally:
            self.leave()
            self.finish(failure)

    def parsed(self, answer: Any) -> None:
        """Read the answer of a raw response that the caller has parsed, instead of its bytes in the background."""
        record = self.record
        pending = record.pending

        def read() -> None:
            self.reader.read_response(record, answer)
            limit_answer(record)

        # None: the background has read it already, and the span need not wait for whoever is to end it there
        if pending is None or pending.run_instead(read):
            record.pending = None
            self._observer.settled(record)

    def returned(self, result: Any) -> Any:
        """Read the answer, or watch the stream; return what the caller gets."""
        outcome = result
        ended = True
        # a stream may live long, and its arguments with it
        self.kwargs = {}
        try:
            self.leave()
            if is_answer_class(result.__class__):
                self.reader.read_response(self.record, result)
            elif is_stream_class(result.__class__):
                note_transport(self.record, result)
                outcome = watch_generator(result, self) if is_generator(result) else watch_stream(result, self)
                ended = False
            elif is_raw(result):
                note_transport(self.record, result)
                ended = watch_raw(result, self)
            elif is_http_class(result.__class__):
                note_transport(self.record, result)
                ended = watch_body(result, self)
            else:
                self.reader.read_response(self.record, result)
        except BaseException as error:
            if not _ANSWERING.stops(error):
                raise
        if ended:
            self.finish()
        return outcome


def is_under_way() -> bool:
    """Return whether a watched method is under way here."""
    return _nesting.get() > 0


class Patchpoint:
    """What a patched method knows, and where it asks at each call whether it is watched.

    Attributes:
        library: whose method it is.
        reader: reads its calls.
        switch: says who is watching.
        encloses: the method may go through another watched one, which is not to be counted as well.
        traced_below: another instrumentation below this patch makes the app's span of each call.
    """

    __slots__ = ("_read_content", "encloses", "library", "reader", "switch", "traced_below")

    def __init__(
        self,
        library: ClientLibrary,
        reader: Reader,
        switch: Switch,
        *,
        encloses: bool = False,
        traced_below: bool = False,
    ) -> None:
        self.library = library
        self.reader = reader
        self.switch = switch
        self.encloses = encloses
        self.traced_below = traced_below
        # here, because it makes a bound method: every record gets the same one
        self._read_content = library.content_of

    def watcher_of(self, instance: Any) -> Observer | None:
        """Return who watches a call of an instance that is made here and now, None when nobody does."""
        switch = self.switch
        observer = switch.find(instance) if switch.chosen else switch.observer
        return None if observer is None or _nesting.get() > 1 or get_current().get(SUPPRESS_KEY) else observer

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        """Return the call to be recorded, its arguments ready, or None when nobody watches it.

        Args:
            args: the arguments by position, the instance first.
            kwargs: the arguments by keyword, in a dict that is the call's own: what can be iterated once is replaced in it.
        """
        instance = args[0] if args else None
        observer = self.watcher_of(instance)
        if observer is None:
            return None
        call = None
        try:
            reader, library = self.reader, self.library
            record = Generation(reader.operation, reader.api)
            record.traced_below = self.traced_below
            record.read_content = self._read_content
            call = Call(self, observer, record, kwargs)
            try:
                effective = library.effective_arguments(kwargs)
                if len(args) > 1 and reader.positional:
                    effective = {**effective, **dict(zip(reader.positional, args[1:], strict=False))}
                if effective is kwargs:
                    reader.read_request(record, kwargs, content=observer.wants_content)
                else:
                    own = [name for name, value in kwargs.items() if effective[name] is value]
                    reader.read_request(record, effective, content=observer.wants_content)
                    # the reader may have put a tee in the place of an argument that can be iterated once only
                    kwargs.update({name: effective[name] for name in own})
            except BaseException as error:
                if not _ASKING.stops(error):
                    raise
            call.kwargs = observer.prepare(library, instance, kwargs, record)
        except BaseException as error:
            if not _REQUEST.stops(error):
                raise
        return call
