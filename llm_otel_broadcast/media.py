"""Media described instead of carried: of which kind they are and how large. Pure, and cheap enough for the host's thread."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

Part: TypeAlias = dict[str, Any]
"""A part of a message, in the shape of the GenAI conventions."""

_IMAGE_STARTS: Final = {"iVBORw0KGgo": "image/png", "/9j/": "image/jpeg", "UklGR": "image/webp", "R0lGOD": "image/gif"}
"""How the first bytes of images read in base64."""
_KINDS: Final = frozenset({"audio", "image", "video"})
_LONGEST_HEAD: Final = 1_024


def blob(modality: str, mime_type: str | None, size: int | None, **more: object) -> Part:
    """Return the description of media that were sent inline; what is not known is left out."""
    part: Part = {"type": "blob", "modality": modality}
    if mime_type:
        part["mime_type"] = mime_type
    part["stripped"] = True
    if size is not None:
        part["bytes"] = size
    part.update({name: value for name, value in more.items() if value is not None})
    return part


def base64_size(data: str, start: int = 0) -> int:
    """Return how many bytes a base64 text stands for, from `start` on: four characters for three bytes."""
    return max(0, (len(data) - start) * 3 // 4 - data[-2:].count("="))


def image(data: str, mime_type: str | None = None, **more: object) -> Part:
    """Describe an image in base64; its type is told by its first bytes when nobody says it."""
    if mime_type is None:
        mime_type = next((kind for start, kind in _IMAGE_STARTS.items() if data.startswith(start)), None)
    return blob("image", mime_type, base64_size(data), **more)


def inline(mime_type: str, size: int | None, modality: str | None = None) -> Part:
    """Return the description of inline media of a type, which tells the modality unless that is given."""
    kind = mime_type.partition("/")[0]
    return blob(modality or (kind if kind in _KINDS else "document"), mime_type, size)


def data_url(url: str, modality: str | None = None) -> Part | None:
    """Describe what a data URL carries, without copying it; None for any other text."""
    if url[:5].lower() != "data:":
        return None
    start = url.find(",", 0, _LONGEST_HEAD) + 1
    if not start:
        return inline("text/plain", None, modality)
    mime_type, _, encoding = url[5 : start - 1].partition(";")
    size = base64_size(url, start) if encoding.lower().endswith("base64") else len(url) - start
    return inline(mime_type or "text/plain", size, modality)


def link(url: str, modality: str, **more: object) -> Part:
    """Return a link as it is, unless it carries the thing itself."""
    described = data_url(url, modality) or {"type": "uri", "modality": modality, "uri": url}
    described.update({name: value for name, value in more.items() if value is not None})
    return described
