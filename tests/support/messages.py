"""What a received span says in its messages (the JSON of the GenAI conventions)."""

from __future__ import annotations

import json
from typing import Any

INPUT = "gen_ai.input.messages"
OUTPUT = "gen_ai.output.messages"


def message_of(span: Any, key: str = OUTPUT) -> dict[str, Any]:
    """Return the only message."""
    (message,) = json.loads(span.attributes[key])
    return message


def parts_of(span: Any, key: str = OUTPUT) -> list[dict[str, Any]]:
    """Return the parts of the only message."""
    return message_of(span, key)["parts"]


def all_parts_of(span: Any, key: str = OUTPUT) -> list[dict[str, Any]]:
    """Return the parts of all messages, one after the other."""
    return [part for message in json.loads(span.attributes[key]) for part in message["parts"]]


def text_of(span: Any) -> str:
    """Return the text of the only answer, which has no other parts."""
    return "".join(part["content"] for part in parts_of(span))
