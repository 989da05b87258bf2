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
"""What a session or one response may set, under the names of today and of the beta."""
_MAX_HEARD: Final = 256


class RealtimeReader(ResponsesReader):
    """Reads realtime responses: the same items, usage and ends as in the responses API."""

    operation = "generate_content"
    api = None


class RealtimeTalk:
    """What is known of one realtime session.

    Args:
        model: as the URL names it.
    """

    def __init__(self, model: str | None) -> None:
        self.settings: dict[str, Any] = {"model": model} if model else {}
        """What holds for every response that does not say otherwise; replaced when it changes."""
        self._heard: list[object] = []
        """What was said to the model since it was last asked."""

    def request(self, said: Members) -> dict[str, Any]:
        """Return what a response itself is asked for, by the names of the responses API; `said`: `response.create`."""
        own = all_members_of(said.get("response"))
        heard, self._heard = self._heard, []
        given = items_of(own, "input")
        return {**_settings(own), "input": [_bare(item) for item in given] if given else heard}

    def sent(self, kind: str, said: Members) -> None:
        """Note what the caller adds to the conversation."""
        if kind == "conversation.item.create":
            self._hear(_bare(said.get("item")))

    def received(self, kind: str, said: Members, *, content: bool) -> list[object]:
        """Note what the server tells of the session; return what it heard the user say."""
        if kind in ("session.created", "session.updated"):
            self.settings = {**self.settings, **_settings(all_members_of(said.get("session")))}
        elif content and kind == "conversation.item.input_audio_transcription.completed":
            transcript = text_of(said.get("transcript"))
            if transcript:
                return [{"role": "user", "content": transcript}]
        return []

    def hear(self, heard: list[object]) -> None:
        """Keep what was said for the next response."""
        for item in heard:
            self._hear(item)

    def _hear(self, item: object) -> None:
        if len(self._heard) < _MAX_HEARD:
            self._heard.append(item)


def _settings(said: Members) -> dict[str, Any]:
    return {name: said[key] for key, name in _SETTINGS.items() if said.get(key) is not None}


def _bare(item: Any) -> dict[str, Any]:
    """Copy an item of the conversation without its audio."""
    said = dict(all_members_of(item))
    parts = said.get("content")
    if isinstance(parts, list | tuple):
        said["content"] = [_bare_part(dict(all_members_of(part))) for part in parts]
    return said


def _bare_part(part: dict[str, Any]) -> dict[str, Any]:
    if "audio" not in part and "transcript" not in part:
        return part
    transcript = text_of(part.get("transcript"))
    if transcript:
        return {"type": "text", "text": transcript}
    audio = part.get("audio")
    return blob("audio", None, base64_size(audio) if isinstance(audio, str) else 0)
