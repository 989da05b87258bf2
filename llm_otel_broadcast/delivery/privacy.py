"""What of a record one destination may have. Pure, but for the program's own function that redacts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from llm_otel_broadcast.host.guard import Callback
from llm_otel_broadcast.host.suppression import untraced
from llm_otel_broadcast.record.generation import Choice, Generation
from llm_otel_broadcast.record.trace_fields import NO_FIELDS, Fields
from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.privacy import PARTS

SYSTEM_ROLES: Final = frozenset({"system", "developer"})
_URL: Final = re.compile(r"""\b[a-zA-Z][a-zA-Z0-9+.-]{1,15}://[^\s"'<>`\\]+""")
_HIDDEN_URL: Final = "[url]"
_IMAGES: Final = frozenset({"image", "image_url", "input_image"})
_TELLING: Final = frozenset({"inputs", "outputs", "system", "tools", "tool_arguments"})
"""Parts that an error's text may quote."""
_OF_MESSAGES: Final = frozenset({"role", "finish_reason"})
_OF_PARTS: Final = frozenset({"type", "modality", "mime_type", "id", "status"})
_NAMED: Final = frozenset({"tool_call", "server_tool_call"})
"""Kinds of parts whose name is a tool's, which is no content."""


class WithheldError(Exception):
    """The function that redacts has failed: the content is not sent."""


def allows_content(record: Generation, *, privacy_mode: bool) -> bool:
    """Return whether content of the record may go to a destination with this privacy mode."""
    return record.wants_content and not privacy_mode and not record.fields.private


def narrow(record: Generation) -> None:
    """Let go of what is unwanted in a record: it is not referenced any longer."""
    unwanted = record.unwanted
    if "inputs" in unwanted or ("embeddings" in unwanted and record.operation == "embeddings"):
        record.messages = record.instructions = None
    elif "system" in unwanted:
        record.instructions = None
        if record.messages:  # none yet: they pass by later, one by one, and are left out in the background
            record.messages = [message for message in record.messages if _role_of(message) not in SYSTEM_ROLES]
    if "tools" in unwanted:
        record.tools = None
    if "outputs" in unwanted:
        record.choices = [
            Choice(one.index, one.role, one.finish_reason, native_finish_reason=one.native_finish_reason)
            for one in record.choices
        ]


def _role_of(message: object) -> object:
    return message.get("role") if isinstance(message, Mapping) else getattr(message, "role", None)


