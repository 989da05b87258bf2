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

    __slots__ = ("_allowance", "_audio_bytes", "_audio_id", "_has_audio", "_images", "_transcript")

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._has_audio = False
        self._audio_bytes = 0
        self._audio_id: str | None = None
        self._transcript = allowance.new_text()
        self._images: list[Part] = []

    def add(self, audio: object, extras: Members) -> None:
        """Add a piece.

        Args:
            audio: the `audio` member of a message or a delta, if the client's model knows it.
            extras: the members that the client's model does not know.
        """
        # The client's model of a delta has no `audio`: it is among the unknown members.
        audio = extras.get("audio") if audio is None else audio
        if audio is not None:
            members = members_of(audio)
            data, transcript = text_of(members.get("data")), text_of(members.get("transcript"))
            self._has_audio = True
            self._audio_id = text_of(members.get("id")) or self._audio_id
            # Each piece is base64 of its own, with padding of its own.
            self._audio_bytes += base64_size(data) if data else 0
            if transcript:
                self._transcript.append(transcript)
                self._allowance.count(transcript)
        # OpenRouter's image models answer with `images` beside the text, as data URLs.
        for image in items_of(extras, "images"):
            url = text_of(members_of(members_of(image).get("image_url")).get("url"))
            # `link` describes a data URL instead of keeping it.
            part = link(url, "image") if url else None
            if part and len(self._images) < _MAX_IMAGES and self._allowance.admits_part(part):
                self._images.append(part)

    def close(self, choice: Choice, audio_format: object) -> None:
        """Put what came into the choice: the words as its text, unless it has a text of its own."""
        transcript = self._transcript.joined() or None
        if self._has_audio:
            mime_type = f"audio/{audio_format}" if audio_format else None
            # Where the transcript becomes the answer's text it is not repeated.
            own_transcript = transcript if choice.content else None
            choice.media.append(
                blob("audio", mime_type, self._audio_bytes, id=self._audio_id, transcript=own_transcript)
            )
        choice.content = choice.content or transcript
        choice.media += self._images


def is_media(audio: object, extras: Members) -> bool:
    """Return whether a message or a delta has any."""
    return audio is not None or ("audio" in extras and extras["audio"] is not None) or bool(extras.get("images"))
