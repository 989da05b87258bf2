"""Answers of the operations that make or hear media: images, speech, transcriptions, translations."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from llm_otel_broadcast.stand_in.answers import CREATED, Answer, event, pieces, to_json

IMAGE: Final = b"\x89PNG\r\n\x1a\n" + bytes(120)
"""What every image is that the stand-in draws, 128 bytes."""
AUDIO: Final = b"ID3" + bytes(1_021)
"""What every speech is, 1,024 bytes."""
IMAGE_USAGE: Final = {
    "input_tokens": 12,
    "output_tokens": 272,
    "total_tokens": 284,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 2},
}
SPEECH_USAGE: Final = {"input_tokens": 9, "output_tokens": 60, "total_tokens": 69}
HEARING_USAGE: Final = {
    "type": "tokens",
    "input_tokens": 40,
    "output_tokens": 8,
    "total_tokens": 48,
    "input_token_details": {"audio_tokens": 36, "text_tokens": 4},
}
_CHUNK: Final = 256


def images(
    count: int = 1,
    *,
    usage: Mapping[str, Any] | None = IMAGE_USAGE,
    url: str | None = None,
    revised_prompt: str | None = None,
    **looks: str,
) -> Answer:
    """Return images in base64, or by `url`; `looks` are what the newer models state: size, quality, output_format."""
    one: dict[str, Any] = {"url": url} if url else {"b64_json": base64.b64encode(IMAGE).decode()}
    if revised_prompt:
        one["revised_prompt"] = revised_prompt
    document: dict[str, Any] = {"created": CREATED, "data": [one] * count, **looks}
    return Answer(body=to_json({**document, "usage": usage} if usage else document))


def image_events(partial: int = 2, *, kind: str = "image_generation", finished: bool = True) -> Answer:
    """Return a streamed image: so many partial ones, then the whole; `kind` is `image_edit` for an edited one."""
    common = {
        "b64_json": base64.b64encode(IMAGE).decode(),
        "background": "opaque",
        "created_at": CREATED,
        "output_format": "png",
        "quality": "high",
        "size": "1024x1024",
    }
    events = [
        event({"type": f"{kind}.partial_image", "partial_image_index": index, **common}, with_type=True)
        for index in range(partial)
    ]
    if finished:
        events.append(event({"type": f"{kind}.completed", "usage": IMAGE_USAGE, **common}, with_type=True))
    return Answer(events=tuple(events))


def speech(audio: bytes = AUDIO) -> Answer:
    """Return audio in pieces of 256 bytes."""
    made = tuple(audio[start : start + _CHUNK] for start in range(0, len(audio), _CHUNK))
    return Answer(events=made, headers={"Content_Type": "audio/mpeg"})


def speech_events(audio: bytes = AUDIO) -> Answer:
    """Return audio as events (`stream_format="sse"`), the last one with the usage."""
    halves = (audio[: len(audio) // 2], audio[len(audio) // 2 :])
    events = [event({"type": "speech.audio.delta", "audio": base64.b64encode(half).decode()}) for half in halves]
    return Answer(events=(*events, event({"type": "speech.audio.done", "usage": SPEECH_USAGE})))


def transcription(text: str, *, usage: Mapping[str, Any] | None = HEARING_USAGE, **members: Any) -> Answer:
    """Return a transcription or translation as JSON; `members` are those of `verbose_json`."""
    document = {"text": text, **members}
    return Answer(body=to_json({**document, "usage": usage} if usage else document))


def plain_transcription(text: str) -> Answer:
    """Return the same as `text`, `srt` or `vtt`."""
    return Answer(body=text.encode(), headers={"Content_Type": "text/plain; charset=utf-8"})


def transcription_events(text: str, *, finished: bool = True) -> Answer:
    """Return a streamed transcription, each word an event, then the whole with the usage."""
    events = [event({"type": "transcript.text.delta", "delta": piece}) for piece in pieces(text)]
    if finished:
        events.append(event({"type": "transcript.text.done", "text": text, "usage": HEARING_USAGE}))
    return Answer(events=tuple(events))
