"""OpenAI's messages, response items and tools as neutral content: the members of the GenAI conventions' JSON schemas.

Read in the background only, from what the record keeps of the caller's own objects. Inline media are left out: a blob keeps
its kind, type and size, a link stays a link.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llm_otel_broadcast.clients.neutral_parts import (
    output_messages,
    refusal_parts,
    server_call_part,
    text_part,
    tool_call_part,
)
from llm_otel_broadcast.clients.openai.message_forms import message_form, result_form, text_form
from llm_otel_broadcast.clients.openai.responses.item_types import (
    APPROVAL_RESPONSE,
    CALL_CONTEXT,
    FUNCTION_CALLS,
    ORIGINS,
    STATED_ELSEWHERE,
    is_output,
    is_server_call,
    tool_of,
    waits_for_caller,
)
from llm_otel_broadcast.fields.json_text import Budget, plain
from llm_otel_broadcast.record import media
from llm_otel_broadcast.record.content import FORM, Content, without_form
from llm_otel_broadcast.record.generation import Generation, ServerCall
from llm_otel_broadcast.record.media import Part

_REASONING: Final = ("reasoning", "reasoning_content")
_LINKS: Final = {"image_url": "image", "video_url": "video", "audio_url": "audio"}
_TEXTS: Final = frozenset({"text", "input_text", "output_text", "summary_text", "reasoning_text"})
_THINKING: Final = frozenset({"reasoning", "reasoning.summary", "reasoning.text", "thinking"})
"""Parts of a message that are reasoning: Mistral's and Anthropic's, and OpenRouter's `reasoning_details`."""
_UNREADABLE: Final = ("redacted_thinking", "reasoning.encrypted")
"""Reasoning that only the provider can read."""
_TEXT_MEMBERS: Final = ("text", "thinking", "reasoning", "content", "summary")
_NOT_DETAILS: Final = STATED_ELSEWHERE | {"call_id"}
_NOT_ARGUMENTS: Final = _NOT_DETAILS | CALL_CONTEXT
# Bounds what a few small lists with shared parts may become: they can stand for millions of elements.
_MAX_PARTS: Final = 400_000
_MAX_PARTS_PER_VALUE: Final = 100_000
_USUAL_MEMBERS: Final = ("role", "content")
_USUAL_PARTS: Final = 3
_MAX_USUAL_CHARS: Final = 1_000_000
_OTHER_ROLES: Final = frozenset({"", "tool", "function"})
_SECRETS: Final = frozenset({"authorization", "headers"})
"""What the definition of a remote tool carries for the provider alone."""


def content_of(record: Generation) -> Content:
    """Return the content of a call of this client library's."""
    return Content(
        system=[text_part(record.instructions)] if record.instructions else (),
        inputs=input_messages(record.messages or (), with_form=True),
        outputs=output_messages(record.choices, record.server_calls, with_form=True),
        tools=tool_definitions(record.tools or ()),
    )


def input_messages(messages: Sequence[object], *, with_form: bool = False) -> list[Part]:
    """Return the request's messages: role, parts and, if given, name. An item of the responses API is a message of its own.

    Args:
        messages: as the caller gave them.
        with_form: with what `record.content.FORM` is for.
    """
    usual = _usual_messages(messages)
    if usual is not None:
        return usual
    neutral: list[Part | None] = []
    for value in _plain_each(messages):
        item_type = value.get("type") if isinstance(value, Mapping) else "message"
        # The responses API takes messages without a type, and a reference to an item by its id alone.
        if (
            item_type == "message"
            or ("role" in value and "content" in value)
            or (item_type is None and "id" not in value)
        ):
            neutral.append(_message(value))
        else:
            neutral.append(_item(str(item_type or "item_reference"), value))
    return [message if with_form else without_form(message) for message in neutral if message is not None]


def _usual_messages(messages: Sequence[object]) -> list[Part] | None:
    """Return messages of which each is a role and a text and nothing else; None where one is not.

    Most conversations are such: they are plain, and their neutral form is seen at once, in a fifth of the time.
    """
    if len(messages) * _USUAL_PARTS > _MAX_PARTS:
        return None
    neutral: list[Part] = []
    for message in messages:
        # No subclass, which might do anything, and no other order, which has a form of its own.
        if type(message) is not dict or tuple(message) != _USUAL_MEMBERS:
            return None
        role, content = message.values()
        if not (type(role) is type(content) is str and content) or role in _OTHER_ROLES:
            return None
        if len(content) > _MAX_USUAL_CHARS:
            return None
        neutral.append({"role": role, "parts": [{"type": "text", "content": content}]})
    return neutral


