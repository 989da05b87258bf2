"""Reading `audio.speech`: what was to be said, in which voice, and how large the answer is. The audio is never read by us."""

from __future__ import annotations

import json
from typing import Any, Final

from llm_otel_broadcast.clients.openai.openrouter import note_error
from llm_otel_broadcast.clients.openai.usage import read_usage
from llm_otel_broadcast.clients.reader import Reader, members_of, note, text_of
from llm_otel_broadcast.host.deferred import Deferred
from llm_otel_broadcast.record.generation import Generation

_DONE: Final = b'"speech.audio.done"'
_DATA_PREFIX: Final = b"data:"
_MAX_LAST_EVENT_BYTES: Final = 4_096
_MAX_ERROR_BYTES: Final = 100_000


class SpeechReader(Reader):
    """Reads speech."""

    operation = "speech"
    api = None

    def read_request(self, record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
        record.request_model = text_of(kwargs.get("model"))
        record.wants_content = content
        voice = kwargs.get("voice")
        note(
            record,
            output_type="speech",
            # A name, or an object with the id of a custom voice.
            voice=text_of(voice) or text_of(members_of(voice).get("id")),
            audio_format=text_of(kwargs.get("response_format")),
        )
        if content:
            text, record.instructions = text_of(kwargs.get("input")) or "", text_of(kwargs.get("instructions"))
            record.messages = [{"role": "user", "content": text}]
            record.size += len(text) + len(record.instructions or "")

    def read_response(self, record: Generation, response: object) -> None:
        """Measure the answer behind the client's object for binary content."""
        http_response = getattr(response, "response", None)
        if not self.measure(record, http_response):
            record.pending = Deferred(self._read_end, record, http_response)

    def measure(self, record: Generation, response: object) -> bool:
        """Read the answer's size from the HTTP response, which counts what passes.

        Events and JSON are text: the last event has the usage, and JSON is an error that comes with status 200.
        """
        size = getattr(response, "num_bytes_downloaded", None)
        # Zero: the caller has yet to read, or the HTTP library does not count.
        note(record, body_size=size if isinstance(size, int) and size else None)
        content_type = str(getattr(response, "headers", {}).get("content-type"))
        return not any(kind in content_type for kind in ("event-stream", "json"))

    def _read_end(self, record: Generation, response: object) -> None:
        # Absent when the caller has streamed the answer, to a file for instance, instead of keeping it.
        body = getattr(response, "_content", None)
        if isinstance(body, bytes):
            self.read_body(record, body)

    def read_body(self, record: Generation, body: bytes) -> None:
        if body[:1] == b"{" and len(body) <= _MAX_ERROR_BYTES:
            note_error(record, members_of(json.loads(body)))
            return
        # The events before the last are audio in base64: megabytes that need not be parsed.
        for line in reversed(body[-_MAX_LAST_EVENT_BYTES:].splitlines()):
            if _DONE in line and line.startswith(_DATA_PREFIX):
                record.usage = read_usage(json.loads(line.removeprefix(_DATA_PREFIX)).get("usage"))
                return
