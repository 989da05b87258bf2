"""Reading `images`: what was asked to be drawn, and how many images of which size came back. The images are never kept."""

from __future__ import annotations

import json
import time
from typing import Any, Final

from llm_otel_broadcast.clients.openai.answers import read_head, read_tail
from llm_otel_broadcast.clients.openai.openrouter import note_error
from llm_otel_broadcast.clients.openai.uploads import note_uploads
from llm_otel_broadcast.clients.reader import (
    Members,
    all_members_of,
    items_of,
    members_of,
    note,
    parameters_of,
    text_of,
)
from llm_otel_broadcast.record.generation import Choice, Generation
from llm_otel_broadcast.record.media import base64_size, image, link

_LOOKS: Final = {"output_format": "image_format", "quality": "image_quality", "size": "image_size"}
"""What an image is like: the request may say `auto`, the answer says what it became."""


class ImageReader:
    """Reads `generate`, `edit` and `create_variation`."""

    operation = "generate_content"
    api = None

    def read_request(self, record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
        record.request_model = text_of(kwargs.get("model"))
        record.stream = kwargs.get("stream") is True
        record.wants_content = content
        record.parameters = parameters_of(kwargs, {"n": "n"})
        note(record, output_type="image")
        _note_looks(record, kwargs)
        files = note_uploads(record, kwargs.get("image"), kwargs.get("mask"), modality="image")
        prompt = text_of(kwargs.get("prompt"))
        if content and (prompt or files):
            record.messages = [{"role": "user", "content": [*([prompt] if prompt else []), *files]}]
            record.size += len(prompt or "")

    def read_response(self, record: Generation, response: Any) -> None:
        said = all_members_of(response)
        read_head(record, said)
        read_tail(record, said)
        _note_looks(record, said)
        for position, made in enumerate(items_of(said, "data")):
            _note_image(record, members_of(made), position)
        note_error(record, said)

    def read_body(self, record: Generation, body: bytes) -> None:
        self.read_response(record, json.loads(body))

    def fold(self, record: Generation) -> ImageFold:
        return ImageFold(record)


class ImageFold:
    """Takes the events of a streamed image: partial images are counted, the last event has the whole one."""

    __slots__ = ("_partial", "_record", "_whole")

    def __init__(self, record: Generation) -> None:
        self._record = record
        self._partial = 0
        self._whole = 0

    def add(self, chunk: Any) -> bool:
        said = members_of(chunk)
        record = self._record
        kind = str(said.get("type"))
        if record.first_chunk_ns is None:
            record.first_chunk_ns = time.perf_counter_ns() - record.started
        if kind.endswith(".partial_image"):
            self._partial += 1
        elif kind.endswith(".completed"):
            read_tail(record, said)
            _note_looks(record, said)
            _note_image(record, said, self._whole)
            self._whole += 1
            record.complete = True
        else:
            note_error(record, all_members_of(chunk))
        return False

    def finish(self) -> None:
        note(self._record, partial_images=self._partial or None)


def _note_looks(record: Generation, said: Members) -> None:
    note(record, **{name: text_of(said.get(key)) for key, name in _LOOKS.items()})


def _note_image(record: Generation, made: Members, position: int) -> None:
    """Count an image and its bytes; describe it where content is wanted."""
    data, url, revised = (text_of(made.get(name)) for name in ("b64_json", "url", "revised_prompt"))
    told = record.details or {}
    before = told.get("image_bytes")
    note(record, images=position + 1)
    if data:
        note(record, image_bytes=base64_size(data) + (before if isinstance(before, int) else 0))
    if not record.wants_answer:
        return
    answer = Choice(index=position)
    if data:
        kind = told.get("image_format")
        answer.media = [image(data, f"image/{kind}" if kind else None, revised_prompt=revised)]
    elif url:
        answer.media = [link(url, "image", revised_prompt=revised)]
    record.choices.append(answer)
    record.size += len(url or "") + len(revised or "")
