"""Describing the files that a call uploads: names, and sizes where a look tells them. Never reads, seeks or opens anything."""

from __future__ import annotations

import os
from functools import partial
from pathlib import PurePath
from typing import Any

from llm_otel_broadcast.clients.reader import is_set, note, text_of
from llm_otel_broadcast.host.guard import or_else
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.media import Part, blob


def note_uploads(record: Generation, *uploads: object, modality: str) -> list[Part]:
    """Note names and total size of the files, and return the parts that describe them.

    Args:
        record: gets the names and the size.
        uploads: arguments of the call, each a file, a list of files, or not set. A file is what the client takes: bytes, a
            path, an open file, or a tuple of a name, one of these and a type.
        modality: `audio` or `image`.
    """
    files = [file for upload in uploads for file in (upload if isinstance(upload, list) else (upload,))]
    parts: list[Part] = []
    for file in filter(is_set, files):
        name = mime_type = None
        data = file
        if isinstance(file, tuple):
            name, data, mime_type = (*file[:3], None, None)[:3]
        if not isinstance(name, str):
            # An object with `__fspath__` or `name` may be the program's own: its errors are no business of the call.
            name = or_else(partial(_name_of, data), None)
        # Only bytes say their size without a seek, which would move the caller's position in an open file.
        size = len(data) if isinstance(data, bytes | bytearray) else None
        parts.append(blob(modality, mime_type if isinstance(mime_type, str) else None, size, filename=name))
    names = [part["filename"] for part in parts if "filename" in part]
    sizes = [part["bytes"] for part in parts if "bytes" in part]
    note(
        record,
        file_names=names or None,
        # A total without the files of unknown size would be wrong.
        file_bytes=sum(sizes) if sizes and len(sizes) == len(parts) else None,
    )
    return parts


def note_prompt(record: Generation, kwargs: dict[str, Any], files: list[Part], *, content: bool) -> None:
    """Keep the prompt and the files that it is about as one message of the user."""
    prompt = text_of(kwargs.get("prompt"))
    if content and (prompt or files):
        record.messages = [{"role": "user", "content": [*([prompt] if prompt else []), *files]}]
        record.size += len(prompt or "")


def _name_of(file: object) -> str | None:
    # The name alone, as the client sends it: a path on the caller's machine stays there.
    path = os.fspath(file) if isinstance(file, os.PathLike) else getattr(file, "name", None)
    return PurePath(path).name or None if isinstance(path, str) else None
