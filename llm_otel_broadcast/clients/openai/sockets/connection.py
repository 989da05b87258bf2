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
from typing import Any, Final, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from llm_otel_broadcast.clients.call import Patchpoint
from llm_otel_broadcast.clients.openai.sockets.realtime import RealtimeReader, RealtimeSession
from llm_otel_broadcast.clients.openai.sockets.turns import Turns
from llm_otel_broadcast.clients.patching import Target
from llm_otel_broadcast.clients.reader import all_members_of, text_of
from llm_otel_broadcast.clients.tracebacks import drop_own_frames
from llm_otel_broadcast.clients.wrappers import callable_of, taking_place
from llm_otel_broadcast.host.guard import Guard

_Method: TypeAlias = Callable[..., Any]
"""A method of the client, bound or not: its signature is the client's affair."""

_CONNECTING = Guard("noting a connection")
_OPENING = Guard("starting to watch a connection")
_SENDING = Guard("reading what is sent")
_RECEIVING = Guard("reading an event")
_CLOSING = Guard("ending a connection")


class _UnopenedConnection(NamedTuple):
    """What a connection is to be opened with."""

    resource: Any
    arguments: Mapping[str, Any]
    queue: list[Mapping[str, Any]]
    """Events that are to be sent as soon as the connection opens."""


# Weak, and beside the client's objects instead of on them: a program may look at their members, and drops them when it likes.
_unopened: WeakKeyDictionary[object, _UnopenedConnection] = WeakKeyDictionary()
_watched: WeakKeyDictionary[object, _WatchedConnection] = WeakKeyDictionary()


def watch_connect(_target: Target, original: object, _patchpoint: Patchpoint) -> _Method:
    """Return the function that takes the place of `connect`, which makes what opens the connection later."""
    method = callable_of(original)

    def connect(*args: object, **kwargs: object) -> object:
        try:
            manager = method(*args, **kwargs)
        except BaseException as error:
            drop_own_frames(error)
            raise
        # `connect` only makes a manager: its arguments are needed when the connection opens, here or in another task.
        with _CONNECTING:
            _unopened[manager] = _UnopenedConnection(args[0], dict(kwargs), [])
        return manager

    return taking_place(original, connect)


def watch_queued_send(_target: Target, original: object, _patchpoint: Patchpoint) -> _Method:
    """Return the function that takes the place of a manager's `send`, which keeps an event until the connection opens."""
    method = callable_of(original)

    def send(*args: object, **kwargs: object) -> object:
        try:
            result = method(*args, **kwargs)
        except BaseException as error:
            drop_own_frames(error)
            raise
        with _SENDING:
            unopened = _unopened.get(args[0])
            if unopened is not None:
                # A copy: the caller may use its dict for the next event before the connection opens.
                unopened.queue.append(dict(all_members_of(next(iter((*args[1:], *kwargs.values()))))))
        return result

    return taking_place(original, send)


def watch_lane_send(target: Target, original: object, _patchpoint: Patchpoint) -> _Method:
    """Return the function that takes the place of a lane's `send`, which goes past the `send` of its connection."""
    method = callable_of(original)

    def send(*args: object, **kwargs: object) -> object:
        try:
            return _lane_send(method, args[0])(*args[1:], **kwargs)
        except BaseException as error:
            drop_own_frames(error)
            raise

    async def send_async(*args: object, **kwargs: object) -> object:
        try:
            return await _lane_send(method, args[0])(*args[1:], **kwargs)
        except BaseException as error:
            drop_own_frames(error)
            raise

    return taking_place(original, send_async if target.is_async else send)


def _lane_send(method: _Method, lane: object) -> _Method:
    """Return a lane's `send`, watched if its connection is."""
    send = partial(method, lane)
    # The lane's members are private to the client: without them a turn begins when it is answered.
    with _SENDING:
        connection = getattr(getattr(lane, "_session", None), "connection", None)
        watched = None if connection is None else _watched.get(connection)
        if watched is not None:
            return _watch_send(send, watched, getattr(getattr(lane, "_state", None), "stream_id", None))
    return send


def watch_opening(target: Target, original: object, patchpoint: Patchpoint) -> _Method:
    """Return the function that takes the place of what opens a connection: `__enter__`, `__aenter__` and `enter`."""
    method = callable_of(original)

    def enter(*args: object, **kwargs: object) -> object:
        try:
            connection = method(*args, **kwargs)
        except BaseException as error:
            drop_own_frames(error)
            raise
        with _OPENING:
            _watch_connection(connection, args[0], patchpoint)
        return connection

    async def enter_async(*args: object, **kwargs: object) -> object:
        try:
            connection = await method(*args, **kwargs)
        except BaseException as error:
            drop_own_frames(error)
            raise
        with _OPENING:
            _watch_connection(connection, args[0], patchpoint)
        return connection

    return taking_place(original, enter_async if target.is_async else enter)


