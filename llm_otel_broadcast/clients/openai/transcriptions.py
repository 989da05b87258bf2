"""Reading `audio.transcriptions` and `audio.translations`: audio in, text out, as JSON, as plain text or as events."""

from __future__ import annotations

import json
import time
from typing import Any, Final

from llm_otel_broadcast.clients.answer_texts import Allowance
from llm_otel_broadcast.clients.openai.answers import read_head, read_tail
from llm_otel_broadcast.clients.openai.openrouter import note_error
from llm_otel_broadcast.clients.openai.uploads import note_uploads
from llm_otel_broadcast.clients.reader import (
    Members,
    all_members_of,
    members_of,
    note,
    parameters_of,
    text_of,
    text_within,
)
from llm_otel_broadcast.record.generation import Choice, Generation
from llm_otel_broadcast.record.usage import Usage

PARAMETERS: Final = {"temperature": "temperature"}


class TranscriptionReader:
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
        files = note_uploads(record, kwargs.get("file"), modality="audio")
        prompt = text_of(kwargs.get("prompt"))
        if content and (prompt or files):
            record.messages = [{"role": "user", "content": [*([prompt] if prompt else []), *files]}]
            record.size += len(prompt or "")

    def read_response(self, record: Generation, response: Any) -> None:
        if isinstance(response, str):
            self._read_text(record, response)
            return
        said = all_members_of(response)
        read_head(record, said)
        self._read_text(record, text_of(said.get("text")))
        _read_usage(record, said)
        note_error(record, said)

    def _read_text(self, record: Generation, text: str | None) -> None:
        if record.wants_answer and text:
            record.choices = [Choice(content=text)]
            record.size += len(text)

    def read_body(self, record: Generation, body: bytes) -> None:
        text = body.decode("utf-8", "replace")
        try:
            told = json.loads(text)
        except ValueError:
            told = None
        self.read_response(record, told if isinstance(told, dict) else text)

    def fold(self, record: Generation) -> TranscriptionFold:
        return TranscriptionFold(record)


class TranscriptionFold:
    """Takes the events of a streamed transcription: pieces of text, and at the end the whole."""

    __slots__ = ("_allowance", "_pieces", "_record")

    def __init__(self, record: Generation) -> None:
        self._record = record
        self._allowance = Allowance(record.max_characters)
        self._pieces = self._allowance.texts()

    def add(self, chunk: Any) -> bool:
        said = members_of(chunk)
        record = self._record
        kind, piece = said.get("type"), said.get("delta")
        if piece and record.first_chunk_ns is None:
            record.first_chunk_ns = time.perf_counter_ns() - record.started
        if kind == "transcript.text.done":
            record.complete = True
            _read_usage(record, said)
            piece = said.get("text")
            # the whole text stands in for its pieces
            self._allowance = Allowance(record.max_characters)
            self._pieces = self._allowance.texts()
        elif kind != "transcript.text.delta":  # a segment repeats the text of its deltas
            note_error(record, all_members_of(chunk))
            return False
        if record.wants_answer and piece:
            text = text_within(piece)
            self._pieces.append(text)
            self._allowance.take(text)
        return False

    def finish(self) -> None:
        self._allowance.note(self._record)
        text = self._pieces.joined()
        if text:
            self._record.choices = [Choice(content=text)]
            self._record.size += len(text)


def _read_usage(record: Generation, said: Members) -> None:
    """Read tokens or seconds; whisper-1 states the length beside the text where it gives no usage."""
    read_tail(record, said)
    note(record, answer_language=text_of(said.get("language")))
    length = said.get("duration")
    if record.usage is None and length is not None:
        seconds = _seconds(length)
        record.usage = Usage(seconds=seconds) if seconds is not None else None


def _seconds(length: object) -> float | None:
    """Return a length that is a number, or the text of one as older clients have it."""
    try:
        return float(length) if isinstance(length, int | float | str) else None
    except ValueError:
        return None
