"""Neutral content as OpenInference's attributes: messages, tools and texts flattened, and the values that lists show. Pure.

What is there may be sent, and is cut already. No part is lost: one of a kind that OpenInference does not know is its JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from llm_otel_broadcast.fields.json_encoder import encoder
from llm_otel_broadcast.record.content import Content, plain_text_of
from llm_otel_broadcast.record.enclosing_facts import Excerpt
from llm_otel_broadcast.record.media import Part
from llm_otel_broadcast.record.span_data import AttributeValue

_Attributes = dict[str, AttributeValue]
_TEXT: Final = "text/plain"
_JSON: Final = "application/json"
_REDACTED: Final = "__REDACTED__"
"""What OpenInference writes for a value that is not sent."""
_TEXT_TYPES: Final = {"text": "text", "refusal": "text", "reasoning": "reasoning"}
_MEDIA_TYPES: Final = frozenset({"audio", "blob", "file", "uri"})
_MODALITIES: Final = frozenset({"audio", "image", "video"})
_CALL_TYPES: Final = frozenset({"server_tool_call", "tool_call"})
_DOCUMENT_TEXTS: Final = ("content", "page_content", "text")
"""Where a document has its text: OpenInference's name, LangChain's, and that of most others."""
# The API has these tools' members one level down.
_NESTED_TOOLS: Final = frozenset({"custom", "function"})


def content_attributes(operation: str, content: Content) -> _Attributes:
    """Return the attributes of what was asked and answered.

    Args:
        operation: which decides where it belongs: texts that are embedded are no messages.
        content: as far as the destination may have it.
    """
    inputs = [*([{"role": "system", "parts": list(content.system)}] if content.system else []), *content.inputs]
    outputs = [message for message in content.outputs if message.get("parts") or "parts" not in message]
    if operation == "embeddings":
        attributes = _embeddings([part for message in inputs for part in _parts_of(message)])
    else:
        attributes = _exchange(operation, inputs, outputs)
        # The messages' text is there already, unless the instructions stand before them.
        text = content.json_texts.get("inputs")
        if inputs and text is not None and not content.system:
            attributes |= {"input.value": f'{{"messages":{text}}}', "input.mime_type": _JSON}
        elif inputs:
            attributes |= _value("input", None, {"messages": inputs})
        for index, tool in enumerate(content.tools):
            attributes |= _tool(f"llm.tools.{index}", tool)
    # Beside the values: below `llm.input_messages` it would be no message, and readers take that for a list.
    if content.shortened & {"system", "inputs", "tools"}:
        attributes["input.truncated"] = True
    if "outputs" in content.shortened or content.omitted_characters:
        attributes["output.truncated"] = True
    if content.omitted_characters:
        attributes["output.omitted_characters"] = content.omitted_characters
    return attributes


def document_attributes(result: Excerpt) -> _Attributes:
    """Return what a retriever has returned as documents, beside the value: a text each, or what models of documents call it.

    Nothing where its result is no list.
    """
    documents = json.loads(result.text) if result.is_own and result.is_json else None
    attributes: _Attributes = {}
    for index, document in enumerate(documents if isinstance(documents, list) else ()):
        key = f"retrieval.documents.{index}.document"
        members = document if isinstance(document, dict) else {}
        content = next((members[name] for name in _DOCUMENT_TEXTS if name in members), document)
        attributes[f"{key}.content"] = _text(content)
        _set_text(attributes, f"{key}.id", members.get("id"))
        _set_text(attributes, f"{key}.metadata", members.get("metadata"))
        score = members.get("score")
        if isinstance(score, int | float) and not isinstance(score, bool):
            attributes[f"{key}.score"] = float(score)
    return attributes


def _embeddings(parts: Sequence[object]) -> _Attributes:
    """Return what was embedded: of token ids no text is made, as the conventions ask for."""
    if not parts:
        return {}
    texts = [_text_of(part) for part in parts if _type_of(part) == "text"]
    attributes: _Attributes = {f"embedding.embeddings.{index}.embedding.text": text for index, text in enumerate(texts)}
    values = [_text_of(part) for part in parts]
    return attributes | _value("input", values[0] if len(values) == 1 else None, values)


def _exchange(operation: str, inputs: Sequence[Part], outputs: Sequence[Part]) -> _Attributes:
    """Return what was asked and answered, message by message, and the answer as a value for lists."""
    attributes: _Attributes = {}
    if operation == "text_completion":
        attributes |= {f"llm.prompts.{index}.prompt.text": _joined(message) for index, message in enumerate(inputs)}
        attributes |= {
            f"llm.choices.{index}.completion.text": _joined(message) for index, message in enumerate(outputs)
        }
    elif operation != "decision":
        # Questions and answers of a decision are no conversation.
        attributes |= _messages("llm.input_messages", inputs) | _messages("llm.output_messages", outputs)
    if outputs:
        attributes |= _value("output", _only_text(outputs), {"messages": outputs})
    return attributes


def _value(name: str, text: str | None, value: object) -> _Attributes:
    """Return `input.value` or `output.value`, which lists of spans show: a text, or else a value as JSON."""
    if text is None:
        return {f"{name}.value": encoder.encode(value), f"{name}.mime_type": _JSON}
    return {f"{name}.value": text, f"{name}.mime_type": _TEXT}


def _only_text(messages: Sequence[Part]) -> str | None:
    """Return the text that is all there is beside reasoning, None where there is more."""
    parts = [part for part in _parts_of(messages[0]) if _type_of(part) != "reasoning"]
    is_text = len(messages) == len(parts) == 1 and isinstance(parts[0], dict) and parts[0].get("type") == "text"
    return _text_of(parts[0]) if is_text else None


def _messages(key: str, messages: Sequence[Part]) -> _Attributes:
    """Return messages; a result of a tool is a message of its own there."""
    attributes: _Attributes = {}
    index = 0
    for message in messages:
        text = plain_text_of(message)
        if text is not None:
            attributes[f"{key}.{index}.message.role"] = _text(message["role"] or "user")
            attributes[f"{key}.{index}.message.content"] = text
            index += 1
            continue
        parts = _parts_of(message)
        results = [part for part in parts if isinstance(part, dict) and part.get("type") == "tool_call_response"]
        further_parts = [part for part in parts if _type_of(part) != "tool_call_response"]
        if further_parts or not results:
            attributes |= _message(f"{key}.{index}.message", message, further_parts)
            index += 1
        for result in results:
            message_key = f"{key}.{index}.message"
            attributes[f"{message_key}.role"] = "tool"
            _set_text(attributes, f"{message_key}.name", message.get("name"))
            _set_text(attributes, f"{message_key}.tool_call_id", result.get("id"))
            attributes[f"{message_key}.content"] = _text(result.get("response"))
            index += 1
    return attributes


def _message(message_key: str, message: Part, parts: Sequence[object]) -> _Attributes:
    attributes: _Attributes = {f"{message_key}.role": _text(message.get("role") or "user")}
    _set_text(attributes, f"{message_key}.name", message.get("name"))
    blocks = [part for part in parts if _type_of(part) not in _CALL_TYPES]
    if len(blocks) == 1 and _TEXT_TYPES.get(_type_of(blocks[0]), "text") == "text" and not _is_medium(blocks[0]):
        attributes[f"{message_key}.content"] = _text_of(blocks[0])
    else:
        for index, block in enumerate(blocks):
            key = f"{message_key}.contents.{index}.message_content"
            attributes |= {f"{key}.{name}": value for name, value in _block(block)}
    calls = [part for part in parts if isinstance(part, dict) and _type_of(part) in _CALL_TYPES]
    for index, call in enumerate(calls):
        key = f"{message_key}.tool_calls.{index}.tool_call"
        _set_text(attributes, f"{key}.id", call.get("id"))
        attributes[f"{key}.function.name"] = _text(call.get("name") or "unknown")
        arguments = call.get("arguments")
        if call["type"] == "server_tool_call":
            members = call.get("server_tool_call")
            members = members if isinstance(members, dict) else {}
            arguments = {name: member for name, member in members.items() if name != "type"}
        # Absent where the destination may not have them.
        if arguments is not None:
            attributes[f"{key}.function.arguments"] = _text(arguments)
    return attributes


def _block(part: object) -> Iterator[tuple[str, AttributeValue]]:
    """Yield the members of a part of a message."""
    if not isinstance(part, dict) or not _is_medium(part):
        yield "type", _TEXT_TYPES.get(_type_of(part), "text")
        yield "text", _text_of(part)
        return
    modality = part.get("modality")
    kind = modality if isinstance(modality, str) and modality in _MODALITIES else "document"
    yield "type", kind
    yield f"{kind}.{kind}.url", _text(part.get("uri") or part.get("file_id") or _REDACTED)
    if kind in {"audio", "document"} and part.get("mime_type"):
        yield f"{kind}.{kind}.mime_type", _text(part["mime_type"])
    if kind == "document" and part.get("filename"):
        yield "document.document.name", _text(part["filename"])


def _tool(key: str, tool: Part) -> _Attributes:
    """Return a definition in the form that the API has."""
    kind = _type_of(tool)
    schema: Part = tool
    if kind in _NESTED_TOOLS and "name" in tool:
        schema = {"type": kind, kind: {name: member for name, member in tool.items() if name != "type"}}
    attributes: _Attributes = {f"{key}.tool.json_schema": encoder.encode(schema)}
    _set_text(attributes, f"{key}.tool.name", tool.get("name"))
    _set_text(attributes, f"{key}.tool.description", tool.get("description"))
    return attributes


def _parts_of(message: Part) -> Sequence[object]:
    """Return a message's parts; of one without, as a mark of what was cut is, the message itself as one part."""
    parts = message.get("parts")
    return parts if isinstance(parts, list) else [{name: member for name, member in message.items() if name != "role"}]


def _joined(message: Part) -> str:
    return "".join(_text_of(part) for part in _parts_of(message))


def _type_of(part: object) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    return kind if isinstance(kind, str) else ""


def _is_medium(part: object) -> bool:
    return _type_of(part) in _MEDIA_TYPES


def _text_of(part: object) -> str:
    """Return the text of a part, of any other than a text its JSON."""
    return (
        _text(part["content"])
        if isinstance(part, dict) and _type_of(part) in _TEXT_TYPES and "content" in part
        else _text(part)
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else encoder.encode(value)


def _set_text(attributes: _Attributes, key: str, value: object) -> None:
    if value:
        attributes[key] = _text(value)