def unwanted_by_all(destinations: Sequence[Destination], asked_for: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return the parts that no destination may have; `asked_for`: what the rules of each, by name, look at."""
    unwanted = frozenset(PARTS)
    for one in destinations:
        looks = asked_for.get(one.name, frozenset())
        needed = ({"inputs", "system", "embeddings"} if "input" in looks else set()) | (
            {"outputs", "reasoning"} if "output" in looks else set()
        )
        hidden = frozenset(PARTS) if one.privacy_mode else frozenset(one.hide)
        if "inputs" in hidden:
            hidden |= {"system", "embeddings"}
        unwanted &= hidden - needed
    return unwanted


class Privacy:
    """What one destination keeps back beyond its privacy mode."""

    def __init__(self, destination: Destination) -> None:
        self._hide = frozenset(destination.hide)
        self._allow, self._deny = destination.metadata_allow, destination.metadata_deny
        self._hash_user = destination.hash_user
        self._redact = None
        if destination.redact is not None:
            consequence = "the content is left out, the span is sent"
            self._redact = Callback(f'redact of destination "{destination.name}"', destination.redact, consequence)

    def view(self, operation: str) -> View | None:
        """Return what content of a record of this operation has to pass through, None when it may be sent as it is."""
        hide = self._hide
        if operation == "embeddings" and "embeddings" in hide:
            hide |= {"inputs"}
        return View(hide, self._redact) if hide or self._redact else None

    def fields(self, fields: Fields) -> Fields:
        """Return what of the fields may be sent."""
        if fields is NO_FIELDS:
            return fields
        if self._hash_user and fields.user:
            fields = fields._replace(user=hash_of(fields.user))
        if (self._allow is not None or self._deny) and fields.metadata:
            fields = fields._replace(metadata={key: fields.metadata[key] for key in fields.metadata if self.lets(key)})
        return fields

    def lets(self, key: str) -> bool:
        """Return whether a key of the metadata is sent."""
        allowed = self._allow is None or any(fnmatchcase(key, pattern) for pattern in self._allow)
        return allowed and not any(fnmatchcase(key, pattern) for pattern in self._deny)

    def allows_by_name(self, key: str) -> bool:
        """Return whether `metadata_allow` has a pattern for a key: without that setting nothing is allowed by name."""
        return self._allow is not None and self.lets(key)

    @property
    def hashes_user(self) -> bool:
        return self._hash_user


def hash_of(user: str) -> str:
    """Return what is sent instead of a user: the same everywhere, so that his calls can still be told together."""
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()


class View:
    """What content passes through on its way to one destination. Parts as the dialect makes them; texts wherever they are."""

    def __init__(self, hide: frozenset[str], redact: Callback | None) -> None:
        self.hides = hide
        self._redact = redact
        self._changes = redact is not None or "urls" in hide

    def shown(self, what: str, things: list[Any]) -> list[Any]:
        """Return what is sent of `system`, `inputs`, `outputs` or `tools`.

        Raises:
            WithheldError: nothing may be sent.
        """
        if what in self.hides or (what == "system" and "inputs" in self.hides):
            return []
        if what == "inputs" and "system" in self.hides:
            things = [message for message in things if message.get("role") not in SYSTEM_ROLES]
        if what in ("system", "tools"):
            return [self._part(part, _OF_PARTS | {"name"} if what == "tools" else _OF_PARTS) for part in things]
        return [self._message(message) for message in things]

    def error_text(self, text: str) -> str:
        """Return what is sent of an error's text, which may quote what was asked or answered."""
        return "" if self.hides & _TELLING else self.told(text)

    def _message(self, message: dict[str, Any]) -> dict[str, Any]:
        parts = message.get("parts")
        if not isinstance(parts, list):
            return dict(self._part(message, _OF_MESSAGES))
        told = {key: value for key, value in message.items() if key != "parts"}
        shown = [made for part in parts if (made := self._shown_part(part)) is not None]
        return {**self._part(told, _OF_MESSAGES), "parts": shown}

    def _shown_part(self, part: Any) -> Any:
        """Return a part without what is hidden of it, None when nothing is left."""
        if not isinstance(part, dict):
            return self.told(part)
        kind = part.get("type")
        if ("reasoning" in self.hides and kind == "reasoning") or ("images" in self.hides and _is_image(part)):
            return None
        if "tool_arguments" in self.hides:
            part = {key: value for key, value in part.items() if key != "arguments"}
            inner = part.get("server_tool_call")
            if isinstance(inner, dict):
                part["server_tool_call"] = {key: inner[key] for key in ("type", "status") if key in inner}
        if "urls" in self.hides and kind == "uri":
            part = {key: value for key, value in part.items() if key != "uri"}
        if "images" in self.hides:
            part = {key: _without_images(value) for key, value in part.items() if not _is_image(value)}
        return self._part(part, _OF_PARTS | {"name"} if kind in _NAMED else _OF_PARTS)

    def _part(self, part: Any, kept: frozenset[str]) -> Any:
        """Change the texts in a part, but for those that say what it is."""
        if not self._changes or not isinstance(part, dict):
            return part
        return {key: value if key in kept else self.told(value) for key, value in part.items()}

    def told(self, value: Any) -> Any:
        """Change all texts in a value."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            return [self.told(item) for item in value]
        if isinstance(value, dict):
            return {key: self.told(item) for key, item in value.items()}
        return value

    def _text(self, text: str) -> str:
        if "urls" in self.hides:
            text = _URL.sub(_HIDDEN_URL, text)
        if self._redact is None:
            return text
        with untraced():
            well, made = self._redact(text)
        if well and not isinstance(made, str):
            self._redact.fail(f"it returned {type(made).__name__}, not text")
            well = False
        if not well:
            raise WithheldError
        return str(made)


def _is_image(value: Any) -> bool:
    return isinstance(value, dict) and (value.get("modality") == "image" or value.get("type") in _IMAGES)


def _without_images(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_images(item) for item in value if not _is_image(item)]
    if isinstance(value, dict):
        return {key: _without_images(item) for key, item in value.items() if not _is_image(item)}
    return value
