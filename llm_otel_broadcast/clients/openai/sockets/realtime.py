"""Reading realtime: what a response was asked for is spread over the session, the conversation and `response.create`.

Audio is measured and dropped; transcripts are content like any text.
"""

from __future__ import annotations

from typing import Any, Final

from llm_otel_broadcast.clients.openai.responses.reader import ResponsesReader
from llm_otel_broadcast.clients.reader import Members, all_members_of, items_of, text_of
from llm_otel_broadcast.record.media import base64_size, blob

_SETTINGS: Final = {
    "instructions": "instructions",
    "max_output_tokens": "max_output_tokens",
    "max_response_output_tokens": "max_output_tokens",
    "modalities": "modalities",
    "model": "model",
    "output_modalities": "modalities",
    "prompt": "prompt",
    "temperature": "temperature",
    "tool_choice": "tool_choice",
    "tools": "tools",
}
"""What a session or one response may set, under the names of today and of the beta, by the names of the responses API."""
_MAX_INPUT_ITEMS: Final = 256
"""Kept between two responses; a program that only listens must not fill the memory."""


class RealtimeReader(ResponsesReader):
    """Reads realtime responses: the same items, usage and ends as in the responses API."""

    operation = "generate_content"
    api = None


class RealtimeSession:
    """The state of one realtime session: its settings, and the input since the last response.

    Args:
        model: as the URL names it.
    """

    def __init__(self, model: str | None) -> None:
        self.settings: dict[str, Any] = {"model": model} if model else {}
        """What holds for every response that does not say otherwise; replaced when it changes."""
        self._input_items: list[object] = []
        """What was added to the conversation since the last response was asked for."""

    def take_request(self, create: Members) -> dict[str, Any]:
        """Return the arguments of a response, by the names of the responses API, and begin to collect the next one's input.

        Args:
            create: the members of the event `response.create`.
        """
        response = all_members_of(create.get("response"))
        # Taken over, not copied: what the caller adds from now on belongs to the next response.
        input_items, self._input_items = self._input_items, []
        # A response with an `input` of its own is made without the conversation.
        own_input = items_of(response, "input")
        return {**_settings_in(response), "input": [_without_audio(item) for item in own_input] or input_items}

    def note_sent(self, kind: str, event: Members) -> None:
        """Note what the caller adds to the conversation."""
        # Audio that is streamed in (`input_audio_buffer.append`) says nothing that a span could hold; its transcript comes back.
        if kind == "conversation.item.create":
            self._add(_without_audio(event.get("item")))

    def note_received(self, kind: str, event: Members, *, content: bool) -> list[object]:
        """Note the session's settings as the server states them; return what the user said, if the event has it."""
        if kind in ("session.created", "session.updated"):
            # A new dict, so that a turn can tell by identity whether the settings have changed since it was asked for.
            self.settings = {**self.settings, **_settings_in(all_members_of(event.get("session")))}
        elif content and kind == "conversation.item.input_audio_transcription.completed":
            transcript = text_of(event.get("transcript"))
            if transcript:
                return [{"role": "user", "content": transcript}]
        return []

    def add_input(self, items: list[object]) -> None:
        """Keep what the user said for the next response."""
        for item in items:
            self._add(item)

    def _add(self, item: object) -> None:
        if len(self._input_items) < _MAX_INPUT_ITEMS:
            self._input_items.append(item)


def _settings_in(members: Members) -> dict[str, Any]:
    return {name: members[key] for key, name in _SETTINGS.items() if members.get(key) is not None}


def _without_audio(item: object) -> dict[str, Any]:
    """Copy an item of the conversation without its audio."""
    members = dict(all_members_of(item))
    parts = members.get("content")
    if isinstance(parts, list | tuple):
        members["content"] = copies = [dict(all_members_of(part)) for part in parts]
        for position, part in enumerate(copies):
            if "audio" in part or "transcript" in part:
                # The words where they are known, else how much audio there was.
                transcript, audio = text_of(part.get("transcript")), part.get("audio")
                size = base64_size(audio) if isinstance(audio, str) and not transcript else 0
                copies[position] = {"type": "text", "text": transcript} if transcript else blob("audio", None, size)
    return members
