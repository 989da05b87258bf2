"""What was asked and answered in the shape of OpenRouter's Broadcast: chat messages, whatever API they went through. Pure.

Messages keep the form that the API had them in (`record.content.FORM`), where a client library notes it. Media are described
as everywhere here; what Broadcast puts in their place is not known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llm_otel_broadcast.fields.json_encoder import encoder
from llm_otel_broadcast.fields.json_text import plain
from llm_otel_broadcast.fields.metadata import MAX_KEYS, attribute_of
from llm_otel_broadcast.record.content import FORM, Content, plain_text_of
from llm_otel_broadcast.record.generation import GenerationFacts
from llm_otel_broadcast.record.media import Part

_CHAT: Final = frozenset({"chat", "text_completion", "fetch_response"})
_SKINS: Final = {"chat_completions": "chat-completions"}
"""How Broadcast calls the API that a request came through, where that is known."""
_RESPONSES: Final = "responses"
_DERIVED: Final = frozenset({"output_schema_name", "output_type", "reasoning_effort"})
"""Parameters of the record that no API has under these names."""
_MARK: Final = "left_out"
"""The type that the mark for left-out items of a list has here."""
_TEXT_FIELDS: Final = ("trace_id", "trace_name", "span_name", "generation_name", "parent_span_id")
_spaced_encoder: Final = json.JSONEncoder(ensure_ascii=False)


def content_texts(facts: GenerationFacts, content: Content) -> dict[str, str]:
    """Return `prompt` and `completion` as JSON text, as far as there is anything that may be sent."""
    texts: dict[str, str] = {}
    if content.inputs or content.system:
        if facts.operation in _CHAT:
            prompt: Part = {"messages": _messages(facts, content)}
        else:
            # What operations take that have no messages: one text, or a list.
            parts = [part for message in content.inputs for part in message.get("parts") or ()]
            inputs = [part.get("content") if _type_of(part) == "text" else _content_part(part) for part in parts]
            prompt = {"input": inputs[0] if len(inputs) == 1 else inputs}
        texts["prompt"] = encoder.encode(prompt)
    # An error has a completion, too: the request that led to it stands there.
    if content.outputs or facts.failure is not None:
        texts["completion"] = encoder.encode(_completion(facts, content))
    return texts


def _messages(facts: GenerationFacts, content: Content) -> list[Part]:
    is_responses = facts.api == _RESPONSES
    # Seen of `/responses`: a good answer's messages come as lists of parts, those of a failed one as they were sent.
    are_normalized = is_responses and facts.failure is None
    instructions = [part.get("content") for part in content.system]
    # What OpenRouter calls the instructions of `/responses`; of other APIs they stand apart as the system's.
    role = "developer" if is_responses else "system"
    messages: list[Part] = [
        {"role": role, "content": _text_parts(text) if are_normalized else text} for text in instructions
    ]
    for neutral in content.inputs:
        message = _message(neutral, are_normalized=are_normalized)
        last = messages[-1] if messages else {}
        # Of `/responses` each call is an item of its own, which here belongs to the assistant's turn.
        continues_turn = is_responses and message.get("role") == "assistant" == last.get("role")
        if not continues_turn:
            messages.append(message)
            continue
        for name in ("content", "tool_calls"):
            earlier, later = last.get(name), message.get(name)
            if later:
                last[name] = [*_listed(earlier), *_listed(later)] if earlier else later
        if "reasoning" in message:
            reasoning = message["reasoning"]
            last["reasoning"] = f"{last['reasoning']}\n\n{reasoning}" if "reasoning" in last else reasoning
    return messages


def _message(neutral: Part, *, are_normalized: bool) -> Part:
    """Return a chat message of a neutral one."""
    text = None if are_normalized else plain_text_of(neutral)
    if text is not None:
        return {"role": neutral["role"], "content": text}
    parts = neutral.get("parts")
    if not isinstance(parts, list):
        return _marked(neutral)
    if len(parts) == 1 and isinstance(parts[0], dict) and "truncated" in parts[0]:
        return _mark_of(parts[0])
    form = _form_of(neutral)
    results = [part for part in parts if _type_of(part) in ("tool_call_response", "server_tool_call_response")]
    if results:
        members: Part = {
            "role": neutral.get("role"),
            "content": _result(results[0], form.get("content")),
            "tool_call_id": results[0].get("id"),
        }
    else:
        members = _members_of(neutral, parts, form, are_normalized=are_normalized)
    if "name" in neutral:
        members["name"] = neutral["name"]
    members |= form.get("members") or {}
    order = form.get("order") or ()
    first = {name: members[name] for name in order if name in members}
    return first | members


def _members_of(neutral: Part, parts: list[Any], form: Mapping[str, Any], *, are_normalized: bool) -> Part:
    """Return the members of a message that is no tool's result."""
    members: Part = {"role": neutral.get("role")}
    contents = [part for part in parts if _type_of(part) not in ("reasoning", "refusal", "tool_call")]
    texts = [part.get("content") for part in contents if _type_of(part) == "text"]
    stated = form.get("content")
    is_item = FORM not in neutral and parts and not contents
    if len(texts) < len(contents) or len(texts) > 1 or stated == "parts" or are_normalized or is_item:
        # Also of an item of `/responses`, which is a call and no message: a list of nothing.
        members["content"] = [_content_part(part) for part in contents]
    elif stated is None or texts:
        members["content"] = texts[0] if texts else ""
    elif stated == "null":
        members["content"] = None
    reasoning = _joined(parts, "reasoning")
    refusal = _joined(parts, "refusal")
    calls = [_call(part) for part in parts if _type_of(part) == "tool_call"]
    # Under the name that it was sent by. Broadcast leaves `reasoning_details` out.
    names = form.get("order") or ("reasoning",)
    name = next((name for name in ("reasoning", "reasoning_content") if name in names), None)
    if name is None and "reasoning_details" not in names:
        name = "reasoning"
    members |= {name: reasoning} if reasoning and name else {}
    members |= {"refusal": refusal} if refusal else {}
    return members | ({"tool_calls": calls} if calls else {})


