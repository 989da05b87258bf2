"""The privacy settings of one destination, applied to another instrumentation's span. Runs on the lane's thread only.

A destination in privacy mode gets only attributes that the allow-list knows. From other destinations the parts that they hide
are withheld, in every convention recognised.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from llm_otel_broadcast.delivery.privacy import Privacy, View, hash_of
from llm_otel_broadcast.delivery.redaction import WithheldError
from llm_otel_broadcast.delivery.unwanted import SYSTEM_ROLES
from llm_otel_broadcast.fields.json_cut import CUT
from llm_otel_broadcast.fields.json_text import bounded_json
from llm_otel_broadcast.other_spans.allow_list import SPAN_NAME_WORDS, is_harmless, is_identifier
from llm_otel_broadcast.other_spans.conventions import (
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
from llm_otel_broadcast.other_spans.facts import parsed
from llm_otel_broadcast.record.span_data import AttributeValue, Event, SpanData

_Attributes = dict[str, AttributeValue]
# What must not be hidden for content to be sent that cannot be looked into: it may have any of it.
_BLOCKING: Final = {
    INPUTS: {INPUTS, SYSTEM, TOOLS, ARGUMENTS, "images", "reasoning"},
    OUTPUTS: {OUTPUTS, ARGUMENTS, "images", "reasoning"},
    SYSTEM: {SYSTEM, INPUTS},
    TOOLS: {TOOLS},
    ARGUMENTS: {ARGUMENTS, INPUTS},
    EITHER: {INPUTS, OUTPUTS, SYSTEM, TOOLS, ARGUMENTS, "images", "reasoning"},
}
_MAX_NAME_CHARACTERS: Final = 256
_NAME_PARTS: Final = ("gen_ai.operation.name", "gen_ai.request.model")
_PARTS_OF_MESSAGES: Final = (
    (re.compile(r"tool_call.*arguments|function_call.*arguments"), ARGUMENTS),
    (re.compile(r"image"), "images"),
    (re.compile(r"reasoning|thinking"), "reasoning"),
)


class SpanPrivacy:
    """Narrows spans to the parts that one destination may have.

    Args:
        privacy: the destination's privacy settings.
        max_chars: maximum length of one content attribute, in characters.

    Attributes:
        withheld: number of values withheld from a private destination: attributes, events, names and status texts.
    """

    def __init__(self, privacy: Privacy, max_chars: int) -> None:
        self._privacy = privacy
        self._max_chars = max_chars
        self.withheld = 0

    def narrow(
        self, span: SpanData, *, content: bool, operation: str, own: Mapping[str, AttributeValue] | None = None
    ) -> SpanData:
        """Return the span as it is sent.

        Args:
            span: the whole span.
            content: whether the span may have any content at all.
            operation: `embeddings`, or the name of any other operation.
            own: attributes that the program gave to us, not to the other instrumentation; what the span has is stronger.
        """
        # The program's fields are metadata of the call: allow and deny lists hold for them as well.
        own = {} if own is None else self._narrowed(own)
        # A redacting function that fails raises WithheldError: the span is sent without content, not left out.
        if content:
            try:
                return self._viewed_span(span, own, self._privacy.view(operation, span.span_id))
            except WithheldError:
                pass
        attributes = self._bare(self._narrowed(span.attributes))
        events = [
            Event(event.name, event.time_ns, self._bare(event.attributes))
            for event in span.events
            if content_of_event(event.name) is None and is_identifier(event.name)
        ]
        # A private destination gets a name of a program's own, or of words of facts and of instrumentations. For any other
        # it gets the one that the GenAI conventions give: operation and model.
        fact_words = {word for value in attributes.values() if isinstance(value, str) for word in value.split()}
        is_harmless_name = is_identifier(span.name) or all(
            word in SPAN_NAME_WORDS or word in fact_words or word.isdecimal() for word in span.name.split()
        )
        words = [str(attributes[key]) for key in _NAME_PARTS if key in attributes]
        name = span.name if is_harmless_name else " ".join(words) or "span"
        self.withheld += len(span.events) - len(events) + bool(span.status_message) + (name != span.name)
        return replace(
            span,
            name=name,
            attributes={**own, **attributes},
            status_message="",
            events=tuple(events),
            links=tuple(replace(link, attributes=self._bare(link.attributes)) for link in span.links),
        )

    def _bare(self, attributes: Mapping[str, AttributeValue]) -> _Attributes:
        """Return the attributes that are known to be no content; of the metadata what the settings let by name."""
        bare: _Attributes = {}
        for key, value in attributes.items():
            is_sent = is_harmless(key, value)
            # Of another instrumentation's metadata the keys that the destination's `metadata_allow` names.
            if not is_sent and key in METADATA_AS_JSON:
                table = parsed(str(value))
                is_sent = isinstance(table, dict) and all(map(self._privacy.allows_by_name, table))
            elif not is_sent and (metadata := METADATA.match(key)) is not None:
                is_sent = self._privacy.allows_by_name(metadata["key"])
            if is_sent:
                bare[key] = value
        self.withheld += len(attributes) - len(bare)
        return bare

    def _viewed_span(self, span: SpanData, own: _Attributes, view: View | None) -> SpanData:
        attributes = {**own, **self._narrowed(span.attributes)}
        if view is None:
            return replace(span, attributes=self._cut(attributes))
        events = []
        for event in span.events:
            part = content_of_event(event.name)
            # An event that is all of one part is withheld whole; of any other each attribute is looked at.
            if part is None:
                events.append(replace(event, attributes=self._viewed(event.attributes, view)))
            elif not view.hides & _BLOCKING[part]:
                redacted = {key: _redacted(value, view) for key, value in event.attributes.items()}
                events.append(replace(event, attributes=redacted))
        return replace(
            span,
            attributes=self._cut(self._viewed(attributes, view)),
            status_message=view.error_text(span.status_message) if span.status_message else "",
            events=tuple(events),
            links=tuple(replace(link, attributes=self._viewed(link.attributes, view)) for link in span.links),
        )

    def _narrowed(self, attributes: Mapping[str, AttributeValue]) -> _Attributes:
        """Return attributes without metadata that the settings withhold, user ids hashed if they say so."""
        allowed = {
            key: value
            for key, value in attributes.items()
            # The user's id has settings of its own, under whatever name it comes.
            if key in USERS or (metadata := METADATA.match(key)) is None or self._privacy.lets(metadata["key"])
        }
        if self._privacy.hashes_user:
            allowed |= {
                key: hash_of(value) for key, value in allowed.items() if key in USERS and isinstance(value, str)
            }
        for key in METADATA_AS_JSON & allowed.keys():
            table = parsed(str(allowed[key]))
            if isinstance(table, dict) and not all(map(self._privacy.lets, table)):
                allowed[key] = _json({name: value for name, value in table.items() if self._privacy.lets(name)})
        return allowed

    def _viewed(self, attributes: Mapping[str, AttributeValue], view: View) -> _Attributes:
        sent: _Attributes = {}
        for key, value in attributes.items():
            part = content_of(key)
            # A number under any name is no text, so no content.
            if part is None or isinstance(value, bool | int | float):
                sent[key] = value
                continue
            sent_value = _narrowed_content(attributes, key, value, part, view)
            if sent_value is not None:
                sent[key] = sent_value
        return sent

    def _cut(self, attributes: _Attributes) -> _Attributes:
        """Return attributes with each text cut to the maximum length."""
        budget = self._max_chars - len(CUT)
        texts = [(key, value) for key, value in attributes.items() if isinstance(value, str)]
        for key, text in texts:
            if len(text) <= self._max_chars:
                continue
            value = parsed(text)
            # Cut JSON stays JSON; a text keeps both of its ends.
            both_ends = f"{text[: budget - budget // 2]}{CUT}{text[len(text) - budget // 2 :]}"
            attributes[key] = both_ends if value is None else bounded_json(value, self._max_chars)[0]
            attributes[f"{key}.truncated"] = True
        return attributes


def _narrowed_content(
    attributes: Mapping[str, AttributeValue], key: str, value: AttributeValue, part: str, view: View
) -> AttributeValue | None:
    """Return what is sent of one attribute that is content, None for nothing."""
    if part == ERROR:
        return view.error_text(value) or None if isinstance(value, str) else None
    # JSON in the form of the GenAI schemas: its parts are known, so only the hidden ones are taken out.
    if key in STRUCTURED and isinstance(value, str):
        items = parsed(value)
        objects = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
        if isinstance(items, list) and len(objects) == len(items):
            viewed_items = view.apply(part, objects)
            return _json(viewed_items) if viewed_items else None
    blocking_parts = _BLOCKING[part]
    match = INDEXED.match(key)
    # One attribute of a message that is spread over several.
    if match is not None:
        stem = f"{match['family']}.{match['index']}"
        role = attributes.get(f"{stem}.message.role", attributes.get(f"{stem}.role"))
        if part in view.hides or (role in SYSTEM_ROLES and view.hides & {SYSTEM}):
            return None
        name = match["rest"][:_MAX_NAME_CHARACTERS]
        blocking_parts = {finer_part for pattern, finer_part in _PARTS_OF_MESSAGES if pattern.search(name)}
        # Parts as JSON cannot be told apart: any of them may be hidden.
        if not blocking_parts and isinstance(value, str) and parsed(value) is not None:
            blocking_parts = {"images", "reasoning", ARGUMENTS}
    return None if view.hides & blocking_parts else _redacted(value, view)


def _redacted(value: AttributeValue, view: View) -> AttributeValue:
    """Return a value with each of its texts redacted; in JSON the texts inside."""
    if isinstance(value, str):
        json_value = parsed(value)
        return view.change_text(value) if json_value is None else _json(view.change_texts(json_value))
    if isinstance(value, list | tuple):
        return [view.change_text(item) if isinstance(item, str) else item for item in value]
    return value


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
