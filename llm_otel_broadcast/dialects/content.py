"""Neutral content as span attributes in the GenAI conventions' JSON. Pure: what is there may be sent, and is cut already."""

from __future__ import annotations

from typing import Final

from llm_otel_broadcast.fields.json_encoder import encoder
from llm_otel_broadcast.record.content import Content, ContentPart
from llm_otel_broadcast.record.span_data import AttributeValue

_KEYS: Final[tuple[tuple[str, ContentPart], ...]] = (
    ("gen_ai.system_instructions", "system"),
    ("gen_ai.input.messages", "inputs"),
    ("gen_ai.output.messages", "outputs"),
    ("gen_ai.tool.definitions", "tools"),
)


def content_attributes(content: Content) -> dict[str, AttributeValue]:
    """Return an attribute for each part that has anything, and one beside it that says so where it was cut."""
    attributes: dict[str, AttributeValue] = {}
    for key, part in _KEYS:
        values = getattr(content, part)
        if values:
            text = content.json_texts.get(part)
            attributes[key] = encoder.encode(values) if text is None else text
            if part in content.shortened:
                attributes[f"{key}.truncated"] = True
    # More was said than anybody would be sent: what was not kept while it was read cannot be cut here.
    if content.omitted_characters and "gen_ai.output.messages" in attributes:
        attributes["gen_ai.output.messages.truncated"] = True
        attributes["gen_ai.output.messages.omitted_characters"] = content.omitted_characters
    return attributes
