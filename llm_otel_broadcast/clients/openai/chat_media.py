"""Answers of chat completions that are no text: audio (OpenAI) and images (OpenRouter). Described, never kept."""

from __future__ import annotations

from typing import Final

from llm_otel_broadcast.clients.answer_texts import Allowance
from llm_otel_broadcast.clients.reader import Members, items_of, members_of, text_of
from llm_otel_broadcast.record.generation import Choice
from llm_otel_broadcast.record.media import Part, base64_size, blob, link

_MAX_IMAGES: Final = 1_024


class Media:
    """The audio and the images of one choice, in one piece (a message) or in many (the deltas of a stream)."""

    __slots__ = ("_allowance", "_bytes", "_heard", "_id", "_images", "_transcript")

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._heard = False
        self._bytes = 0
        self._id: str | None = None
        self._transcript = allowance.new_text()
        self._images: list[Part] = []

    def add(self, audio: object, extras: Members) -> None:
        """Take a piece: the `audio` member, and those that the client's model does not know."""
        audio = extras.get("audio") if audio is None else audio
        if audio is not None:
            said = members_of(audio)
            data, words = text_of(said.get("data")), text_of(said.get("transcript"))
            self._heard = True
            self._id = text_of(said.get("id")) or self._id
            self._bytes += base64_size(data) if data else 0
            if words:
                self._transcript.append(words)
                self._allowance.count(words)
        for image in items_of(extras, "images"):
            url = text_of(members_of(members_of(image).get("image_url")).get("url"))
            if url and len(self._images) < _MAX_IMAGES:
                self._images.append(link(url, "image"))

    def close(self, choice: Choice, audio_format: object) -> None:
        """Put what came into the choice: the words as its text, unless it has a text of its own."""
        transcript = self._transcript.joined() or None
        if self._heard:
            mime_type = f"audio/{audio_format}" if audio_format else None
            beside = transcript if choice.content else None
            choice.media.append(blob("audio", mime_type, self._bytes, id=self._id, transcript=beside))
        choice.content = choice.content or transcript
        choice.media += self._images


def is_media(audio: object, extras: Members) -> bool:
    """Return whether a message or a delta has any."""
    return audio is not None or ("audio" in extras and extras["audio"] is not None) or bool(extras.get("images"))
