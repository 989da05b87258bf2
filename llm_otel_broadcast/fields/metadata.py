"""The caller's own keys of `trace` as span attributes `trace.metadata.*`. Never raises."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Final

from llm_otel_broadcast.fields.json_cut import Json
from llm_otel_broadcast.fields.json_text import Budget, bounded_json, plain, plain_json, short_repr
from llm_otel_broadcast.host.blocked_objects import objects
from llm_otel_broadcast.host.guard import or_else
from llm_otel_broadcast.record.int64 import MAX_INT64, MIN_INT64
from llm_otel_broadcast.record.span_data import AttributeValue

MAX_KEYS: Final = 256
MAX_VALUE_CHARACTERS: Final = 16_384
_MAX_KEY_CHARACTERS: Final = 256
_PLAIN: Final = frozenset({str, bool, int, float})
# OTLP has no larger integers


def metadata_attributes(metadata: Mapping[str, object]) -> dict[str, AttributeValue]:
    """Return the attributes: str, bool, int and float as they are, lists and objects as JSON text, None left out.

    Values are cut at 16,384 characters, names at 256; keys over 256 are counted in `trace.metadata_omitted`.
    """
    attributes: dict[str, AttributeValue] = {}
    for key, value in list(metadata.items())[:MAX_KEYS]:
        # Most are short texts, which are as they are.
        if type(value) is str and len(value) <= MAX_VALUE_CHARACTERS:
            attribute: AttributeValue | None = value
        else:
            attribute = attribute_of(value)
        if attribute is not None:
            attributes[f"trace.metadata.{key[:_MAX_KEY_CHARACTERS]}"] = attribute
    if len(metadata) > MAX_KEYS:
        attributes["trace.metadata_omitted"] = len(metadata) - MAX_KEYS
    return attributes


def metadata_json(metadata: Mapping[str, object], limit: int = MAX_VALUE_CHARACTERS) -> str:
    """Return values as one JSON text of at most `limit` characters, for backends that read metadata so; None is left out.

    Names are cut at 256 characters; keys over 256 are counted in `omitted_keys`.
    """
    values = {
        key[:_MAX_KEY_CHARACTERS]: plain_of(value)
        for key, value in list(metadata.items())[:MAX_KEYS]
        if value is not None
    }
    if len(metadata) > MAX_KEYS:
        values["omitted_keys"] = len(metadata) - MAX_KEYS
    return plain_json(values, limit)[0]


def plain_of(value: object) -> Json:
    """Return any value as JSON's own types: the program's own objects where they do not block."""
    # Most are short texts and small numbers, which are as they are.
    if (type(value) is str and len(value) <= MAX_VALUE_CHARACTERS) or (
        type(value) is int and MIN_INT64 <= value <= MAX_INT64
    ):
        return value
    if value is None or type(value) in _PLAIN:
        return plain(value)
    budget = Budget(MAX_VALUE_CHARACTERS, MAX_VALUE_CHARACTERS)
    return objects.read(value, partial(plain, value, budget), lambda: _not_read(value))


def attribute_of(value: object) -> AttributeValue | None:
    """Return any value as an attribute's: as it is if it can be, else as text; None stays None."""
    # the program's own objects may block in `__str__`: those are read where that stops one value, not the lane
    if value is None or type(value) in _PLAIN:
        return _value(value)
    return objects.read(value, partial(_read, value), lambda: _not_read(value))


def _not_read(value: object) -> str:
    return f"<{type(value).__name__}: not read, it blocks>"


def _read(value: object) -> AttributeValue | None:
    attribute = or_else(partial(_value, value), None)
    return short_repr(value) if attribute is None else attribute


def _value(value: object) -> AttributeValue | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)[:MAX_VALUE_CHARACTERS]
    if isinstance(value, int):
        return int(value) if MIN_INT64 <= int(value) <= MAX_INT64 else short_repr(int(value))
    if isinstance(value, float):
        # JSON has no number for NaN and infinity
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping | list | tuple | set | frozenset) or hasattr(type(value), "model_dump"):
        return bounded_json(value, MAX_VALUE_CHARACTERS)[0]
    return short_repr(value)
