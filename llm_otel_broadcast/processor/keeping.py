"""What of another instrumentation's span one destination may have: its content in every convention recognised. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from llm_otel_broadcast.delivery.privacy import SYSTEM_ROLES, Privacy, View, WithheldError, hash_of
from llm_otel_broadcast.fields.json_text import bounded_json
from llm_otel_broadcast.processor.conventions import (
    ARGUMENTS,
    EITHER,
    ERROR,
    INDEXED,
    INPUTS,
    METADATA,
    METADATA_AS_JSON,
    OUTPUTS,
    STRUCTURED,
    SYSTEM,
    TOOLS,
    USERS,
    content_of,
    content_of_event,
)
from llm_otel_broadcast.processor.reading import parsed
from llm_otel_broadcast.span import AttributeValue, Event, Span

_Attributes = dict[str, AttributeValue]
_BLOCKING: Final = {
    INPUTS: {INPUTS, SYSTEM, TOOLS, ARGUMENTS, "images", "reasoning"},
    OUTPUTS: {OUTPUTS, ARGUMENTS, "images", "reasoning"},
    SYSTEM: {SYSTEM, INPUTS},
    TOOLS: {TOOLS},
    ARGUMENTS: {ARGUMENTS, INPUTS},
    EITHER: {INPUTS, OUTPUTS, SYSTEM, TOOLS, ARGUMENTS, "images", "reasoning"},
}
"""What must not be hidden for content to be sent that cannot be looked into: it may have any of it."""
_CUT: Final = "[truncated]"
_PARTS_OF_MESSAGES: Final = (
    (re.compile(r"tool_call.*arguments|function_call.*arguments"), ARGUMENTS),
    (re.compile(r"image"), "images"),
    (re.compile(r"reasoning|thinking"), "reasoning"),
)


class Keeping:
    """What one destination is sent.

    Args:
        privacy: what it keeps back.
        max_chars: length of one content attribute, at most.
    """

    def __init__(self, privacy: Privacy, max_chars: int) -> None:
        self._privacy = privacy
        self._max_chars = max_chars

    def kept(self, span: Span, *, content: bool, operation: str) -> Span:
        """Return the span as it is sent.

        Args:
            span: the whole span.
            content: whether it may have any content at all.
            operation: `embeddings`, or any other.
        """
        try:
            return self._made(span, content=content, operation=operation)
        except WithheldError:
            return self._made(span, content=False, operation=operation)

    def _made(self, span: Span, *, content: bool, operation: str) -> Span:
        view = self._privacy.view(operation) if content else None
        attributes = self._known(span.attributes)
        if not content:
            return replace(
                span,
                attributes=_bare(attributes),
                status_message="",
                events=tuple(
                    Event(one.name, one.time_ns, _bare(one.attributes))
                    for one in span.events
                    if content_of_event(one.name) is None
                ),
                links=tuple(replace(one, attributes=_bare(one.attributes)) for one in span.links),
            )
        if view is None:
            return replace(span, attributes=self._cut(attributes))
        return replace(
            span,
            attributes=self._cut(self._viewed(attributes, view)),
            status_message=view.error_text(span.status_message) if span.status_message else "",
            events=tuple(made for one in span.events if (made := self._event(one, view)) is not None),
            links=tuple(replace(one, attributes=self._viewed(one.attributes, view)) for one in span.links),
        )

    def _known(self, attributes: Mapping[str, AttributeValue]) -> _Attributes:
        """Return attributes with what may be known of the user, and of the metadata."""
        made = {key: value for key, value in attributes.items() if self._lets(key)}
        if self._privacy.hashes_user:
            made |= {key: hash_of(value) for key, value in made.items() if key in USERS and isinstance(value, str)}
        for key in METADATA_AS_JSON & made.keys():
            table = parsed(str(made[key]))
            if isinstance(table, dict) and not all(map(self._privacy.lets, table)):
                made[key] = _json({name: value for name, value in table.items() if self._privacy.lets(name)})
        return made

    def _lets(self, key: str) -> bool:
        found = METADATA.match(key)
        return found is None or key in USERS or self._privacy.lets(found["key"])

    def _event(self, event: Event, view: View) -> Event | None:
        part = content_of_event(event.name)
        if part is not None and view.hides & _BLOCKING[part]:
            return None
        if part is None:
            return replace(event, attributes=self._viewed(event.attributes, view))
        return replace(event, attributes={key: _told(value, view) for key, value in event.attributes.items()})

    def _viewed(self, attributes: Mapping[str, AttributeValue], view: View) -> _Attributes:
        made: _Attributes = {}
        for key, value in attributes.items():
            part = content_of(key)
            shown = value if part is None or _is_number(value) else _shown(attributes, key, value, part, view)
            if shown is not None:
                made[key] = shown
        return made

    def _cut(self, attributes: _Attributes) -> _Attributes:
        """Return attributes with no content longer than it may be."""
        long = [key for key, value in attributes.items() if isinstance(value, str) and len(value) > self._max_chars]
        for key in long:
            value = parsed(str(attributes[key]))
            text = str(attributes[key])[: self._max_chars - len(_CUT)] + _CUT
            attributes[key] = text if value is None else bounded_json(value, self._max_chars)[0]
            attributes[f"{key}.truncated"] = True
        return attributes


def _bare(attributes: Mapping[str, AttributeValue]) -> _Attributes:
    """Return attributes without content. Counts and truth values are none."""
    return {key: value for key, value in attributes.items() if _is_number(value) or content_of(key) is None}


def _is_number(value: object) -> bool:
    return isinstance(value, bool | int | float)


def _shown(
    attributes: Mapping[str, AttributeValue], key: str, value: AttributeValue, part: str, view: View
) -> AttributeValue | None:
    """Return what is sent of one attribute that is content, None for nothing."""
    if part == ERROR:
        return view.error_text(value) or None if isinstance(value, str) else None
    if key in STRUCTURED and isinstance(value, str):
        things = parsed(value)
        if isinstance(things, list) and all(isinstance(thing, dict) for thing in things):
            shown = view.shown(part, things)
            return _json(shown) if shown else None
    found = INDEXED.match(key)
    if found is not None:
        return _of_message(attributes, found, value, part, view)
    return None if view.hides & _BLOCKING[part] else _told(value, view)


def _of_message(
    attributes: Mapping[str, AttributeValue], found: re.Match[str], value: AttributeValue, part: str, view: View
) -> AttributeValue | None:
    """Return what is sent of one attribute of a message that is spread over several."""
    stem = f"{found['family']}.{found['index']}"
    role = attributes.get(f"{stem}.message.role", attributes.get(f"{stem}.role"))
    if part in view.hides or (role in SYSTEM_ROLES and view.hides & {SYSTEM}):
        return None
    finer = [name for pattern, name in _PARTS_OF_MESSAGES if pattern.search(found["rest"])]
    inside = parsed(value) if isinstance(value, str) else None
    if inside is not None and not finer:  # parts as JSON: they cannot be told apart
        finer = ["images", "reasoning", ARGUMENTS]
    return None if view.hides & set(finer) else _told(value, view)


def _told(value: AttributeValue, view: View) -> AttributeValue:
    """Return a value with each of its texts changed; in JSON those inside."""
    if isinstance(value, str):
        inside = parsed(value)
        return view.told(value) if inside is None else _json(view.told(inside))
    if isinstance(value, list | tuple):
        return [view.told(one) if isinstance(one, str) else one for one in value]
    return value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
