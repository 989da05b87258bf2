"""What the API's form of a message says beside its neutral form: for dialects that repeat messages as the API has them.

Names of members, plain facts, and the cache marks of gateways; in the background only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from llm_otel_broadcast.record.content import FORM
from llm_otel_broadcast.record.media import Part

_USUAL_ORDER: Final = ["role", "content"]
_NEUTRAL: Final = frozenset(
    {
        "audio",
        "content",
        "function_call",
        "images",
        "name",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "refusal",
        "role",
        "tool_call_id",
        "tool_calls",
        "type",
    }
)
"""Members of a message that its neutral form has."""
_MAX_MEMBERS: Final = 32
_MAX_MARK_MEMBERS: Final = 4
_MAX_MARK_CHARS: Final = 32


def message_form(message: Mapping[str, Any]) -> Part:
    """Return how a message stood in the request; nothing where role and a text are all that it has."""
    form: Part = {}
    content = message.get("content")
    if not isinstance(content, str):
        form["content"] = "parts" if isinstance(content, list) else "null" if "content" in message else "absent"
    names = list(message)[:_MAX_MEMBERS]
    if names != _USUAL_ORDER:
        form["order"] = names
        members = _facts(message, _NEUTRAL)
        if members:
            form["members"] = members
    return {FORM: form} if form else {}


def text_form(part: Mapping[str, Any]) -> Part:
    """Return what a part of a message has beside its text, as a gateway's `cache_control` is."""
    if len(part) <= len(("type", "text")):
        return {}
    facts = _facts(part, frozenset({"type", "text"}))
    return {FORM: facts} if facts else {}


def result_form(content: object, parts_of: Callable[[object], list[Part]]) -> Part:
    """Return the list that a tool's result is, unless that is one text with nothing beside it.

    Args:
        content: of the tool's message.
        parts_of: reads a list of parts.
    """
    if not isinstance(content, list):
        return {}
    single = content[0] if len(content) == 1 else None
    if isinstance(single, Mapping) and single.keys() <= {"type", "text"}:
        return {}
    return {FORM: {"parts": parts_of(content)}}


def _facts(members: Mapping[str, Any], omitted: frozenset[str]) -> Part:
    """Return members that are numbers or truths, and the cache mark: a text may be content of any kind (`thinking`)."""
    facts: Part = {}
    for name, value in list(members.items())[:_MAX_MEMBERS]:
        # Anthropic's, which gateways take in messages and in their parts: `{"type": "ephemeral", "ttl": "1h"}`
        is_cache_mark = (
            name == "cache_control"
            and isinstance(value, Mapping)
            and len(value) <= _MAX_MARK_MEMBERS
            and all(isinstance(text, str) and len(text) <= _MAX_MARK_CHARS for text in value.values())
        )
        if name not in omitted and (is_cache_mark or isinstance(value, bool | int | float)):
            facts[name] = value
    return facts
