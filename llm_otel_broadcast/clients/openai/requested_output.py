"""What a request says of the answer's form, in a word each: its type, its schema's name, the tool that must be called.

On the host's thread: the request's own objects may be large, and are not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llm_otel_broadcast.clients.reader import text_of

OUTPUT_ARGUMENTS: Final = frozenset({"modalities", "response_format", "tool_choice"})
_MODALITY_TYPES: Final = {"audio": "speech", "image": "image"}
_FORMAT_TYPES: Final = {"json_object": "json", "json_schema": "json", "text": "text"}


def name_requested_output(parameters: dict[str, object]) -> None:
    """Put neutral facts in the place of `modalities`, `response_format` and `tool_choice`."""
    # Most requests say nothing of it, and each look below would cost the host's thread as much as a parameter.
    if OUTPUT_ARGUMENTS.isdisjoint(parameters):
        return
    modalities = parameters.pop("modalities", None)
    response_format = parameters.pop("response_format", None)
    output_type = schema_name = None
    # The class passed to `parse` is the schema that the answer has to follow.
    if isinstance(response_format, type):
        output_type, schema_name = "json", response_format.__name__
    elif isinstance(response_format, Mapping):
        output_type = _FORMAT_TYPES.get(text_of(response_format.get("type")) or "")
        schema = response_format.get("json_schema", response_format)
        schema_name = text_of(schema.get("name")) if isinstance(schema, Mapping) else None
    # Speech and images win over the format, which is of text alone.
    if isinstance(modalities, list | tuple):
        other_types = (other for name, other in _MODALITY_TYPES.items() if name in modalities)
        output_type = next(other_types, output_type)
    if output_type is not None:
        parameters["output_type"] = output_type
    if schema_name is not None:
        parameters["output_schema_name"] = schema_name
    # `auto`, `none`, `required`, or the name of the tool that the model has to call
    choice = parameters.get("tool_choice")
    if isinstance(choice, Mapping):
        choice_type = text_of(choice.get("type"))
        inner = choice.get(choice_type)
        name = choice.get("name") or (inner.get("name") if isinstance(inner, Mapping) else None)
        parameters["tool_choice"] = text_of(name) or choice_type
    elif "tool_choice" in parameters:
        parameters["tool_choice"] = text_of(choice)