def _watch_connection(connection: object, manager: object, patchpoint: Patchpoint) -> None:
    """Replace the methods of a connection that tell what passes."""
    # Opened without `connect` (a manager made by hand), or while nobody watches.
    unopened = _unopened.get(manager)
    if unopened is None or patchpoint.switch.find(unopened.resource) is None:
        return
    arguments = unopened.arguments
    session = None
    if isinstance(patchpoint.reader, RealtimeReader):
        # The URL's model wins: `extra_query` overrides the argument, as in the client.
        query = arguments.get("extra_query")
        model = query.get("model") if isinstance(query, Mapping) else None
        session = RealtimeSession(text_of(model) or text_of(arguments.get("model")))
    # One of its own: the method's is switched off when somebody covers the patch, and the connection stays open.
    lasting = Patchpoint(patchpoint.library, patchpoint.reader, patchpoint.switch)
    # Not held by the connection's methods' closures alone: lanes find it by the connection.
    watched = _WatchedConnection(Turns(lasting, unopened.resource, session, arguments.get("extra_headers")))
    _watched[connection] = watched
    while unopened.queue:
        watched.turns.read_sent(unopened.queue.pop(0))
    # On the object, not on the class: connections that were opened while nobody watched stay as they are.
    for name, watch in _WATCHED_METHODS.items():
        method = getattr(connection, name, None)
        if method is not None:
            setattr(connection, name, watch(method, watched))


class _WatchedConnection:
    """Holds a connection's turns as long as the connection is there; they end with it."""

    __slots__ = ("turns",)

    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def fail_receiving(self, error: BaseException) -> None:
        """End the turns by an error of receiving, if it is one that says that the connection is closed."""
        with _CLOSING:
            # By name: `websockets` is an optional dependency of the client, and its classes have moved between versions.
            names = {kind.__name__ for kind in type(error).__mro__}
            # A timeout of the program's own, or a cancelled `recv`, leaves the connection and its turns as they are.
            if "ConnectionClosed" in names:
                self.turns.close(None if "ConnectionClosedOK" in names else error)
        drop_own_frames(error)

    def close(self) -> None:
        with _CLOSING:
            self.turns.close()

    def __del__(self) -> None:
        # A program may drop a connection without closing it.
        self.close()


def _watch_parsing(parse_event: _Method, connection: _WatchedConnection) -> _Method:
    # Guarded once, not at each event: a spoken answer comes as many small ones.
    read_received = _RECEIVING.around(connection.turns.read_received, default=None)

    @wraps(parse_event)
    def watched(*args: object, **kwargs: object) -> object:
        try:
            event = parse_event(*args, **kwargs)
        except BaseException as error:
            drop_own_frames(error)
            raise
        read_received(event)
        return event

    return watched


def _watch_receiving(recv_bytes: _Method, connection: _WatchedConnection) -> _Method:
    @wraps(recv_bytes)
    def watched(*args: object, **kwargs: object) -> object:
        try:
            return recv_bytes(*args, **kwargs)
        except BaseException as error:
            connection.fail_receiving(error)
            raise

    @wraps(recv_bytes)
    async def watched_async(*args: object, **kwargs: object) -> object:
        try:
            return await recv_bytes(*args, **kwargs)
        except BaseException as error:
            connection.fail_receiving(error)
            raise

    # Sync and async connections have methods of the same names.
    return watched_async if inspect.iscoroutinefunction(recv_bytes) else watched


def _watch_send(send: _Method, connection: _WatchedConnection, stream_id: str | None = None) -> _Method:
    """Return `send`, with a turn for each `response.create` that goes through it.

    Args:
        send: of the connection, or of a lane.
        connection: has the turns.
        stream_id: the lane's; the client adds it to the event below this `send`.
    """

    def begin_turn(arguments: tuple[object, ...]) -> object:
        event = arguments[0] if arguments else None
        lane_event = event if stream_id is None else {**all_members_of(event), "stream_id": stream_id}
        return connection.turns.read_sent(lane_event)

    # Before the event is sent: the answer may be read by another thread before `send` returns.
    begin = _SENDING.around(begin_turn, default=None)

    def fail(turn: object, error: BaseException) -> None:
        with _SENDING:
            connection.turns.fail_sending(turn, error)
        drop_own_frames(error)

    @wraps(send)
    def watched(*args: object, **kwargs: object) -> object:
        turn = begin((*args, *kwargs.values()))
        try:
            return send(*args, **kwargs)
        except BaseException as error:
            fail(turn, error)
            raise

    @wraps(send)
    async def watched_async(*args: object, **kwargs: object) -> object:
        turn = begin((*args, *kwargs.values()))
        try:
            return await send(*args, **kwargs)
        except BaseException as error:
            fail(turn, error)
            raise

    return watched_async if inspect.iscoroutinefunction(send) else watched


def _watch_close(close: _Method, connection: _WatchedConnection) -> _Method:
    @wraps(close)
    def watched(*args: object, **kwargs: object) -> object:
        try:
            return close(*args, **kwargs)
        except BaseException as error:
            drop_own_frames(error)
            raise
        # Also when closing fails: nobody can read from the connection any more.
        finally:
            connection.close()

    @wraps(close)
    async def watched_async(*args: object, **kwargs: object) -> object:
        try:
            return await close(*args, **kwargs)
        except BaseException as error:
            drop_own_frames(error)
            raise
        finally:
            connection.close()

    return watched_async if inspect.iscoroutinefunction(close) else watched


# Not `recv` nor the iterator: both go through `recv_bytes` and `parse_event`, and a program may call those two by itself.
_WATCHED_METHODS: Final[Mapping[str, Callable[[_Method, _WatchedConnection], _Method]]] = {
    "parse_event": _watch_parsing,
    "recv_bytes": _watch_receiving,
    "send": _watch_send,
    "close": _watch_close,
}
