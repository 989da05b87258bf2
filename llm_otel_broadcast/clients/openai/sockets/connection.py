"""Watching web sockets (`responses.connect`, `realtime.connect`): each response that passes is one generation.

All that arrives goes through the connection's `parse_event`. What is asked for goes through its `send`, through the `send` of
a session's lane, or waits in the manager until the connection opens. On a connection that is opened while somebody watches all
of these are looked at, and so are `recv_bytes` and `close`, which tell how it ends. Events reach the caller as they came. What
a program sends as raw text or reads as raw bytes, it keeps to itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from llm_otel_broadcast.clients.call import Post, Switch
from llm_otel_broadcast.clients.openai.sockets.realtime import RealtimeReader, RealtimeTalk
from llm_otel_broadcast.clients.openai.sockets.turns import Turns
from llm_otel_broadcast.clients.reader import Reader, all_members_of, text_of
from llm_otel_broadcast.clients.tracebacks import unseen
from llm_otel_broadcast.clients.wrappers import callable_of, taking_place
from llm_otel_broadcast.host.guard import Guard

_DIALLING = Guard("noting a connection")
_OPENING = Guard("starting to watch a connection")
_SENDING = Guard("reading what is sent")
_RECEIVING = Guard("reading an event")
_CLOSING = Guard("ending a connection")


class _Dialled(NamedTuple):
    """What a connection is to be opened with."""

    resource: Any
    asked: Mapping[str, Any]
    queue: list[Mapping[str, Any]]
    """Events that are to be sent as soon as the connection opens."""


_dialled: WeakKeyDictionary[Any, _Dialled] = WeakKeyDictionary()
_lines: WeakKeyDictionary[Any, _Line] = WeakKeyDictionary()


def dialling(original: Any) -> Callable[..., Any]:
    """Return the function that takes the place of `connect`, which makes what opens the connection later."""
    method = callable_of(original)

    def connect(*args: Any, **kwargs: Any) -> Any:
        try:
            manager = method(*args, **kwargs)
        except BaseException as error:
            unseen(error)
            raise
        with _DIALLING:
            _dialled[manager] = _Dialled(args[0], dict(kwargs), [])
        return manager

    return taking_place(original, connect)


def queueing(original: Any) -> Callable[..., Any]:
    """Return the function that takes the place of a manager's `send`, which keeps an event until the connection opens."""
    method = callable_of(original)

    def send(*args: Any, **kwargs: Any) -> Any:
        try:
            result = method(*args, **kwargs)
        except BaseException as error:
            unseen(error)
            raise
        with _SENDING:
            dialled = _dialled.get(args[0])
            if dialled is not None:
                dialled.queue.append(dict(all_members_of(next(iter((*args[1:], *kwargs.values()))))))
        return result

    return taking_place(original, send)


def lane_sending(original: Any, *, is_async: bool) -> Callable[..., Any]:
    """Return the function that takes the place of a lane's `send`, which goes past the `send` of its connection."""
    method = callable_of(original)

    def send(*args: Any, **kwargs: Any) -> Any:
        try:
            return _lane_send(method, args[0])(*args[1:], **kwargs)
        except BaseException as error:
            unseen(error)
            raise

    async def send_async(*args: Any, **kwargs: Any) -> Any:
        try:
            return await _lane_send(method, args[0])(*args[1:], **kwargs)
        except BaseException as error:
            unseen(error)
            raise

    return taking_place(original, send_async if is_async else send)


def _lane_send(method: Callable[..., Any], lane: Any) -> Callable[..., Any]:
    """Return a lane's `send`, watched if its connection is; without the lane's members a turn begins when it is answered."""
    send = partial(method, lane)
    with _SENDING:
        connection = getattr(getattr(lane, "_session", None), "connection", None)
        line = None if connection is None else _lines.get(connection)
        if line is not None:
            return _sending(send, line, getattr(getattr(lane, "_state", None), "stream_id", None))
    return send


def opening(original: Any, reader: Reader, post: Post, *, is_async: bool) -> Callable[..., Any]:
    """Return the function that takes the place of what opens a connection: `__enter__`, `__aenter__` and `enter`."""
    method = callable_of(original)

    def enter(*args: Any, **kwargs: Any) -> Any:
        try:
            connection = method(*args, **kwargs)
        except BaseException as error:
            unseen(error)
            raise
        with _OPENING:
            _attend(connection, args[0], reader, post.switch)
        return connection

    async def enter_async(*args: Any, **kwargs: Any) -> Any:
        try:
            connection = await method(*args, **kwargs)
        except BaseException as error:
            unseen(error)
            raise
        with _OPENING:
            _attend(connection, args[0], reader, post.switch)
        return connection

    return taking_place(original, enter_async if is_async else enter)


