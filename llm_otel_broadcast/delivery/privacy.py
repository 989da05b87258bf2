"""What of a record one destination may have: neutral content and fields, before any dialect gets them.

Pure, but for the program's own function that redacts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Final

from llm_otel_broadcast.delivery.redaction import Redaction, WithheldError
from llm_otel_broadcast.delivery.unwanted import is_system
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.media import Part
from llm_otel_broadcast.record.trace_fields import NO_FIELDS, Fields
from llm_otel_broadcast.settings.destination import Destination

# Also inside longer texts: up to white space, a quote, an angle bracket or a backslash.
_URL: Final = re.compile(r"""\b[a-zA-Z][a-zA-Z0-9+.-]{1,15}://[^\s"'<>`\\]+""")
_HIDDEN_URL: Final = "[url]"
_IMAGES: Final = frozenset({"image", "image_url", "input_image"})
_QUOTED_BY_ERRORS: Final = frozenset({"inputs", "outputs", "system", "tools", "tool_arguments"})
"""Parts that an error's text may quote: APIs repeat what they refuse."""
# What says what a message or a part is. It is no content, and consumers could not read a message without it.
_MESSAGE_FACTS: Final = frozenset({"role", "finish_reason"})
_PART_FACTS: Final = frozenset({"type", "modality", "mime_type", "id", "status"})
_NAMED_TYPES: Final = frozenset({"tool_call", "server_tool_call"})
"""Types of parts whose name is a tool's, which is no content."""


def allows_content(record: Generation, *, privacy_mode: bool) -> bool:
    """Return whether content of the record may go to a destination with this privacy mode."""
    return record.wants_content and not privacy_mode and not record.fields.private


class Privacy:
    """What one destination keeps back beyond its privacy mode."""

    def __init__(self, destination: Destination) -> None:
        self._hide = frozenset(destination.hide)
        self._allow, self._deny = destination.metadata_allow, destination.metadata_deny
        self._hash_user = destination.hash_user
        self._redaction = None
        if destination.redact is not None:
            self._redaction = Redaction(destination.name, destination.redact)

    def view(self, operation: str, span_id: int) -> View | None:
        """Return what content of a record has to pass through, None when it may be sent as it is.

        Args:
            operation: of the record; "" where it has none.
            span_id: of the record.

        Raises:
            WithheldError: the function that redacts blocks at this record; no content may be sent.
        """
        hide = self._hide
        # What is embedded stands among the inputs, where only the operation tells it from a question.
        if operation == "embeddings" and "embeddings" in hide:
            hide |= {"inputs"}
        redaction = self._redaction
        if redaction is None:
            return View(hide, None) if hide else None
        if redaction.is_blocked(span_id):
            raise WithheldError
        return View(hide, partial(redaction.apply, span_id=span_id))

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
    """Return what is sent instead of a user: the same everywhere, so that the user's calls still belong together.

    `surrogatepass`: half a character, as JSON may have it, must not lose the record.
    """
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()


class View:
    """What content passes through on its way to one destination, as neutral parts; texts wherever they are in them."""

    def __init__(self, hide: frozenset[str], redact: Callable[[str], str] | None) -> None:
        self.hides = hide
        self._redact = redact
        self._changes = redact is not None or "urls" in hide

    def apply(self, part: str, values: Sequence[Part]) -> list[Part]:
        """Return what is sent of a part of the content.

        Args:
            part: `system`, `inputs`, `outputs` or `tools`.
            values: its messages, parts or definitions.

        Raises:
            WithheldError: nothing may be sent.
        """
        if part in self.hides or (part == "system" and "inputs" in self.hides):
            return []
        if part == "inputs" and "system" in self.hides:
            values = [message for message in values if not is_system(message.get("role"))]
        if part == "system":
            return [self._change(value, _PART_FACTS) for value in values]
        if part == "tools":
            return [self._change(tool, _PART_FACTS | {"name"}) for tool in values]
        sent: list[Part] = []
        for message in values:
            members = dict(message)
            parts = members.pop("parts", None)
            if not isinstance(parts, list):
                sent.append(self._change(message, _MESSAGE_FACTS))
                continue
            sent_parts = [sent_part for part in parts if (sent_part := self._message_part(part)) is not None]
            sent.append({**self._change(members, _MESSAGE_FACTS), "parts": sent_parts})
        return sent

    def error_text(self, text: str) -> str:
        """Return what is sent of an error's text, which may quote what was asked or answered."""
        return "" if self.hides & _QUOTED_BY_ERRORS else self.change_text(text)

    def _message_part(self, part: object) -> object:
        """Return a part without what is hidden of it, None when nothing is left."""
        if not isinstance(part, dict):
            return self.change_texts(part)
        part_type = part.get("type")
        if ("reasoning" in self.hides and part_type == "reasoning") or ("images" in self.hides and _is_image(part)):
            return None
        if "tool_arguments" in self.hides:
            part = {key: value for key, value in part.items() if key != "arguments"}
            server_call = part.get("server_tool_call")
            if isinstance(server_call, dict):
                # Each provider's tools have members of their own: all but these may be arguments.
                part["server_tool_call"] = {key: server_call[key] for key in ("type", "status") if key in server_call}
        if "urls" in self.hides and part_type == "uri":
            part = {key: value for key, value in part.items() if key != "uri"}
        if "images" in self.hides:
            part = {key: _without_images(value) for key, value in part.items() if not _is_image(value)}
        return self._change(part, _PART_FACTS | {"name"} if part_type in _NAMED_TYPES else _PART_FACTS)

    def _change(self, members: Part, facts: frozenset[str]) -> Part:
        """Return a part or a message with its texts changed, but for the members that are facts."""
        if not self._changes or not isinstance(members, dict):
            return members
        return {key: value if key in facts else self.change_texts(value) for key, value in members.items()}

    def change_texts(self, value: object) -> object:
        """Return a value of JSON's own types with links hidden and texts redacted, as the destination asks for.

        Raises:
            WithheldError: nothing may be sent.
        """
        if isinstance(value, str):
            return self.change_text(value)
        if isinstance(value, list):
            return [self.change_texts(item) for item in value]
        if isinstance(value, dict):
            return {key: self.change_texts(item) for key, item in value.items()}
        return value

    def change_text(self, text: str) -> str:
        """Return a text with links hidden, and redacted, as the destination asks for.

        Raises:
            WithheldError: nothing may be sent.
        """
        if "urls" in self.hides:
            text = _URL.sub(_HIDDEN_URL, text)
        return text if self._redact is None else self._redact(text)


def _is_image(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    # Of a list or an object, which a caller may put there, no set can be asked.
    part_type = value.get("type")
    return value.get("modality") == "image" or (isinstance(part_type, str) and part_type in _IMAGES)


def _without_images(value: object) -> object:
    if isinstance(value, list):
        return [_without_images(item) for item in value if not _is_image(item)]
    if isinstance(value, dict):
        return {key: _without_images(item) for key, item in value.items() if not _is_image(item)}
    return value