def tool_definitions(tools: Sequence[object]) -> list[Part]:
    """Return the tools the request offers: one level, with the type and the name that the conventions' schema requires.

    What has no type is a function, or what its only member names (`{"google_search": {}}`). A built-in tool's name is its type.
    """
    definitions: list[Part] = []
    for tool in _plain_each(tools):
        if not isinstance(tool, Mapping):
            definitions.append({"type": "unknown", "name": "unknown", "definition": tool})
            continue
        members = dict(tool)
        # The address of a remote tool may carry its key.
        if isinstance(members.get("server_url"), str):
            members["server_url"] = media.unsigned(members["server_url"])
        tool_type = members.pop("type", None)
        if not isinstance(tool_type, str):
            single = next(iter(members), None) if len(members) == 1 else None
            tool_type = single if single and isinstance(members[single], Mapping) else "function"
        definition = members.get(tool_type)
        if isinstance(definition, Mapping):
            members = {**{name: value for name, value in members.items() if name != tool_type}, **definition}
            members.pop("type", None)
        name = members.pop("name", None) or tool_type
        public_members = {key: value for key, value in members.items() if key not in _SECRETS}
        definitions.append({"type": tool_type, "name": name, **public_members})
    return definitions


def _plain_each(values: Sequence[object]) -> list[Any]:
    """Return each value as JSON's own types. The newest comes first where there are too many parts in all of them together."""
    budget_left = _MAX_PARTS
    plain_values: list[Any] = []
    if not values:
        return plain_values
    for value in reversed(list(values)):
        allowance = min(_MAX_PARTS_PER_VALUE, budget_left)
        budget = Budget(nodes=allowance)
        plain_values.append(plain(value, budget))
        budget_left = max(0, budget_left - (allowance - budget.nodes))
    plain_values.reverse()
    return plain_values


def _item(item_type: str, item: Mapping[str, Any]) -> Part | None:
    """Return an item of the responses API that is no message; None for reasoning that only the provider can read."""
    identity = item.get("call_id") or item.get("id")
    if waits_for_caller(item):
        is_function = item_type in FUNCTION_CALLS
        arguments = item.get("arguments", item.get("input"))
        # The arguments of a built-in tool are the members that say what to do.
        if arguments is None and not is_function:
            arguments = _details(item, _NOT_ARGUMENTS)
        origin = {name: item[name] for name in ORIGINS if item.get(name)}
        name = item.get("name") or (None if is_function else tool_of(item_type))
        return {"role": "assistant", "parts": [{**tool_call_part(identity, name, arguments), **origin}]}
    if is_output(item_type):
        return {"role": "tool", "parts": [_returned(item_type, item, identity)]}
    if item_type == APPROVAL_RESPONSE:
        answer = {name: item[name] for name in ("approve", "reason") if item.get(name) is not None}
        part = {"type": "tool_call_response", "id": item.get("approval_request_id"), "response": answer}
        return {"role": "tool", "parts": [part]}
    if item_type == "reasoning":
        parts_of_item = [part for name in ("summary", "content") for part in _listed(item.get(name))]
        texts = filter(None, map(_text_within, parts_of_item))
        parts = [{"type": "reasoning", "content": text} for text in texts]
        return {"role": "assistant", "parts": parts} if parts else None
    if is_server_call(item_type):
        details = _details(item, _NOT_DETAILS)
        call = server_call_part(ServerCall(tool_of(item_type), identity, item.get("status"), details))
        image_data = item.get("result") if item_type == "image_generation_call" else None
        image_type = f"image/{item.get('output_format') or 'png'}"
        images = [media.image(str(image_data), image_type)] if image_data else []
        return {"role": "assistant", "parts": [call, *images]}
    # An item of a type that is newer than this file, as it is.
    omitted = ("role", "encrypted_content", FORM)
    members = {name: _described(value) for name, value in item.items() if name not in omitted}
    return {"role": _role_of(item), "parts": [{**members, "type": item_type}]}


def _returned(item_type: str, item: Mapping[str, Any], identity: object) -> Part:
    """Return what a tool returned; a built-in one may say it in members of its own (`tools`, `status`)."""
    output = item.get("output")
    if output is None:
        answer: Any = _details(item, _NOT_DETAILS - {"result"})
    else:
        answer = _part(output) if isinstance(output, Mapping) else _flat(output)
    if item_type == "program_output" or item.get("execution") == "server":
        members = answer if isinstance(answer, Mapping) else {"output": answer}
        response = {"type": tool_of(item_type), **members}
        return {"type": "server_tool_call_response", "id": identity, "server_tool_call_response": response}
    return {"type": "tool_call_response", "id": identity, "response": answer}


def _details(item: Mapping[str, Any], omitted: frozenset[str]) -> dict[str, Any]:
    return {name: _described(value) for name, value in item.items() if name not in omitted and value not in (None, [])}


