"""Media described instead of carried: of which kind they are and how large. Pure, and cheap enough for the host's thread."""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_plus

Part: TypeAlias = dict[str, Any]
"""A part of a message, in the shape of the GenAI conventions."""

_IMAGE_STARTS: Final = {"iVBORw0KGgo": "image/png", "/9j/": "image/jpeg", "UklGR": "image/webp", "R0lGOD": "image/gif"}
"""How the first bytes of images read in base64, by which their type is known when nobody states it."""
_MODALITIES: Final = frozenset({"audio", "image", "video"})
_MAX_HEAD_CHARS: Final = 1_024

# A password in a link (`https://user:password@host`) is the host program's, and never ours to send.
_USER: Final = r"\A([a-zA-Z][a-zA-Z0-9+.-]{0,15}://)[^/?#@]*@"
# AWS (versions 2 and 4), CloudFront, Google, Azure, Alibaba, Tencent, and what others call a secret. Texts, both: compiling them
# takes a fifth of what a program pays at its first call, and few send links.
_SIGNED: Final = (
    r"(x-(amz|goog|oss|ms|cos)-.*|q-(ak|sign.*|signature|key-time|header-list|url-param-list)|.*token|.*signature|.*secret.*"
    r"|.*password|passwd|pwd|sig|sign|hmac|jwt|auth|authorization|credentials?|policy|expires|key-pair-id|hdnts|hdnea|hdntl"
    r"|awsaccesskeyid|googleaccessid|ossaccesskeyid|(api|access|subscription|private)?[-_.]?key|code|ticket)\Z"
)
_AZURE: Final = frozenset(
    ["se", "si", "sip", "ske", "skoid", "sks", "skt", "sktid", "skv", "sp", "spr", "sr", "srt", "ss", "st", "sv"]
)
"""What stands beside the `sig` of a shared access signature."""


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
    """Describe an image in base64.

    Args:
        data: the base64 text.
        mime_type: None: told by the first bytes, if they are known.
        more: further members of the part.
    """
    if mime_type is None:
        mime_type = next((image_type for start, image_type in _IMAGE_STARTS.items() if data.startswith(start)), None)
    return blob("image", mime_type, base64_size(data), **more)


def inline(mime_type: str, size: int | None, modality: str | None = None) -> Part:
    """Return the description of inline media of a type, whose first half tells the modality unless that is known."""
    main_type = mime_type.partition("/")[0]
    return blob(modality or (main_type if main_type in _MODALITIES else "document"), mime_type, size)


def data_url(url: str, modality: str | None = None) -> Part | None:
    """Describe what a data URL carries, without copying it; None for any other text."""
    if url[:5].lower() != "data:":
        return None
    # The rest may be megabytes: it is measured, never split or decoded.
    start = url.find(",", 0, _MAX_HEAD_CHARS) + 1
    if not start:
        return inline("text/plain", None, modality)
    mime_type, _, encoding = url[5 : start - 1].partition(";")
    size = base64_size(url, start) if encoding.lower().endswith("base64") else len(url) - start
    return inline(mime_type or "text/plain", size, modality)


def unsigned(url: str) -> str:
    """Return a link without what lets whoever has it in: signatures, tokens and keys of its query, and a password."""
    url = re.sub(_USER, r"\1", url, count=1)
    url, hash_mark, fragment = url.partition("#")
    path, mark, query = url.partition("?")
    pairs = query.split("&")
    names = [unquote_plus(pair.partition("=")[0]).lower() for pair in pairs]
    # Two letters each: without a `sig` beside them they are anybody's.
    azure_names = _AZURE if "sig" in names else frozenset[str]()
    public = [
        pair for pair, name in zip(pairs, names, strict=True) if not (re.match(_SIGNED, name) or name in azure_names)
    ]
    if len(public) < len(pairs):
        mark, query = ("?", "&".join(public)) if public else ("", "")
    # OAuth's implicit grant hands tokens over in the fragment.
    if any(re.match(_SIGNED, pair.partition("=")[0].lower()) for pair in fragment.split("&")):
        hash_mark = fragment = ""
    return f"{path}{mark}{query}{hash_mark}{fragment}"


def link(url: str, modality: str, **more: object) -> Part:
    """Return a link without its signature; of a data URL, which carries the media itself, their description."""
    described = data_url(url, modality) or {"type": "uri", "modality": modality, "uri": unsigned(url)}
    described.update({name: value for name, value in more.items() if value is not None})
    return described
