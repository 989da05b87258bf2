"""Watching raw responses, which the caller parses or reads itself (`with_raw_response`, `with_streaming_response`, `post`).

A body that has been read is kept as bytes and parsed in the background, unless the caller parses it first. We never call
`parse`: of a stream it can be called once only, and the program would miss what it looks for (microsoft/agent-framework#7705).
"""

from __future__ import annotations

import inspect
import time
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from llm_otel_broadcast.clients.answer_limits import limit_answer
from llm_otel_broadcast.clients.close_hook import hook_close
from llm_otel_broadcast.clients.stream_watch import StreamWatch
from llm_otel_broadcast.clients.streams import is_stream_class, swap_iterator
from llm_otel_broadcast.host.deferred import Deferred
from llm_otel_broadcast.host.guard import Guard

if TYPE_CHECKING:
    from llm_otel_broadcast.clients.call import Call

_PARSING = Guard("watching a raw response")
_CLOSING = Guard("ending a stream")
_BODY = Guard("reading a raw response")
_READ_METHODS: Final = frozenset({"read", "aread"})
_MAX_FRAMES: Final = 16
"""Between the hook on `close` and the response's `read` are fewer than ten, by HTTP library and client."""
_BODY_TIMEOUT_S: Final = 1.0
_BODY_INTERVAL_S: Final = 0.001


def is_raw(result: Any) -> bool:
    """Return whether a result is a raw response, which has yet to be parsed."""
    return _has_parse(result.__class__) and hasattr(result, "http_response")


# Cached by class: asking a pydantic class for a name it lacks goes through its metaclass's `__getattr__`, which is slow.
@lru_cache(maxsize=128)
def _has_parse(kind: type) -> bool:
    return hasattr(kind, "parse")


@lru_cache(maxsize=128)
def is_answer_class(kind: type) -> bool:
    """Return whether results of a class are whole answers: nothing that is still to be read, iterated or parsed."""
    return not (is_stream_class(kind) or _has_parse(kind) or is_http_class(kind))


@lru_cache(maxsize=128)
def is_http_class(kind: type) -> bool:
    """Return whether results of a class are HTTP responses, which `client.post(..., cast_to=httpx.Response)` returns."""
    return hasattr(kind, "raise_for_status") and hasattr(kind, "aiter_raw")


def watch_raw(raw: Any, call: Call) -> bool:
    """Watch a raw response. Returns whether the record can end now.

    A body that has been read is kept as bytes and parsed in the background; a stream is watched through the response's
    own `parse`; a body that the caller has yet to read ends the record when the response closes.
    """
    if call.record.stream:
        watch = RawStreamWatch(call, raw.http_response)
        # Closing the response unparsed ends the record too.
        hook_close(raw.http_response, watch.abandon)
        if _has_parse_cache(raw):
            raw._parsed_by_type = StreamParseHook(raw, watch)  # noqa: SLF001
        return False
    # Only the app's own span waits: what is broadcast is read from the bytes later.
    if call.record.app_spans and _has_parse_cache(raw):
        raw._parsed_by_type = AnswerParseHook(raw, call)  # noqa: SLF001
    return watch_body(raw.http_response, call)


def _has_parse_cache(raw: object) -> bool:
    # A private member of the client's, the same in all versions tested; without it a raw response is read from its bytes.
    return isinstance(getattr(raw, "_parsed_by_type", None), dict)


def watch_body(response: Any, call: Call) -> bool:
    """Watch an HTTP response itself. Returns whether the record can end now."""
    # `with_raw_response` has read the body by now, `with_streaming_response` has not.
    if response.is_closed:
        keep_body(call, response)
        return True
    hook_close(response, BodyWatch(call, response).abandon)
    return False


def keep_body(call: Call, response: Any, *, is_being_read: bool = False) -> None:
    """Put off the parsing of a body to the background.

    Of an answer that is no text, a reader's `measure` takes the size at once, and nothing is kept.

    Args:
        call: the call that the body answers.
        response: the HTTP response.
        is_being_read: the body is about to be in the response, and is waited for.
    """
    if call.reader.measure(call.record, response):
        return
    body = getattr(response, "_content", None)
    # as it is held: a hundred bytes of gzip may be a megabyte
    call.record.size += len(body) if isinstance(body, bytes) else getattr(response, "num_bytes_downloaded", 0)
    call.record.pending = Deferred(_read_body, call, response, is_being_read)


