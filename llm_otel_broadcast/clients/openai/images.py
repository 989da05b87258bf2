"""Reading `images`: what was asked to be drawn, and how many images of which size came back. The images are never kept."""

from __future__ import annotations

import time
from typing import Any, Final

from llm_otel_broadcast.clients.openai.answers import read_head, read_tail
from llm_otel_broadcast.clients.openai.openrouter import note_error
from llm_otel_broadcast.clients.openai.uploads import note_prompt, note_uploads
from llm_otel_broadcast.clients.reader import (
    Members,
    Reader,
    all_members_of,
    items_of,
    members_of,
    note,
    parameters_of,
    text_of,
)
from llm_otel_broadcast.record.generation import Choice, Generation
from llm_otel_broadcast.record.media import base64_size, image, link

_MAX_IMAGES: Final = 128
_MAX_PROMPT_CHARACTERS: Final = 65_536
"""Of a prompt as the provider has revised it; `gpt-image-1` takes 32,000."""
_LOOKS: Final = {"output_format": "image_format", "quality": "image_quality", "size": "image_size"}
"""What an image looks like: the request may say `auto`, the answer says what that became."""


class ImageReader(Reader):
    """Reads `generate`, `edit` and `create_variation`."""

    operation = "generate_content"
    api = None

    def read_request(self, record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
        record.request_model = text_of(kwargs.get("model"))
        record.stream = kwargs.get("stream") is True
        record.wants_content = content
        record.parameters = parameters_of(kwargs, {"n": "n"})
        # The conventions' word (`gen_ai.output.type`), which tells an image from other generated content.
        note(record, output_type="image")
        # The answer overwrites what it states.
        _note_looks(record, kwargs)
        files = note_uploads(record, kwargs.get("image"), kwargs.get("mask"), modality="image")
        note_prompt(record, kwargs, files, content=content)

    def read_response(self, record: Generation, response: object) -> None:
        members = all_members_of(response)
        read_head(record, members)
        read_tail(record, members)
        _note_looks(record, members)
        for position, item in enumerate(items_of(members, "data")):
            _note_image(record, members_of(item), position)
        note_error(record, members)

    def fold(self, record: Generation) -> ImageFold:
        return ImageFold(record)


class ImageFold:
    """Reads the events of a streamed image: partial images are counted, the last event has the whole one."""

    __slots__ = ("_partial_images", "_record", "_whole_images")

    def __init__(self, record: Generation) -> None:
        self._record = record
        self._partial_images = 0
        self._whole_images = 0

    def add(self, chunk: object) -> bool:
        members = members_of(chunk)
        record = self._record
        # `image_generation.*` of `generate`, `image_edit.*` of `edit`.
        kind = str(members.get("type"))
        if record.first_chunk_ns is None:
            record.first_chunk_ns = time.perf_counter_ns() - record.started
        if kind.endswith(".partial_image"):
            # Previews, of which only the number is kept: each is a whole image in base64.
            self._partial_images += 1
        elif kind.endswith(".completed"):
            read_tail(record, members)
            _note_looks(record, members)
            _note_image(record, members, self._whole_images)
            self._whole_images += 1
            # There is no finish reason: this event tells that a caller who reads no further has it all.
            record.complete = True
        else:
            note_error(record, all_members_of(chunk))
        return False

    def finish(self) -> None:
        note(self._record, partial_images=self._partial_images or None)


def _note_looks(record: Generation, members: Members) -> None:
    note(record, **{name: text_of(members.get(key)) for key, name in _LOOKS.items()})


def _note_image(record: Generation, members: Members, position: int) -> None:
    """Count an image and its bytes; describe it where content is wanted."""
    data, url, revised = (text_of(members.get(name)) for name in ("b64_json", "url", "revised_prompt"))
    details = record.details or {}
    # The sum of all images of the answer.
    earlier_bytes = details.get("image_bytes")
    note(record, images=position + 1)
    if data:
        note(record, image_bytes=base64_size(data) + (earlier_bytes if isinstance(earlier_bytes, int) else 0))
    # In a stream a server may say of any number of images that they are complete.
    if not record.wants_answer or len(record.choices) >= _MAX_IMAGES:
        return
    if revised:
        revised = revised[:_MAX_PROMPT_CHARACTERS]
    answer = Choice(index=position)
    if data:
        kind = details.get("image_format")
        answer.media = [image(data, f"image/{kind}" if kind else None, revised_prompt=revised)]
    # A link expires after an hour and carries a signature, which `link` leaves out.
    elif url:
        answer.media = [link(url, "image", revised_prompt=revised)]
    record.choices.append(answer)
    record.size += len(url or "") + len(revised or "")
