"""The responses on one web socket: which are asked for, which are under way, and what of the events belongs to which.

A turn begins when `response.create` is sent, or, when the server asks the model by itself, with `response.created`. It ends
with the response's last event, an error, or the connection.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from llm_otel_broadcast.clients.call import Call, Switch, begin
from llm_otel_broadcast.clients.openai.responses.events import FINAL
from llm_otel_broadcast.clients.openai.responses.whole import error_of, failure_of
from llm_otel_broadcast.clients.openai.server import socket_server_of
from llm_otel_broadcast.clients.openai.sockets.realtime import RealtimeTalk
from llm_otel_broadcast.clients.reader import Members, Reader, all_members_of, extras_of, is_set, members_of
from llm_otel_broadcast.clients.streams import StreamWatch
from llm_otel_broadcast.record.failure import Failure

_MAX_TURNS: Final = 256
"""At one time on one connection; what is beyond is not recorded."""


class _Turn:
    """One response, asked for or under way."""

    __slots__ = ("asked", "call", "event_id", "lane", "settings", "suspect", "watch")

    def __init__(self, call: Call, said: Members, asked: dict[str, Any], settings: Members) -> None:
        self.call = call
        self.asked = asked
        self.settings = settings
        """Of the session, as they were known when this was asked for."""
        self.watch = StreamWatch(call)
        self.event_id = said.get("event_id")
        self.lane = said.get("stream_id")
        """Several responses can be under way side by side, each in a lane that its events name."""
        self.suspect: Failure | None = None
        """An error that came after this was asked for, without saying what it is about."""


class Turns:
    """All turns of one connection.

    Args:
        switch: says who is watching.
        reader: reads the API's responses.
        resource: what the connection was opened on (`client.responses`).
        talk: what is known of a realtime session; None: the responses API, where `response.create` says it all.
        headers: the headers that the connection was opened with: a session id may be among them.
    """

    def __init__(self, switch: Switch, reader: Reader, resource: Any, talk: RealtimeTalk | None, headers: Any) -> None:
        self._switch = switch
        self._reader = reader
        self._resource = resource
        self._talk = talk
        self._headers = headers
        self._server = socket_server_of(resource)
        self._asked: deque[_Turn] = deque()
        self._open: dict[object, _Turn] = {}
        self._lanes: dict[object, _Turn] = {}
        self._has_lanes = False

    def ask(self, event: Any) -> object:
        """Take an event that the caller sends; return the turn that it begins, if any."""
        said = all_members_of(event)
        kind = said.get("type")
        if kind == "response.create":
            if self._asked and self._asked[0].suspect is not None:
                first = self._asked.popleft()
                first.call.finish(first.suspect)
            turn = self._begin({name: value for name, value in said.items() if is_set(value)})
            if turn is not None:
                self._asked.append(turn)
            return turn
        if self._talk is not None and isinstance(kind, str) and self._wants_content():
            self._talk.sent(kind, said)
        return None

    def unsent(self, turn: object, error: BaseException) -> None:
        """Take the error of sending what would have begun a turn."""
        if isinstance(turn, _Turn) and turn in self._asked:
            self._asked.remove(turn)
            turn.watch.fail(error)

    def take(self, event: Any) -> None:
        """Take an event that the server sends."""
        said = members_of(event)
        kind = said.get("type")
        if type(kind) is not str:
            return
        if kind == "error":
            self._take_error(said, event)
        elif kind.startswith("response."):
            turn = self._start(said, event) if kind == "response.created" else self._turn_of(said, event)
            if turn is not None:
                turn.watch.read_chunk(event)
                if kind in FINAL:
                    self._end(turn)
        elif self._talk is not None:
            self._hear(self._talk, self._talk.received(kind, said, content=self._wants_content()))

    def close(self, error: BaseException | None = None) -> None:
        """Take the end of the connection, which is the end of every turn."""
        left = [*self._asked, *dict.fromkeys([*self._open.values(), *self._lanes.values()])]
        self._asked.clear()
        self._open.clear()
        self._lanes.clear()
        for turn in left:
            if turn.suspect is not None:
                turn.call.finish(turn.suspect)
            elif error is not None:
                turn.watch.fail(error)
            else:
                turn.watch.abandon()

    def _begin(self, said: Members) -> _Turn | None:
        if len(self._asked) + len(self._open) >= _MAX_TURNS:
            return None
        settings: Members = {}
        if self._talk is not None:
            asked, settings = self._talk.request(said), self._talk.settings
        else:  # what can be iterated once is the client's to consume
            asked = {name: value for name, value in said.items() if not hasattr(value, "__next__")}
        asked |= {"stream": True, "extra_headers": self._headers}
        call = begin(self._switch, self._reader, self._resource, (), {**settings, **asked})
        if call is None:
            return None
        call.place()
        call.record.server = self._server or call.record.server
        return _Turn(call, said, asked, settings)

    def _start(self, said: Members, event: Any) -> _Turn | None:
        """Join `response.created` with what was asked for, in the same lane first come first served."""
        lane = said.get("stream_id") or extras_of(event).get("stream_id")
        lane = lane if isinstance(lane, str) else None
        turn = next((turn for turn in tuple(self._asked) if turn.lane == lane), None)
        if turn is None:
            turn = self._begin({"stream_id": lane})
        else:
            self._asked.remove(turn)
            turn.suspect = None
            self._ask_again(turn)
        if turn is None:
            return None
        self._has_lanes = self._has_lanes or lane is not None
        before = [self._lanes.get(lane)]
        self._lanes[lane] = turn
        identity = members_of(said.get("response")).get("id")
        if isinstance(identity, str):
            before.append(self._open.get(identity))
            self._open[identity] = turn
        for other in before:
            if other is not None and other not in self._open.values():  # nothing can reach it any more
                other.watch.abandon()
        return turn

    def _ask_again(self, turn: _Turn) -> None:
        """Read anew what was asked for when the session's settings have been told since, as they are at its start."""
        if self._talk is None or self._talk.settings is turn.settings:
            return
        record = turn.call.record
        asked = {**self._talk.settings, **turn.asked}
        self._reader.read_request(record, asked, content=record.wants_content)

    def _turn_of(self, said: Members, event: Any) -> _Turn | None:
        identity = said.get("response_id") or members_of(said.get("response")).get("id")
        if isinstance(identity, str):
            return self._open.get(identity)
        return self._lanes.get(self._lane_of(said, event))

    def _lane_of(self, said: Members, event: Any) -> object:
        lane = said.get("stream_id")
        if lane is None and self._has_lanes:
            lane = extras_of(event).get("stream_id")
        return lane if isinstance(lane, str) else None

    def _end(self, turn: _Turn) -> None:
        for book in (self._open, self._lanes):
            for key in [key for key, other in book.items() if other is turn]:
                del book[key]
        turn.watch.finish()

    def _take_error(self, said: Members, event: Any) -> None:
        error = error_of(event)
        if self._talk is not None:  # a session has many errors: only one that says so is about a response
            about = error.get("event_id")
            turn = next((turn for turn in tuple(self._asked) if about is not None and turn.event_id == about), None)
            if turn is None:
                if about is None and self._asked:
                    self._asked[0].suspect = failure_of(error)
                return
        else:
            turn = self._in_error(said, event)
        if turn is not None:
            if turn in self._asked:
                self._asked.remove(turn)
            turn.watch.read_chunk(event)
            self._end(turn)

    def _in_error(self, said: Members, event: Any) -> _Turn | None:
        """Return the turn that an error is about: with a number it is part of a response's events, else it refuses a request."""
        lane = self._lane_of(said, event)
        under_way = self._lanes.get(lane)
        refused = next((turn for turn in tuple(self._asked) if turn.lane == lane), None)
        if said.get("sequence_number") is not None:
            return under_way or refused
        return refused or under_way

    def _hear(self, talk: RealtimeTalk, heard: list[object]) -> None:
        """Add what the user said to the response under way, which answers it, else keep it for the next."""
        if not heard:
            return
        turn = self._lanes.get(None)
        record = None if turn is None else turn.call.record
        if record is None or not record.wants_content:
            talk.hear(heard)
        else:
            record.messages = [*(record.messages or ()), *heard]

    def _wants_content(self) -> bool:
        observer = self._switch.find(self._resource)
        return observer is not None and observer.wants_content
