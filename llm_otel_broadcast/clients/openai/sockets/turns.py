"""The responses on one web socket: which are asked for, which are under way, and what of the events belongs to which.

A turn begins when `response.create` is sent, or, when the server asks the model by itself, with `response.created`. It ends
with the response's last event, an error, or the connection.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from llm_otel_broadcast.clients.call import Call, Patchpoint
from llm_otel_broadcast.clients.openai.client import socket_server_of
from llm_otel_broadcast.clients.openai.responses.events import FINAL
from llm_otel_broadcast.clients.openai.responses.whole import error_of, failure_of
from llm_otel_broadcast.clients.openai.sockets.realtime import RealtimeSession
from llm_otel_broadcast.clients.reader import Members, all_members_of, extras_of, is_set, members_of
from llm_otel_broadcast.clients.stream_watch import StreamWatch
from llm_otel_broadcast.record.failure import Failure

_MAX_TURNS: Final = 256
"""At one time on one connection; what is beyond is not recorded."""


class _Turn:
    """One response, asked for or under way.

    Args:
        call: the call that the response is recorded as.
        event: the members of `response.create`.
        arguments: what was asked for, by the names of the responses API.
        settings: the session's, as they were known when this was asked for.
    """

    __slots__ = ("arguments", "call", "event_id", "lane", "settings", "suspect", "watch")

    def __init__(self, call: Call, event: Members, arguments: dict[str, Any], settings: Members) -> None:
        self.call = call
        self.arguments = arguments
        self.settings = settings
        self.watch = StreamWatch(call)
        self.event_id = event.get("event_id")
        self.lane = event.get("stream_id")
        """Several responses can be under way side by side, each in a lane that its events name."""
        self.suspect: Failure | None = None
        """An error that came after this was asked for, without saying what it is about."""


class Turns:
    """All turns of one connection.

    Args:
        patchpoint: says who is watching, and who reads the API's responses.
        resource: what the connection was opened on (`client.responses`).
        session: the state of a realtime session; None: the responses API, where `response.create` says it all.
        headers: the headers that the connection was opened with: a session id may be among them.
    """

    def __init__(self, patchpoint: Patchpoint, resource: object, session: RealtimeSession | None, headers: Any) -> None:
        self._patchpoint = patchpoint
        self._resource = resource
        self._session = session
        self._headers = headers
        self._server = socket_server_of(resource)
        self._requested: deque[_Turn] = deque()
        """Asked for; the server has not begun to answer."""
        self._by_response_id: dict[object, _Turn] = {}
        """Under way."""
        self._by_lane: dict[object, _Turn] = {}
        """The turn that began last in each lane; None is the lane of a connection without lanes."""
        self._has_lanes = False

    def read_sent(self, event: object) -> object:
        """Read an event that the caller sends; return the turn that it begins, if any."""
        members = all_members_of(event)
        kind = members.get("type")
        if kind == "response.create":
            # An error came after the first request, and now the caller asks again: the error was about that request.
            if self._requested and self._requested[0].suspect is not None:
                first = self._requested.popleft()
                first.call.finish(first.suspect)
            turn = self._begin({name: value for name, value in members.items() if is_set(value)})
            if turn is not None:
                self._requested.append(turn)
            return turn
        if self._session is not None and isinstance(kind, str) and self._wants_content():
            self._session.note_sent(kind, members)
        return None

    def fail_sending(self, turn: object, error: BaseException) -> None:
        """End a turn whose `response.create` could not be sent."""
        if isinstance(turn, _Turn) and turn in self._requested:
            self._requested.remove(turn)
            turn.watch.fail(error)

    def read_received(self, event: object) -> None:
        """Read an event that the server sends."""
        members = members_of(event)
        kind = members.get("type")
        if type(kind) is not str:
            return
        # Errors name their response in ways of their own.
        if kind == "error":
            self._read_error(members, event)
        elif kind.startswith("response."):
            turn = self._start(members, event) if kind == "response.created" else self._turn_of(members, event)
            if turn is not None:
                turn.watch.read_chunk(event)
                if kind in FINAL:
                    self._end(turn)
        elif self._session is not None:
            items = self._session.note_received(kind, members, content=self._wants_content())
            if items:
                # The transcript of speech is made beside the answer, and often comes after the answer has begun: the
                # response under way answers it, else it is kept for the next.
                turn = self._by_lane.get(None)
                record = None if turn is None else turn.call.record
                if record is None or not record.wants_content:
                    self._session.add_input(items)
                else:
                    record.messages = [*(record.messages or ()), *items]

    def close(self, error: BaseException | None = None) -> None:
        """End every turn, because the connection has ended."""
        # `dict.fromkeys`: a turn under way is in both dicts, and ends once.
        turns = [*self._requested, *dict.fromkeys([*self._by_response_id.values(), *self._by_lane.values()])]
        self._requested.clear()
        self._by_response_id.clear()
        self._by_lane.clear()
        for turn in turns:
            if turn.suspect is not None:
                turn.call.finish(turn.suspect)
            elif error is not None:
                turn.watch.fail(error)
            else:
                turn.watch.abandon()

    def _begin(self, event: Members) -> _Turn | None:
        # A program that asks and never reads must not fill the memory.
        if len(self._requested) + len(self._by_response_id) >= _MAX_TURNS:
            return None
        settings: Members = {}
        if self._session is not None:
            arguments, settings = self._session.take_request(event), self._session.settings
        else:
            # What can be iterated once is the client's to consume.
            arguments = {name: value for name, value in event.items() if not hasattr(value, "__next__")}
        arguments |= {"stream": True, "extra_headers": self._headers}
        call = self._patchpoint.begin((self._resource,), {**settings, **arguments})
        if call is None:
            return None
        # Placed, not entered: events of several turns come interleaved, so no span can be current between them.
        call.place_record()
        call.record.server = self._server or call.record.server
        return _Turn(call, event, arguments, settings)

    def _start(self, members: Members, event: object) -> _Turn | None:
        """Join `response.created` with what was asked for, in the same lane first come first served."""
        lane = members.get("stream_id") or extras_of(event).get("stream_id")
        lane = lane if isinstance(lane, str) else None
        # A copy: the caller may send from another thread meanwhile.
        turn = next((turn for turn in tuple(self._requested) if turn.lane == lane), None)
        if turn is None:
            # With voice activity detection the realtime server asks the model by itself.
            turn = self._begin({"stream_id": lane})
        else:
            self._requested.remove(turn)
            turn.suspect = None
            # With the settings that the server has stated since: `session.created` comes after the first request.
            if self._session is not None and self._session.settings is not turn.settings:
                record = turn.call.record
                arguments = {**self._session.settings, **turn.arguments}
                self._patchpoint.reader.read_request(record, arguments, content=record.wants_content)
        if turn is None:
            return None
        self._has_lanes = self._has_lanes or lane is not None
        replaced = [self._by_lane.get(lane)]
        self._by_lane[lane] = turn
        response_id = members_of(members.get("response")).get("id")
        if isinstance(response_id, str):
            replaced.append(self._by_response_id.get(response_id))
            self._by_response_id[response_id] = turn
        for other in replaced:
            # Nothing can reach it any more.
            if other is not None and other not in self._by_response_id.values():
                other.watch.abandon()
        return turn

    def _turn_of(self, members: Members, event: object) -> _Turn | None:
        response_id = members.get("response_id") or members_of(members.get("response")).get("id")
        if isinstance(response_id, str):
            return self._by_response_id.get(response_id)
        # Deltas of the responses API name no response: they belong to the one that began last in their lane.
        return self._by_lane.get(self._lane_of(members, event))

    def _lane_of(self, members: Members, event: object) -> object:
        lane = members.get("stream_id")
        # An unknown member for older clients; not looked for at every event of a connection without lanes.
        if lane is None and self._has_lanes:
            lane = extras_of(event).get("stream_id")
        return lane if isinstance(lane, str) else None

    def _end(self, turn: _Turn) -> None:
        # By value, not by the event's own id: the last event may come without the id that the first one had.
        for turns in (self._by_response_id, self._by_lane):
            for key in [key for key, other in turns.items() if other is turn]:
                del turns[key]
        turn.watch.finish()

    def _read_error(self, members: Members, event: object) -> None:
        error = error_of(event)
        if self._session is None:
            lane = self._lane_of(members, event)
            under_way = self._by_lane.get(lane)
            refused = next((turn for turn in tuple(self._requested) if turn.lane == lane), None)
            # Events of a response are numbered, the refusal of a request is not.
            is_numbered = members.get("sequence_number") is not None
            turn = (under_way or refused) if is_numbered else (refused or under_way)
        else:
            # A realtime session has many errors: only one that names the event of a request is about a response.
            event_id = error.get("event_id")
            matching = (turn for turn in tuple(self._requested) if event_id is not None and turn.event_id == event_id)
            turn = next(matching, None)
            if turn is None:
                if event_id is None and self._requested:
                    self._requested[0].suspect = failure_of(error)
                return
        if turn is not None:
            if turn in self._requested:
                self._requested.remove(turn)
            turn.watch.read_chunk(event)
            self._end(turn)

    def _wants_content(self) -> bool:
        observer = self._patchpoint.switch.find(self._resource)
        return observer is not None and observer.wants_content
