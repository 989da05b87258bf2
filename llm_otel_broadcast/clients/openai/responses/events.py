"""Adding up the events of a response: of a stream of the responses API, or of a web socket, realtime's too.

The event's type decides; most need a glance only. The last event carries the whole response and wins over the pieces.
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
    put_choice,
    read_answer,
    read_response_head,
)
from llm_otel_broadcast.clients.reader import Members, all_members_of, extras_of, members_of
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
"""Events that carry a piece of text, by what of an `Output` it belongs to."""
_CUT: Final = Failure("stream_ended_early", "the stream ended before the response did")


class ResponseFold:
    """Adds up the events of one response.

    Args:
        record: gets what they add up to.
        settle: called with the record when they have been added up.
    """

    __slots__ = (
        "_allowance",
        "_audio_bytes",
        "_calls",
        "_ended",
        "_output",
        "_record",
        "_server_calls",
        "_settle",
        "_wanted",
    )

    def __init__(self, record: Generation, settle: Callable[[Generation], None]) -> None:
        self._record = record
        self._settle = settle
        self._wanted = record.wants_answer
        self._allowance = Allowance(record.max_characters)
        self._output = Output(self._allowance, wanted=record.wants_answer)
        self._calls: dict[object, tuple[ToolCall, TextPieces]] = {}
        self._server_calls: dict[object, ServerCall] = {}
        self._audio_bytes = 0
        self._ended: Output | None = None

    def add(self, event: Any) -> bool:
        said = members_of(event)
        kind = said.get("type")
        if type(kind) is not str:
            kind = ""
        name = _PIECES.get(kind)
        if name is not None:
            piece = self._piece(said, event)
            if piece and self._wanted:
                getattr(self._output, name).append(piece)
                self._allowance.count(piece)
            return False
        take = self._TAKES.get(kind)
        if take is not None:
            take(self, said, event)
        elif said.get("object") == "error" or extras_of(event).get("object") == "error":
            # vLLM: the event is the error
            note_error(self._record, all_members_of(event))
        return False

    def finish(self) -> Failure | None:
        """Fill the record; where the whole response lacks what its events said, they count."""
        record, ended = self._record, self._ended
        pieces = self._add_up()
        if ended is None:
            self._allowance.note_omitted(record)
            put_choice(record, pieces, None)
        elif pieces.says_something and not ended.says_something:
            reason = record.choices[0].finish_reason if record.choices else None
            self._allowance.note_omitted(record)
            put_choice(record, pieces, "tool_calls" if reason == "stop" and pieces.waits_for_caller else reason)
        if self._audio_bytes and self._wanted and record.choices:
            record.choices[0].media.append(blob("audio", None, self._audio_bytes))
        self._settle(record)
        return _CUT if ended is None else None

    def _add_up(self) -> Output:
        output = self._output
        self._allowance.cut_to_limit()
        for call, pieces in self._calls.values():
            if pieces:
                call.arguments = pieces.joined() or ""
            output.tool_calls.append(call)
        output.server_calls += self._server_calls.values()
        return output

    def _piece(self, said: Members, event: Any) -> str | None:
        """Return the event's piece, and note when the first one came. A client that does not know the event keeps it apart."""
        delta = said.get("delta")
        if delta is None:
            delta = extras_of(event).get("delta")
        if not delta or not isinstance(delta, str):
            return None
        record = self._record
        if record.first_chunk_ns is None:
            record.first_chunk_ns = time.perf_counter_ns() - record.started
        return delta

    def _take_part_of_reasoning(self, _said: Members, _event: Any) -> None:
        self._output.part_of_reasoning()

    def _take_arguments(self, said: Members, event: Any) -> None:
        piece = self._piece(said, event)
        if piece and self._wanted:
            place = _place(said)
            entry = self._calls.get(place)
            if entry is None:
                entry = self._calls[place] = (ToolCall(), self._allowance.new_text())
            entry[1].append(piece)
            self._allowance.count(piece)

    def _take_audio(self, said: Members, event: Any) -> None:
        piece = self._piece(said, event)
        if piece:
            self._audio_bytes += base64_size(piece)

    def _take_item(self, said: Members, event: Any) -> None:
        """Take an item that begins, or is whole: calls are read from it, messages and reasoning come in pieces."""
        item = said.get("item") or extras_of(event).get("item")
        # an older client keeps apart what it does not know: `execution`, `environment`
        told = all_members_of(item)
        kind = told.get("type")
        place = _place(said)
        if waits_for_caller(told):
            call = tool_call(item, content=self._wanted)
            begun = self._calls.get(place)
            pieces = begun[1] if begun and not call.arguments else self._allowance.new_text()
            self._calls[place] = (call, pieces)
            # who runs it may be known only when the item is whole
            self._server_calls.pop(place, None)
        elif is_server_call(kind):
            self._server_calls[place] = server_call(item, content=self._wanted)
            self._calls.pop(place, None)
        elif said["type"] == "response.output_item.done" and kind not in ("message", "reasoning"):
            self._output.take_other(item)
            if kind == "compaction":
                note_compaction(self._record)

    def _take_head(self, said: Members, event: Any) -> None:
        read_response_head(self._record, _response(said, event))

    def _take_end(self, said: Members, event: Any) -> None:
        response = _response(said, event)
        if not response.get("status") and said["type"] != "response.done":
            response = {**response, "status": said["type"].removeprefix("response.")}
        self._ended = read_answer(self._record, response)
        # OpenRouter's documentation has it on the last chunk, the schema of the response inside
        note_routing(self._record, extras_of(event).get("openrouter_metadata"))

    def _take_error(self, _said: Members, event: Any) -> None:
        self._record.failure = failure_of(error_of(event))

    _TAKES: ClassVar[Mapping[str, Callable[[ResponseFold, Members, Any], object]]] = {
        "response.created": _take_head,
        "response.queued": _take_head,
        "response.in_progress": _take_head,
        "response.output_item.added": _take_item,
        "response.output_item.done": _take_item,
        "response.reasoning_summary_part.added": _take_part_of_reasoning,
        "response.function_call_arguments.delta": _take_arguments,
        "response.custom_tool_call_input.delta": _take_arguments,
        "response.mcp_call_arguments.delta": _piece,
        "response.code_interpreter_call_code.delta": _piece,
        "response.audio.delta": _take_audio,
        "response.output_audio.delta": _take_audio,
        "error": _take_error,
        **dict.fromkeys(FINAL, _take_end),
    }
    """What is done with the other events that say something, by type."""


def _response(said: Members, event: Any) -> Members:
    return all_members_of(said.get("response") or extras_of(event).get("response"))


def _place(said: Members) -> object:
    """Return what tells an item from the others of its response."""
    place = said.get("output_index")
    if not isinstance(place, int):
        place = said.get("item_id")
    return place if isinstance(place, int | str) else None
