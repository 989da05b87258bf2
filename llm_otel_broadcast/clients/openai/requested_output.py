"""What a request says of the answer's form, in a word each: its type, its schema's name, the tool that must be called.

On the host's thread: the request's own objects may be large, and are not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llm_otel_broadcast.clients.reader import text_of

_PARAMETERS: Final = frozenset({"modalities", "response_format", "tool_choice"})
_MODALITY_TYPES: Final = {"audio": "speech", "image": "image"}
_FORMAT_TYPES: Final = {"json_object": "json", "json_schema": "json", "text": "text"}


def name_requested_output(parameters: dict[str, object]) -> None:
    """Put neutral facts in the place of `modalities`, `response_format` and `tool_choice`."""
    # Most requests say nothing of it, and each look below would cost the host's thread as much as a parameter.
    if _PARAMETERS.isdisjoint(parameters):
        return
    modalities = parameters.pop("modalities", None)
    response_format = parameters.pop("response_format", None)
    output_type = _type_of_modalities(modalities) or _type_of_format(response_format)
    if output_type is not None:
        parameters["output_type"] = output_type
    schema_name = _schema_name(response_format)
    if schema_name is not None:
        parameters["output_schema_name"] = schema_name
    if "tool_choice" in parameters:
        parameters["tool_choice"] = _tool_choice(parameters["tool_choice"])


def _type_of_modalities(modalities: object) -> str | None:
    if not isinstance(modalities, list | tuple):
        return None
    return next((output_type for name, output_type in _MODALITY_TYPES.items() if name in modalities), None)


def _type_of_format(response_format: object) -> str | None:
    if isinstance(response_format, type):
        return "json"
    format_type = response_format.get("type") if isinstance(response_format, Mapping) else None
    return _FORMAT_TYPES.get(text_of(format_type) or "")


def _schema_name(response_format: object) -> str | None:
    """Return the name of the schema that the answer has to follow: a given one, or that of the class passed to `parse`."""
    if isinstance(response_format, type):
        return response_format.__name__
    schema = response_format.get("json_schema", response_format) if isinstance(response_format, Mapping) else None
    return text_of(schema.get("name")) if isinstance(schema, Mapping) else None


def _tool_choice(choice: object) -> str | None:
    """Return `auto`, `none`, `required`, or the name of the tool that the model has to call."""
    if not isinstance(choice, Mapping):
        return text_of(choice)
    choice_type = text_of(choice.get("type"))
    inner = choice.get(choice_type)
    name = choice.get("name") or (inner.get("name") if isinstance(inner, Mapping) else None)
    return text_of(name) or choice_type
