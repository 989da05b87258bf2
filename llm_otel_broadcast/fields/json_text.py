"""Any value as JSON text of bounded length: always valid JSON, never an error, whatever the caller's objects do."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from llm_otel_broadcast.guard import ask

MAX_CHARACTERS: Final = 1_000_000
_MAX_DEPTH: Final = 32
_MAX_REPR: Final = 256
_WORTH_CUTTING: Final = 64
"""Below this many characters left, an element is left out whole."""
_CUT: Final = "[truncated]"
_SIMPLE: Final = frozenset({type(None), str, bool})
_MAX_BITS: Final = 1_024
"""Python refuses to write integers of more than some thousand digits."""
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def shown(value: object) -> str:
    """Return the `repr` of what cannot be serialised, cut at 256 characters (DESIGN, section 3)."""
    return ask(lambda: repr(value)[:_MAX_REPR], f"<{type(value).__name__}>")


def plain(value: object) -> Any:
    """Return the value as JSON's own types. Cycles and what is nested over 32 deep become a marker, models are dumped."""
    if type(value) in _SIMPLE:
        return value
    return ask(lambda: _plain(value, (), 0), shown(value))


def _plain(value: Any, above: tuple[int, ...], depth: int) -> Any:
    if type(value) in _SIMPLE:
        return value
    if isinstance(value, str | int | float):
        return _scalar(value)
    if id(value) in above or depth >= _MAX_DEPTH:
        return "<cycle>" if id(value) in above else "<nested too deep>"
    inside = (*above, id(value))
    members = _members(value)
    if members is not None:
        return {_key(key): _plain(item, inside, depth + 1) for key, item in members}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, inside, depth + 1) for item in list(value)]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    return shown(value)


def _scalar(value: str | float) -> str | int | float:
    """Make subclasses (enums, numpy's floats) plain, and text of numbers that JSON cannot carry."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value) if value.bit_length() <= _MAX_BITS else "<huge number>"
    return float(value) if math.isfinite(value) else str(float(value))


def _members(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """Return the members of a mapping or of a client library's model, None when the value is neither."""
    if isinstance(value, Mapping):
        return list(value.items())
    dump = getattr(type(value), "model_dump", None)
    if dump is None:
        return None
    dumped = ask(lambda: dump(value, exclude_none=True, warnings=False), None)
    return list(dumped.items()) if isinstance(dumped, dict) else None


def _key(key: object) -> str:
    if isinstance(key, str):
        return str.__str__(key)
    return ask(lambda: str(key), f"<{type(key).__name__}>")


def bounded_json(value: object, limit: int = MAX_CHARACTERS) -> tuple[str, bool]:
    """Return the value as JSON text of at most `limit` characters, and whether it had to be cut for that.

    A cut list ends in `{"truncated":{"omitted_items":N}}`, a cut object in `"truncated":{"omitted_keys":N}`, a cut string in
    `[truncated]`: the markers of OpenRouter's Broadcast (spec, section 5.1) without its name.
    """
    simple = plain(value)
    text = _encoder.encode(simple)
    if len(text) <= limit:
        return text, False
    return _encoder.encode(_shrunk(simple, limit)), True


def _shrunk(value: Any, room: int) -> Any:
    """Return as much of the value, from its beginning, as fits into `room` characters of JSON."""
    if isinstance(value, str):
        return _shrunk_text(value, room)
    if isinstance(value, dict):
        return _shrunk_object(value, room - len('"truncated":{"omitted_keys":1234567890},{}'))
    if isinstance(value, list):
        return _shrunk_list(value, room - len('{"truncated":{"omitted_items":1234567890}},[]'))
    return None


def _shrunk_text(text: str, room: int) -> str:
    room -= len(_CUT) + 2
    kept = text[: max(0, room)]
    while kept and len(_encoder.encode(kept)) - 2 > room:  # escapes take more than one character
        excess = len(_encoder.encode(kept)) - 2 - room
        kept = kept[: -max(1, excess // 6)]
    return kept + _CUT


def _shrunk_list(items: list[Any], room: int) -> list[Any]:
    kept: list[Any] = []
    for item in items:
        size = len(_encoder.encode(item)) + 1
        if size > room:
            if room > _WORTH_CUTTING and isinstance(item, str | list | dict):
                kept.append(_shrunk(item, room - 1))
            break
        kept.append(item)
        room -= size
    omitted = len(items) - len(kept)
    return [*kept, {"truncated": {"omitted_items": omitted}}] if omitted else kept


def _shrunk_object(members: dict[str, Any], room: int) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, item in members.items():
        name = len(_encoder.encode(key)) + 2
        size = name + len(_encoder.encode(item))
        if size > room:
            if room - name > _WORTH_CUTTING and isinstance(item, str | list | dict):
                kept[key] = _shrunk(item, room - name)
            break
        kept[key] = item
        room -= size
    omitted = len(members) - len(kept)
    return {**kept, "truncated": {"omitted_keys": omitted}} if omitted else kept