def _message(message: Any) -> Part:
    if not isinstance(message, Mapping):
        return {"role": "user", "parts": [text_part(message)]}
    role = _role_of(message)
    content = message.get("content")
    # The reasoning that is sent back, once: gateways give the same text under several names.
    texts = (_text_within(message.get(name)) for name in _REASONING)
    text = next(filter(None, texts), "") or "".join(map(_text_within, _listed(message.get("reasoning_details"))))
    parts: list[Part] = [{"type": "reasoning", "content": text}] if text else []
    if role in ("tool", "function"):
        parts.append(
            {
                "type": "tool_call_response",
                "id": message.get("tool_call_id"),
                "response": _flat(content),
                **result_form(content, _parts),
            }
        )
    else:
        parts += _parts(content)
        # An earlier answer in audio, sent back whole or named by its id.
        audio = _mapping(message.get("audio"))
        parts += [text_part(audio["transcript"])] if audio.get("transcript") else []
        if isinstance(audio.get("data"), str):
            parts.append(media.blob("audio", None, media.base64_size(audio["data"]), id=audio.get("id")))
        elif audio.get("id"):
            parts.append({"type": "file", "modality": "audio", "file_id": audio["id"]})
        parts += [_part(image) for image in _mappings(message.get("images"))]
        parts += refusal_parts(message.get("refusal"))
        for call in _mappings(message.get("tool_calls")):
            function = _mapping(call.get("function") or call.get("custom") or call)
            arguments = function.get("arguments", function.get("input"))
            parts.append(tool_call_part(call.get("id"), function.get("name"), arguments))
        # The functions API, which tools have replaced.
        function_call = message.get("function_call")
        if isinstance(function_call, Mapping):
            parts.append(tool_call_part(None, function_call.get("name"), function_call.get("arguments")))
    name = {"name": message["name"]} if message.get("name") else {}
    return {"role": role, "parts": parts, **name, **message_form(message)}


def _role_of(message: Mapping[str, Any]) -> str:
    role = message.get("role")
    # A caller may put anything there, and privacy goes by it.
    return role if role and isinstance(role, str) else "user"


def _parts(content: Any) -> list[Part]:
    if content is None or content == "":
        return []
    if isinstance(content, list):
        return [_part(part) for part in content if _mapping(part).get("type") not in _UNREADABLE]
    return [_part(content)]


def _part(part: Any) -> Part:
    if not isinstance(part, Mapping):
        return text_part(part)
    stated_type = part.get("type")
    # A caller may put anything there.
    part_type = stated_type if isinstance(stated_type, str) else ""
    if part_type in _TEXTS:
        return {**text_part(part.get("text")), **text_form(part)}
    if part_type in _THINKING or part_type == "refusal":
        is_refusal = part_type == "refusal"
        text = part.get("refusal") if is_refusal else _text_within(part)
        return {"type": "refusal" if is_refusal else "reasoning", "content": text}
    if part_type in _LINKS:
        return media.link(_url_of(part.get(part_type)), _LINKS[part_type])
    if part_type in ("input_image", "computer_screenshot"):
        url = part.get("image_url")
        # What was uploaded before is named by its id.
        uploaded: Part = {"type": "file", "modality": "image", "file_id": part.get("file_id")}
        return media.link(_url_of(url), "image") if url else uploaded
    if part_type == "input_audio":
        audio = _mapping(part.get("input_audio"))
        size = media.base64_size(str(audio.get("data") or ""))
        return media.blob("audio", f"audio/{audio.get('format') or 'unknown'}", size)
    if part_type in ("file", "input_file"):
        file = _mapping(part.get("file")) or part
        name = {"filename": file["filename"]} if file.get("filename") else {}
        data = str(file.get("file_data") or file.get("file_url") or "")
        if not data:
            described: Part = {"type": "file", "modality": "document", "file_id": file.get("file_id")}
        # `file_url` of the responses API; gateways take a link in `file_data`, too.
        elif data.startswith(("http://", "https://")):
            described = media.link(data, "document")
        else:
            size = media.base64_size(data)
            described = media.data_url(data, "document") or media.blob("document", "application/octet-stream", size)
        return {**described, **name}
    return {**_described(part), "type": part_type or "unknown"}


def _text_within(value: object) -> str:
    """Return the text of what should be one, and may be a part or a list of parts with the text further down."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(_text_within, value))
    if not isinstance(value, Mapping) or value.get("type") == "reasoning.encrypted":
        return ""
    return next((text for name in _TEXT_MEMBERS if (text := _text_within(value.get(name)))), "")


def _url_of(link: object) -> str:
    return link if isinstance(link, str) else str(_mapping(link).get("url") or "")


def _described(value: Any) -> Any:
    """Describe inline media anywhere in a part of a kind that nobody knows here."""
    if isinstance(value, str):
        return media.data_url(value) or (media.unsigned(value) if value.startswith(("http://", "https://")) else value)
    if isinstance(value, list):
        return [_described(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    data = value.get("data")
    # Anthropic's way, which gateways take too.
    if value.get("type") == "base64" and isinstance(data, str):
        return media.inline(str(value.get("media_type") or "application/octet-stream"), media.base64_size(data))
    return {key: _described(item) for key, item in value.items() if key != FORM}


def _flat(content: Any) -> Any:
    """Return a tool's answer as text where it is text parts only."""
    parts = _parts(content) if isinstance(content, list) else None
    if parts and all(part["type"] == "text" for part in parts):
        return "".join(part["content"] or "" for part in parts)
    return content if parts is None else parts


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [item for item in _listed(value) if isinstance(item, Mapping)]


def _listed(value: object) -> list[Any]:
    """Return a list as it is, any other value where a list belongs as a list of it."""
    if isinstance(value, list):
        return value
    return [] if value is None else [value]