def _read_body(call: Call, response: object, is_being_read: bool) -> None:
    deadline = time.monotonic() + _BODY_TIMEOUT_S
    body = getattr(response, "_content", None)
    while body is None and is_being_read and time.monotonic() < deadline:
        time.sleep(_BODY_INTERVAL_S)
        body = getattr(response, "_content", None)
    if isinstance(body, bytes):
        # A body that is no JSON (a proxy's HTML page) has nothing to read, and is no error of ours.
        with _BODY, suppress(ValueError):
            call.reader.read_body(call.record, body)
            limit_answer(call.record)


def _is_being_read(response: object) -> bool:
    """Return whether the response closes because its own `read` has come to the end of the body."""
    # httpx closes the connection before `read` sets `_content`. On a busy machine our thread comes in between: the answer was
    # then missing. Where the caller iterates over the body itself there is no `_content` to wait for, so the stack tells.
    frame = inspect.currentframe()
    for _ in range(_MAX_FRAMES):
        if frame is None:
            return False
        if frame.f_code.co_name in _READ_METHODS and frame.f_locals.get("self") is response:
            return True
        frame = frame.f_back
    return False


# `parse` stores what it made with `self._parsed_by_type[cache_key] = parsed`, as its last step (openai/_legacy_response.py,
# openai/_response.py). A dict of ours in that place sees it while `parse` itself, its signature and its types stay as they
# are. Once it has seen what it waits for, the response has a plain dict again.


class StreamParseHook(dict[Any, Any]):
    """Replaces the dict in which a raw response keeps what it has parsed, and watches the stream that is put into it."""

    __slots__ = ("_raw", "_watch")

    def __init__(self, raw: Any, watch: RawStreamWatch) -> None:
        super().__init__(raw._parsed_by_type)  # noqa: SLF001
        self._raw = raw
        self._watch = watch

    def __setitem__(self, cache_key: Any, parsed: Any) -> None:
        super().__setitem__(cache_key, parsed)
        with _PARSING:
            if is_stream_class(parsed.__class__):
                self._raw._parsed_by_type = dict(self)  # noqa: SLF001
                self._watch.is_parsed = True
                swap_iterator(parsed, self._watch)


class AnswerParseHook(dict[Any, Any]):
    """Replaces the dict in which a raw response keeps what it has parsed, and reads the answer that is put into it.

    The app's own span waits for that.
    """

    __slots__ = ("_call", "_raw")

    def __init__(self, raw: Any, call: Call) -> None:
        super().__init__(raw._parsed_by_type)  # noqa: SLF001
        # Weak, so that there is no cycle: a response that the caller drops unparsed goes at once, with its body.
        self._raw = ref(raw)
        self._call = call

    def __setitem__(self, cache_key: Any, answer: Any) -> None:
        super().__setitem__(cache_key, answer)
        with _PARSING:
            raw = self._raw()
            # `parse(to=...)` into a type of the caller's own may lack what the record needs: then the bytes are read.
            if raw is not None and cache_key is getattr(raw, "_cast_to", None):
                raw._parsed_by_type = dict(self)  # noqa: SLF001
                self._call.parsed(answer)


class RawStreamWatch(StreamWatch):
    """The end of a raw response's stream, which the caller parses into chunks or reads as bytes."""

    __slots__ = ("_response", "is_parsed")

    def __init__(self, call: Call, response: object) -> None:
        super().__init__(call)
        self._response = response
        self.is_parsed = False

    def abandon(self) -> None:
        if self.is_busy or self._record.ended:
            return
        if self.is_parsed or not getattr(self._response, "is_stream_consumed", False):
            super().abandon()
        else:
            # The caller has read the bytes itself: how far it understood them is not known, and that is no error.
            self._call.finish()


class BodyWatch(StreamWatch):
    """The end of a raw response whose body the caller reads itself."""

    __slots__ = ("_response",)

    def __init__(self, call: Call, response: object) -> None:
        super().__init__(call)
        self._response = response

    def abandon(self) -> None:
        if self._record.ended:
            return
        with _CLOSING:
            keep_body(self._call, self._response, is_being_read=_is_being_read(self._response))
        self._call.finish()
