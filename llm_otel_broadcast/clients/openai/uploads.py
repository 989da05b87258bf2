"""Describing the files that a call uploads: names, and sizes where a look tells them. Never reads, seeks or opens anything."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import Any

from llm_otel_broadcast.clients.reader import is_set, note
from llm_otel_broadcast.host.guard import or_else
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.media import Part, blob


def note_uploads(record: Generation, *given: Any, modality: str) -> list[Part]:
    """Note names and total size of the files, and return the parts that describe them.

    A file is what the client takes: bytes, a path, an open file, or a tuple of a name, one of these and a type.
    """
    files = [file for one in given for file in (one if isinstance(one, list) else (one,))]
    parts = [_describe(file, modality) for file in files if is_set(file)]
    names = [part["filename"] for part in parts if "filename" in part]
    sizes = [part["bytes"] for part in parts if "bytes" in part]
    note(
        record,
        file_names=names or None,
        file_bytes=sum(sizes) if sizes and len(sizes) == len(parts) else None,
    )
    return parts


def _describe(file: Any, modality: str) -> Part:
    name = mime_type = None
    if isinstance(file, tuple):
        name, file, mime_type = (*file[:3], None, None)[:3]
    if not isinstance(name, str):
        name = or_else(lambda: _name(file), None)
    size = len(file) if isinstance(file, bytes | bytearray) else None
    return blob(modality, mime_type if isinstance(mime_type, str) else None, size, filename=name)


def _name(file: Any) -> str | None:
    path = os.fspath(file) if isinstance(file, os.PathLike) else getattr(file, "name", None)
    return PurePath(path).name or None if isinstance(path, str) else None
