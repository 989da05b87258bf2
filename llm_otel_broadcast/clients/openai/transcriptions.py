"""Reading `audio.transcriptions` and `audio.translations`: audio in, text out, as JSON, as plain text or as events."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Final

from llm_otel_broadcast.clients.answer_texts import Allowance
from llm_otel_broadcast.clients.openai.answers import read_head, read_tail
from llm_otel_broadcast.clients.openai.openrouter import note_error
from llm_otel_broadcast.clients.openai.uploads import note_prompt, note_uploads
from llm_otel_broadcast.clients.reader import (
    Members,
    Reader,
    all_members_of,
    members_of,
    note,
    parameters_of,
    parse_json,
    text_of,
    text_within,
)
from llm_otel_broadcast.record.generation import Choice, Generation
from llm_otel_broadcast.record.usage import Usage

PARAMETERS: Final = {"temperature": "temperature"}


class TranscriptionReader(Reader):
    """Reads transcriptions, and translations in the same way."""

    api = None

    def __init__(self, operation: str) -> None:
        self.operation = operation

    def read_request(self, record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
        record.request_model = text_of(kwargs.get("model"))
        record.stream = kwargs.get("stream") is True
        record.wants_content = content
        record.parameters = parameters_of(kwargs, PARAMETERS)
        note(
            record,
            text_format=text_of(kwargs.get("response_format")),
            language=text_of(kwargs.get("language")),
        )
        # The prompt is a hint at spelling, or the text before; the audio is described, never kept.
        files = note_uploads(record, kwargs.get("file"), modality="audio")
        note_prompt(record, kwargs, files, content=content)

    def read_response(self, record: Generation, response: object) -> None:
        # `response_format="text"`, "srt" and "vtt": the client returns a `str`.
        if isinstance(response, str):
            self._read_text(record, response)
            return
        members = all_members_of(response)
        read_head(record, members)
        self._read_text(record, text_of(members.get("text")))
        _read_usage(record, members)
        note_error(record, members)

    def _read_text(self, record: Generation, text: str | None) -> None:
        if record.wants_answer and text:
            record.choices = [Choice(content=text)]
            record.size += len(text)

    def read_body(self, record: Generation, body: bytes) -> None:
        text = body.decode("utf-8", "replace")
        try:
            document = parse_json(body)
        except ValueError:
            document = None
        # A transcription in plain text may be valid JSON by chance: "42", for one.
        self.read_response(record, document if isinstance(document, dict) else text)

    def fold(self, record: Generation) -> TranscriptionFold:
        return TranscriptionFold(record)


class TranscriptionFold:
    """Reads the events of a streamed transcription: pieces of text, and at the end the whole."""

    __slots__ = ("_allowance", "_pieces", "_record")

    def __init__(self, record: Generation) -> None:
        self._record = record
        self._allowance = Allowance(record.max_characters)
        self._pieces = self._allowance.new_text()

    def add(self, chunk: object) -> bool:
        members = members_of(chunk)
        record = self._record
        kind, piece = members.get("type"), members.get("delta")
        # Segments of diarized transcriptions carry no `delta`.
        if piece and record.first_chunk_ns is None:
            record.first_chunk_ns = time.perf_counter_ns() - record.started
        if kind == "transcript.text.done":
            # There is no finish reason: this event tells that a caller who reads no further has it all.
            record.complete = True
            _read_usage(record, members)
            piece = members.get("text")
            # The whole text stands in for its pieces.
            self._allowance = Allowance(record.max_characters)
            self._pieces = self._allowance.new_text()
        elif kind != "transcript.text.delta":
            # `transcript.text.segment` repeats the text of its deltas; anything else may be an error.
            note_error(record, all_members_of(chunk))
            return False
        if record.wants_answer and piece:
            text = text_within(piece)
            self._pieces.append(text)
            self._allowance.count(text)
        return False

    def finish(self) -> None:
        self._allowance.note_omitted(self._record)
        text = self._pieces.joined()
        if text:
            self._record.choices = [Choice(content=text)]
            self._record.size += len(text)


def _read_usage(record: Generation, members: Members) -> None:
    """Read tokens or seconds; whisper-1 states the length beside the text where it gives no usage."""
    read_tail(record, members)
    note(record, answer_language=text_of(members.get("language")))
    duration = members.get("duration")
    if record.usage is None and isinstance(duration, int | float | str):
        # A number, or the text of one as older clients have it; any other text is no length.
        with suppress(ValueError):
            record.usage = Usage(seconds=float(duration))
