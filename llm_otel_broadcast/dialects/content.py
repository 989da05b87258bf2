"""Messages, answers and tool definitions in the shape of the GenAI conventions' JSON schemas. Pure.

Inline media are left out: a blob keeps its kind, type and size, a link stays a link.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from llm_otel_broadcast import media
from llm_otel_broadcast.fields.json_text import Budget, plain
from llm_otel_broadcast.generation import Choice, ServerCall, ToolCall
from llm_otel_broadcast.media import Part

_REASONING: Final = ("reasoning", "reasoning_content")
_LINKS: Final = {"image_url": "image", "video_url": "video", "audio_url": "audio"}
_TEXTS: Final = frozenset({"text", "input_text", "output_text", "summary_text", "reasoning_text"})
_NO_DETAIL: Final = frozenset({"id", "call_id", "type", "status", "result", "encrypted_content"})
_MAX_PARTS: Final = 400_000
_MAX_PARTS_OF_ONE: Final = 100_000
_SECRETS: Final = frozenset({"authorization", "headers"})
"""What the definition of a remote tool carries for the provider alone."""


def input_messages(messages: Sequence[object]) -> list[Part]:
    """Return the request's messages: role, parts and, if given, name. An item of the responses API is a message of its own."""
    made = (_item_or_message(message) for message in _plain_each(messages))
    return [message for message in made if message is not None]


def output_messages(choices: Sequence[Choice], server_calls: Sequence[ServerCall] = ()) -> list[Part]:
    """Return one message for each choice; its finish reason is a member because consumers still read it there.

    Calls of the provider's own tools come first in the first message: they were made for it. A choice without content says
    nothing.
    """
    answers = [_answer(choice) for choice in choices]
    if server_calls:
        answers = answers or [{"role": "assistant", "parts": []}]
        answers[0]["parts"] = [*map(_server_call, server_calls), *answers[0]["parts"]]
    return answers


def system_instructions(text: str | None) -> list[Part]:
    """Return instructions that were given apart from the messages."""
    return [_text(text)] if text else []


def tool_definitions(tools: Sequence[object]) -> list[Part]:
    """Return the tools the request offers, each with its own members one level up from where the API has them."""
    return [_tool(tool) for tool in _plain_each(tools)]


def _plain_each(things: Sequence[object]) -> list[Any]:
    """Return each as JSON's own types, the newest first served where there are too many parts in all of them together."""
    left = _MAX_PARTS
    made: list[Any] = []
    for thing in reversed(list(things)):
        budget = Budget(nodes=min(_MAX_PARTS_OF_ONE, left))
        before = budget.nodes
        made.append(plain(thing, budget))
        left = max(0, left - (before - budget.nodes))
    made.reverse()
    return made


def _item_or_message(given: Any) -> Part | None:
    if not isinstance(given, Mapping):
        return _message(given)
    kind = given.get("type")
    if "role" in given and "content" in given:
        return _message(given)
    if kind == "message" or (kind is None and "id" not in given):
        return _message(given)
    return _item(str(kind or "item_reference"), given)


def _item(kind: str, item: Mapping[str, Any]) -> Part | None:
    """Return an item of the responses API that is no message; None for reasoning that only the provider can read."""
    identity = item.get("call_id") or item.get("id")
    if kind in ("function_call", "custom_tool_call"):
        call = _tool_call(identity, item.get("name"), item.get("arguments", item.get("input")))
        return {"role": "assistant", "parts": [call]}
    if kind.endswith("_output"):
        output = item.get("output")
        answer = _part(output) if isinstance(output, Mapping) else _flat(output)
        return {"role": "tool", "parts": [{"type": "tool_call_response", "id": identity, "response": answer}]}
    if kind == "reasoning":
        said = [*_mappings(item.get("summary")), *_mappings(item.get("content"))]
        parts = [{"type": "reasoning", "content": part.get("text")} for part in said]
        return {"role": "assistant", "parts": parts} if parts else None
    if kind.endswith("_call") or kind.startswith("mcp_"):
        details = {
            name: _described(value) for name, value in item.items() if name not in _NO_DETAIL and value is not None
        }
        status = item.get("status")
        call = _server_call(ServerCall(kind.removesuffix("_call"), identity, status, details))
        drawn = item.get("result") if kind == "image_generation_call" else None
        shown = [media.image(str(drawn), f"image/{item.get('output_format') or 'png'}")] if drawn else []
        return {"role": "assistant", "parts": [call, *shown]}
    told = {name: _described(value) for name, value in item.items() if name not in ("role", "encrypted_content")}
    return {"role": item.get("role") or "user", "parts": [{**told, "type": kind}]}


def _message(message: Any) -> Part:
    if not isinstance(message, Mapping):
        return {"role": "user", "parts": [_text(message)]}
    role = message.get("role") or "user"
    content = message.get("content")
    parts = list(_reasoning(message))
    if role in ("tool", "function"):
        parts.append({"type": "tool_call_response", "id": message.get("tool_call_id"), "response": _flat(content)})
    else:
        parts += _parts(content)
        parts += _spoken(message.get("audio"))
        parts += [_part(image) for image in _mappings(message.get("images"))]
        parts += _refusal(message.get("refusal"))
        parts += [_call(call) for call in _mappings(message.get("tool_calls"))]
        legacy = message.get("function_call")
        if isinstance(legacy, Mapping):
            parts.append(_tool_call(None, legacy.get("name"), legacy.get("arguments")))
    named = {"name": message["name"]} if message.get("name") else {}
    return {"role": role, "parts": parts, **named}