def _attend(connection: Any, manager: Any, reader: Reader, switch: Switch) -> None:
    """Have a connection's own methods tell what passes."""
    dialled = _dialled.get(manager)
    if dialled is None or switch.find(dialled.resource) is None:
        return
    asked = dialled.asked
    talk = RealtimeTalk(_model(asked)) if isinstance(reader, RealtimeReader) else None
    line = _Line(Turns(switch, reader, dialled.resource, talk, asked.get("extra_headers")))
    _lines[connection] = line
    while dialled.queue:
        line.turns.ask(dialled.queue.pop(0))
    for name, wrap in _WRAPS.items():
        method = getattr(connection, name, None)
        if method is not None:
            setattr(connection, name, wrap(method, line))


def _model(asked: Mapping[str, Any]) -> str | None:
    query = asked.get("extra_query")
    named = query.get("model") if isinstance(query, Mapping) else None
    return text_of(named) or text_of(asked.get("model"))


class _Line:
    """Holds a connection's turns as long as the connection is there; they end with it."""

    __slots__ = ("turns",)

    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def broke(self, error: BaseException) -> None:
        """Take an error of receiving; only one that says that the connection is closed ends anything."""
        with _CLOSING:
            names = {kind.__name__ for kind in type(error).__mro__}
            if "ConnectionClosed" in names:
                self.turns.close(None if "ConnectionClosedOK" in names else error)
        unseen(error)

    def closed(self) -> None:
        with _CLOSING:
            self.turns.close()

    def __del__(self) -> None:
        self.closed()


def _parsing(parse_event: Callable[..., Any], line: _Line) -> Callable[..., Any]:
    take = _RECEIVING.around(line.turns.take, default=None)

    @wraps(parse_event)
    def watched(*args: Any, **kwargs: Any) -> Any:
        try:
            event = parse_event(*args, **kwargs)
        except BaseException as error:
            unseen(error)
            raise
        take(event)
        return event

    return watched


def _receiving(recv_bytes: Callable[..., Any], line: _Line) -> Callable[..., Any]:
    @wraps(recv_bytes)
    def watched(*args: Any, **kwargs: Any) -> Any:
        try:
            return recv_bytes(*args, **kwargs)
        except BaseException as error:
            line.broke(error)
            raise

    @wraps(recv_bytes)
    async def watched_async(*args: Any, **kwargs: Any) -> Any:
        try:
            return await recv_bytes(*args, **kwargs)
        except BaseException as error:
            line.broke(error)
            raise

    return watched_async if inspect.iscoroutinefunction(recv_bytes) else watched


def _sending(send: Callable[..., Any], line: _Line, stream_id: str | None = None) -> Callable[..., Any]:
    def begin(given: tuple[Any, ...]) -> object:
        event = given[0] if given else None
        return line.turns.ask(event if stream_id is None else {**all_members_of(event), "stream_id": stream_id})

    ask = _SENDING.around(begin, default=None)

    def unsent(turn: object, error: BaseException) -> None:
        with _SENDING:
            line.turns.unsent(turn, error)
        unseen(error)

    @wraps(send)
    def watched(*args: Any, **kwargs: Any) -> Any:
        turn = ask((*args, *kwargs.values()))
        try:
            return send(*args, **kwargs)
        except BaseException as error:
            unsent(turn, error)
            raise

    @wraps(send)
    async def watched_async(*args: Any, **kwargs: Any) -> Any:
        turn = ask((*args, *kwargs.values()))
        try:
            return await send(*args, **kwargs)
        except BaseException as error:
            unsent(turn, error)
            raise

    return watched_async if inspect.iscoroutinefunction(send) else watched


def _closing(close: Callable[..., Any], line: _Line) -> Callable[..., Any]:
    @wraps(close)
    def watched(*args: Any, **kwargs: Any) -> Any:
        try:
            return close(*args, **kwargs)
        except BaseException as error:
            unseen(error)
            raise
        finally:
            line.closed()

    @wraps(close)
    async def watched_async(*args: Any, **kwargs: Any) -> Any:
        try:
            return await close(*args, **kwargs)
        except BaseException as error:
            unseen(error)
            raise
        finally:
            line.closed()

    return watched_async if inspect.iscoroutinefunction(close) else watched


_WRAPS: Final[Mapping[str, Callable[[Callable[..., Any], _Line], Callable[..., Any]]]] = {
    "parse_event": _parsing,
    "recv_bytes": _receiving,
    "send": _sending,
    "close": _closing,
}
