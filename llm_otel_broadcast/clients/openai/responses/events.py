"""Adding up the events of a response: of a stream of the responses API, or of a web socket, realtime's too.

The event's type decides what is read; of most events nothing is. The last event carries the whole response and wins over the
pieces.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from llm_otel_broadcast.clients.answer_texts import Allowance, TextPieces
from llm_otel_broadcast.clients.gateways import note_routing
from llm_otel_broadcast.clients.openai.openrouter import note_error
from llm_otel_broadcast.clients.openai.responses.item_types import is_server_call, waits_for_caller
from llm_otel_broadcast.clients.openai.responses.items import (
    Output,
    server_call,
    tool_call,
)
from llm_otel_broadcast.clients.openai.responses.whole import (
    error_of,
    failure_of,
    note_compaction,
    read_response_head,
    read_whole,
    set_choice,
)
from llm_otel_broadcast.clients.reader import Members, all_members_of, extras_of, members_of
from llm_otel_broadcast.host.guard import is_for_host
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import Generation, ServerCall, ToolCall
from llm_otel_broadcast.record.media import base64_size, blob

FINAL: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled", "response.done"}
)
"""The last event of a response; `response.done` is realtime's, and OpenRouter's."""
_PIECES: Final = {
    "response.output_text.delta": "text",
    "response.text.delta": "text",
    "response.audio_transcript.delta": "text",
    "response.output_audio_transcript.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.reasoning_text.delta": "reasoning",
}
"""Events that carry a piece of text, with the member of `Output` that it belongs to."""
_ENDED_EARLY: Final = Failure("stream_ended_early", "the stream ended before the response did")


class ResponseFold:
    """Adds up the events of one response.

    Args:
        record: gets what they add up to.
        on_finish: called with the record when they have been added up.
    """

    __slots__ = (
        "_allowance",
        "_audio_bytes",
        "_calls",
        "_last_output",
        "_on_finish",
        "_output",
        "_record",
        "_server_calls",
        "_texts",
        "_wants_content",
    )

    def __init__(self, record: Generation, on_finish: Callable[[Generation], None]) -> None:
        self._record = record
        self._on_finish = on_finish
        self._wants_content = record.wants_answer
        self._allowance = Allowance(record.max_characters)
        self._output = Output(self._allowance, wants_content=record.wants_answer)
        self._texts: dict[str, TextPieces | None] = {}
        """Where further pieces go, by the type of their event; None: they are not kept."""
        self._calls: dict[object, tuple[ToolCall, TextPieces]] = {}
        """Calls that wait for the caller, each with the pieces of its arguments, by the key of its item."""
        self._server_calls: dict[object, ServerCall] = {}
        self._audio_bytes = 0
        self._last_output: Output | None = None
        """The items of the whole response, which the last event carries."""

    def add(self, event: Any) -> bool:
        # A further piece of a text, as nearly all events are: half the instructions of the general path.
        try:
            members = event.__dict__
            text = self._texts[members["type"]]
            piece = members["delta"]
            if type(piece) is str and piece:
                if text is not None:
                    # `Allowance.take`, without the call.
                    allowance = self._allowance
                    allowance.room = room = allowance.room - text.append(piece)
                    if room < 0:
                        allowance.cut()
                return False
        except (AttributeError, KeyError, TypeError) as error:
            if is_for_host(error):
                raise
        return self.add_any(event)

    def add_any(self, event: object) -> bool:
        """Take an event of any type."""
        members = members_of(event)
        kind = members.get("type")
        if type(kind) is not str:
            kind = ""
        # Texts first: nearly all events are pieces of one.
        name = _PIECES.get(kind)
        if name is not None:
            piece = self._read_piece(members, event)
            if piece:
                text = self._texts[kind] = getattr(self._output, name) if self._wants_content else None
                if text is not None:
                    text.append(piece)
                    self._allowance.count(piece)
            return False
        read = self._READERS.get(kind)
        if read is not None:
            read(self, members, event)
        elif members.get("object") == "error" or extras_of(event).get("object") == "error":
            # vLLM sends the error where the stream would go on; the client hands it out as an event (inspect_ai#3687).
            note_error(self._record, all_members_of(event))
        return False

    def finish(self) -> Failure | None:
        """Fill the record; where the whole response lacks what its events said, they count."""
        record, last_output = self._record, self._last_output
        pieces = self._output
        self._allowance.cut_to_limit()
        for call, arguments in self._calls.values():
            if arguments:
                call.arguments = arguments.joined() or ""
            pieces.tool_calls.append(call)
        pieces.server_calls += self._server_calls.values()
        if last_output is None:
            self._allowance.note_omitted(record)
            set_choice(record, pieces, None)
        # Some servers end with a response whose `output` is empty.
        elif pieces.says_something and not last_output.says_something:
            reason = record.choices[0].finish_reason if record.choices else None
            self._allowance.note_omitted(record)
            set_choice(record, pieces, "tool_calls" if reason == "stop" and pieces.waits_for_caller else reason)
        if self._audio_bytes and self._wants_content and record.choices:
            record.choices[0].media.append(blob("audio", None, self._audio_bytes))
        self._on_finish(record)
        return _ENDED_EARLY if last_output is None else None

    def _read_piece(self, members: Members, event: object) -> str | None:
        """Return the event's piece, and note when the first one came."""
        delta = members.get("delta")
        # A client that does not know the event keeps its members apart.
        if delta is None:
            delta = extras_of(event).get("delta")
        if not delta or not isinstance(delta, str):
            return None
        record = self._record
        if record.first_chunk_ns is None:
            record.first_chunk_ns = time.perf_counter_ns() - record.started
        return delta

    def _read_reasoning_part(self, _members: Members, _event: object) -> None:
        self._output.begin_reasoning_part()

    def _read_arguments(self, members: Members, event: object) -> None:
        piece = self._read_piece(members, event)
        if piece and self._wants_content:
            key = _item_key(members)
            entry = self._calls.get(key)
            # The event that announces the item may be missing, or come late.
            if entry is None:
                if not self._allowance.admits_call(0):
                    return
                entry = self._calls[key] = (ToolCall(), self._allowance.new_text())
            entry[1].append(piece)
            self._allowance.count(piece)

    def _read_audio(self, members: Members, event: object) -> None:
        # Measured and dropped: a minute of PCM is 3.8 MB of base64.
        piece = self._read_piece(members, event)
        if piece:
            self._audio_bytes += base64_size(piece)

    def _read_item(self, members: Members, event: object) -> None:
        """Read an item that begins, or is whole: calls are read from it, messages and reasoning come in pieces."""
        item = members.get("item") or extras_of(event).get("item")
        # An older client keeps apart what it does not know: `execution`, `environment`.
        item_members = all_members_of(item)
        kind = item_members.get("type")
        key = _item_key(members)
        is_new = key not in self._calls and key not in self._server_calls
        if waits_for_caller(item_members):
            call = tool_call(item, content=self._wants_content)
            if is_new and not self._allowance.admits_call(len(call.id or "") + len(call.name or "")):
                return
            announced = self._calls.get(key)
            # Whole arguments win over their pieces; an item that only begins has none yet.
            pieces = announced[1] if announced and not call.arguments else self._allowance.new_text()
            self._calls[key] = (call, pieces)
            # Who runs it may be known only when the item is whole.
            self._server_calls.pop(key, None)
        elif is_server_call(kind):
            # The item that is whole replaces the one that began: only it has the query, the results and the final status.
            call_by_server = server_call(item, content=self._wants_content)
            if is_new and not self._allowance.admits_call(len(call_by_server.id or "")):
                return
            if not self._allowance.admits_part(call_by_server.details):
                call_by_server = call_by_server._replace(details=None)
            self._server_calls[key] = call_by_server
            self._calls.pop(key, None)
        elif members["type"] == "response.output_item.done" and kind not in ("message", "reasoning"):
            self._output.add_other(item)
            if kind == "compaction":
                note_compaction(self._record)

    def _read_head(self, members: Members, event: object) -> None:
        read_response_head(self._record, _response(members, event))

    def _read_end(self, members: Members, event: object) -> None:
        response = _response(members, event)
        # Some servers leave the status out of the response; the event's name has it, but for `response.done`.
        if not response.get("status") and members["type"] != "response.done":
            response = {**response, "status": members["type"].removeprefix("response.")}
        self._last_output = read_whole(self._record, response)
        # OpenRouter's documentation has it on the last chunk, the schema of the response inside.
        note_routing(self._record, extras_of(event).get("openrouter_metadata"))

    def _read_error(self, _members: Members, event: object) -> None:
        self._record.failure = failure_of(error_of(event))

    _READERS: ClassVar[Mapping[str, Callable[[ResponseFold, Members, Any], object]]] = {
        "response.created": _read_head,
        "response.queued": _read_head,
        "response.in_progress": _read_head,
        "response.output_item.added": _read_item,
        "response.output_item.done": _read_item,
        "response.reasoning_summary_part.added": _read_reasoning_part,
        "response.function_call_arguments.delta": _read_arguments,
        "response.custom_tool_call_input.delta": _read_arguments,
        # Of calls that the provider runs only the time of the first piece is noted: the whole item has the rest.
        "response.mcp_call_arguments.delta": _read_piece,
        "response.code_interpreter_call_code.delta": _read_piece,
        "response.audio.delta": _read_audio,
        "response.output_audio.delta": _read_audio,
        "error": _read_error,
        **dict.fromkeys(FINAL, _read_end),
    }
    """How the other events that say something are read, by type."""


def _response(members: Members, event: object) -> Members:
    return all_members_of(members.get("response") or extras_of(event).get("response"))


def _item_key(members: Members) -> object:
    """Return what tells an item from the others of its response: its index, else its id."""
    # The index first: `response.output_item.added` has no `item_id`, its deltas have.
    key = members.get("output_index")
    if not isinstance(key, int):
        key = members.get("item_id")
    return key if isinstance(key, int | str) else None