def _form_of(value: Part) -> Mapping[str, Any]:
    # A server's own part may have a member of that name.
    form = value.get(FORM)
    return form if isinstance(form, dict) else {}


def _content_part(part: object) -> object:
    if not isinstance(part, dict):
        return part
    form = _form_of(part)
    if _type_of(part) == _MARK:
        return _mark_of(part)
    if part.get("type") == "text":
        return {"type": "text", "text": part.get("content"), **form}
    if part.get("type") == "uri" and part.get("modality") == "image":
        return {"type": "image_url", "image_url": {"url": part.get("uri")}, **form}
    return _marked({name: value for name, value in part.items() if name != FORM})


def _mark_of(value: Part) -> Part:
    """Return what stands for the items that were left out of a list, as Broadcast writes it."""
    return _marked({"truncated": value["truncated"]})


def _marked(value: Part) -> Part:
    """Return a value with the mark of what was left out under Broadcast's name."""
    return {"openrouter_truncated" if name == "truncated" else name: member for name, member in value.items()}


def _text_parts(text: object) -> list[Part]:
    return [{"type": "text", "text": text}]


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else _text_parts(value)


def _result(part: Part, stated: object) -> object:
    """Return what a tool returned, as the list that it was, else as text; `stated`: whether it was one (`FORM`)."""
    form = _form_of(part)
    if isinstance(form.get("parts"), list):
        return [_content_part(inner) for inner in form["parts"]]
    response = part.get("response", part.get("server_tool_call_response"))
    if isinstance(response, list):
        return [_content_part(inner) for inner in response]
    if isinstance(response, str) and stated == "parts":
        return _text_parts(response)
    return response if response is None or isinstance(response, str) else encoder.encode(response)