def _answer(choice: Choice) -> Part:
    parts: list[Part] = [{"type": "reasoning", "content": choice.reasoning}] if choice.reasoning else []
    parts += [_text(choice.content)] if choice.content else []
    parts += _refusal(choice.refusal)
    parts += [_made_call(call) for call in choice.tool_calls]
    parts += [{**medium} for medium in choice.media]
    ended = {"finish_reason": choice.finish_reason} if choice.finish_reason else {}
    return {"role": choice.role, "parts": parts, **ended}


def _text(content: object) -> Part:
    return {"type": "text", "content": content}


def _refusal(text: object) -> list[Part]:
    return [{"type": "refusal", "content": text}] if text else []


def _reasoning(message: Mapping[str, Any]) -> Iterable[Part]:
    texts = (message.get(name) for name in _REASONING)
    return ({"type": "reasoning", "content": text} for text in texts if isinstance(text, str) and text)


def _parts(content: Any) -> list[Part]:
    if content is None or content == "":
        return []
    if not isinstance(content, list):
        return [_text(content)]
    return [_part(part) for part in content]


def _part(part: Any) -> Part:
    if not isinstance(part, Mapping):
        return _text(part)
    kind = part.get("type")
    if not isinstance(kind, str):  # a caller may say anything
        kind = None
    if kind in _TEXTS:
        return _text(part.get("text"))
    if kind == "refusal":
        return {"type": "refusal", "content": part.get("refusal")}
    if kind in _LINKS:
        return media.link(_target(part.get(str(kind))), _LINKS[str(kind)])
    if kind in ("input_image", "computer_screenshot"):
        return _input_image(part)
    if kind == "input_audio":
        audio = _mapping(part.get("input_audio"))
        return media.blob(
            "audio", f"audio/{audio.get('format') or 'unknown'}", media.base64_size(str(audio.get("data") or ""))
        )
    if kind in ("file", "input_file"):
        return _file(_mapping(part.get("file")) or part)
    return {**_described(part), "type": kind or "unknown"}


def _input_image(part: Mapping[str, Any]) -> Part:
    url = part.get("image_url")
    if url:
        return media.link(_target(url), "image")
    return {"type": "file", "modality": "image", "file_id": part.get("file_id")}


def _target(target: Any) -> str:
    return target if isinstance(target, str) else str(_mapping(target).get("url") or "")


def _file(file: Mapping[str, Any]) -> Part:
    name = {"filename": file["filename"]} if file.get("filename") else {}
    data = str(file.get("file_data") or file.get("file_url") or "")
    if not data:
        return {"type": "file", "modality": "document", "file_id": file.get("file_id"), **name}
    if data.startswith(("http://", "https://")):
        return {**media.link(data, "document"), **name}
    described = media.data_url(data, "document")
    return {**(described or media.blob("document", "application/octet-stream", media.base64_size(data))), **name}


def _described(value: Any) -> Any:
    """Describe inline media anywhere in a part of a kind that nobody knows here."""
    if isinstance(value, str):
        return media.data_url(value) or (media.unsigned(value) if value.startswith(("http://", "https://")) else value)
    if isinstance(value, list):
        return [_described(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    data = value.get("data")
    if value.get("type") == "base64" and isinstance(data, str):  # Anthropic's way, which gateways take too
        return media.inline(str(value.get("media_type") or "application/octet-stream"), media.base64_size(data))
    return {key: _described(item) for key, item in value.items()}


def _spoken(audio: Any) -> list[Part]:
    """Return an earlier answer in audio, named by its id or sent back whole."""
    said = _mapping(audio)
    data, transcript = said.get("data"), said.get("transcript")
    parts = [_text(transcript)] if transcript else []
    if isinstance(data, str):
        return [*parts, media.blob("audio", None, media.base64_size(data), id=said.get("id"))]
    return [*parts, {"type": "file", "modality": "audio", "file_id": said["id"]}] if said.get("id") else parts


def _flat(content: Any) -> Any:
    """Return a tool's answer as text where it is text parts only."""
    parts = _parts(content) if isinstance(content, list) else None
    if parts and all(part["type"] == "text" for part in parts):
        return "".join(str(part["content"]) for part in parts)
    return content if parts is None else parts


def _call(call: Mapping[str, Any]) -> Part:
    function = _mapping(call.get("function") or call.get("custom"))
    return _tool_call(call.get("id"), function.get("name"), function.get("arguments", function.get("input")))


def _made_call(call: ToolCall) -> Part:
    return _tool_call(call.id, call.name, call.arguments)


def _server_call(call: ServerCall) -> Part:
    named = {"id": call.id} if call.id else {}
    told = {"type": call.kind, **({"status": call.status} if call.status else {}), **plain(call.details or {})}
    return {"type": "server_tool_call", **named, "name": call.kind, "server_tool_call": told}


def _tool_call(identity: object, name: object, arguments: object) -> Part:
    named = {"id": identity} if identity else {}
    return {"type": "tool_call", **named, "name": name, "arguments": _parsed(arguments)}


def _parsed(arguments: object) -> object:
    """Return arguments as an object when they are the JSON text of one, else as they came."""
    if not isinstance(arguments, str):
        return arguments
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return plain(value) if isinstance(value, dict) else arguments


def _tool(tool: Any) -> Part:
    if not isinstance(tool, Mapping):
        return {"type": "unknown", "definition": tool}
    tool = {name: value for name, value in tool.items() if name not in _SECRETS}
    if isinstance(tool.get("server_url"), str):
        tool["server_url"] = media.unsigned(tool["server_url"])
    kind = tool.get("type")
    inner = tool.get(kind) if isinstance(kind, str) else None
    return {"type": kind, **inner} if isinstance(inner, Mapping) else dict(tool)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
