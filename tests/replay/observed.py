"""What a span says, in the form in which `expected` says it: attributes by their names, content without its JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Part = tuple[Any, ...]
Message = tuple[str, list[Part]]


def messages(attributes: Mapping[str, Any], name: str) -> list[Message]:
    """Return the messages of a content attribute: roles, and of each part its kind and what it holds."""
    return [(message["role"], [_part(part) for part in message["parts"]]) for message in _json(attributes, name)]


def instructions(attributes: Mapping[str, Any]) -> str:
    return "".join(part["content"] for part in _json(attributes, "gen_ai.system_instructions"))


def tool_names(attributes: Mapping[str, Any]) -> list[str]:
    return [tool["name"] for tool in _json(attributes, "gen_ai.tool.definitions") if tool.get("name")]


def _json(attributes: Mapping[str, Any], name: str) -> list[Any]:
    document = json.loads(attributes.get(name, "[]"))
    assert isinstance(document, list)
    return document


def _part(part: Mapping[str, Any]) -> Part:
    match part["type"]:
        case "text" | "reasoning" | "refusal":
            return part["type"], part["content"]
        case "tool_call":
            return "call", part.get("id"), part.get("name"), part.get("arguments")
        case "tool_call_response":
            return "result", part.get("id"), _result(part.get("response"))
        case "server_tool_call":
            return "server call", part["name"]
        case "blob" | "uri" | "file":
            return ("media",)
        case other:
            return (other,)


def _result(response: Any) -> Any:
    """Return a tool's result: its text; of one with media, its texts and how many media there are."""
    if not isinstance(response, list) or not all(isinstance(part, dict) and "type" in part for part in response):
        return response
    texts = [part.get("content", part.get("text")) for part in response if part["type"] == "text"]
    return texts, sum(part["type"] in ("blob", "uri", "file") for part in response)