def _call(part: Part, index: int | None = None) -> Part:
    """Return a tool call; `index`: its place in the answer."""
    identity = {"id": part["id"]} if part.get("id") else {}
    position = {} if index is None else {"index": index}
    arguments = part.get("arguments")
    if arguments is not None and not isinstance(arguments, str):
        arguments = (_spaced_encoder if _form_of(part).get("is_spaced") else encoder).encode(arguments)
    # Hidden: the name alone.
    members = {} if arguments is None else {"arguments": arguments}
    return {**identity, **position, "type": "function", "function": {"name": part.get("name"), **members}}


def _completion(facts: GenerationFacts, content: Content) -> Part:
    """Return the first choice; Broadcast's form has room for one."""
    message: Part = content.outputs[0] if content.outputs else {}
    parts = [part for part in message.get("parts") or () if isinstance(part, dict)]
    text = _joined(parts, "text") or _joined(parts, "refusal")
    calls = [_call(part, index) for index, part in enumerate(part for part in parts if _type_of(part) == "tool_call")]
    completion: Part = {
        # Of an answer that broke off what had come is kept; Broadcast drops it, and says null where nothing had.
        "completion": text or (None if facts.failure is not None else ""),
        "reasoning": _joined(parts, "reasoning") or None,
    }
    # An empty list says that tools were offered, and none was called.
    if calls or (facts.tool_count and facts.failure is None):
        completion["toolCalls"] = calls
    tools: list[Part] = []
    for definition in content.tools:
        if _type_of(definition) == _MARK:
            tools.append(_mark_of(definition))
            continue
        # As chat completions have it.
        members = dict(definition)
        tool_type = members.pop("type", "function")
        if tool_type in ("function", "custom"):
            members = {tool_type: members}
        elif members.get("name") == tool_type:
            del members["name"]
        tools.append({"type": tool_type, **members})
    if calls and tools:
        completion["tools"] = tools
    completion["rawRequest"] = _request(facts, [] if calls else tools)
    return completion


def _request(facts: GenerationFacts, tools: list[Part]) -> Part:
    """Return what is known of the request beside its messages, in the order in which the client sends it."""
    parameters: Part = {name: value for name, value in facts.parameters.items() if name not in _DERIVED}
    effort = facts.parameters.get("reasoning_effort")
    # As OpenRouter normalizes it.
    parameters |= {"reasoning": {"effort": effort}} if effort is not None else {}
    parameters |= {"stream": True} if facts.stream else {}
    parameters |= {"tools": tools} if tools else {}
    parameters |= {"user": facts.fields.user} if facts.fields.user else {}
    request: Part = {"model": facts.request_model} if facts.request_model else {}
    request |= {name: plain(parameters[name]) for name in sorted(parameters)}
    # Behind the others: clients add what they do not know themselves.
    request |= {"session_id": facts.fields.session_id} if facts.fields.session_id else {}
    trace: Part = {name: value for name in _TEXT_FIELDS if (value := getattr(facts.fields, name)) is not None}
    for key, value in list(facts.fields.metadata.items())[:MAX_KEYS]:
        # Made an attribute first: the program's own objects are read in bounded time and length.
        attribute = attribute_of(value)
        if attribute is not None:
            is_json = isinstance(attribute, str) and not isinstance(value, str) and attribute[:1] in ("[", "{")
            trace[key] = json.loads(str(attribute)) if is_json else attribute
    request |= {"trace": trace} if trace else {}
    skin = _SKINS.get(facts.api or "")
    return request | ({"_skin": skin} if skin else {})


def _joined(parts: Sequence[Part], part_type: str) -> str:
    texts = (part.get("content") for part in parts if _type_of(part) == part_type)
    return "".join(text for text in texts if isinstance(text, str))


def _type_of(part: object) -> object:
    if not isinstance(part, dict):
        return None
    # In the neutral form it has the type of what it stands among.
    mark = part.get("truncated")
    return _MARK if isinstance(mark, dict) and "omitted_items" in mark else part.get("type")
