"""Cutting plain JSON values to a length the way OpenRouter's Broadcast does (spec, section 8), under our own marker's name.

Texts keep both ends, objects every key with an equal share, messages the first and the newest; other lists their first elements.
"""

from __future__ import annotations

import json
from typing import Any, Final

CUT: Final = "[truncated]"
_MIN_SHARE_CHARACTERS: Final = 64
"""With less, an element or a member is left out whole."""
_SHARED_LIST_CHARACTERS: Final = 256
"""A list whose elements can have this many each is cut in all of them, like an object."""
_MAX_MARK_CHARACTERS: Final = 256
encoder: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def size_within(value: Any, room: int) -> int | None:
    """Return how many characters of JSON a plain value takes, None when they are more than `room`.

    What is much too large is never encoded: a lower bound tells.
    """
    least = 0
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            least += len(item) + 2
        elif isinstance(item, dict):
            least += 1 + sum(len(key) + 4 for key in item)
            pending.extend(item.values())
        elif isinstance(item, list):
            least += 1 + len(item)
            pending.extend(item)
        if least + len(pending) > room + 2:
            return None
    size = len(encoder.encode(value))
    return size if size <= room else None


def cut(value: Any, room: int) -> Any:
    """Return as much of a plain value as takes `room` characters of JSON, at most; room for a marker is needed."""
    if size_within(value, room) is not None:
        return value
    if isinstance(value, str):
        return _cut_text(value, room)
    if isinstance(value, dict):
        return _cut_object(value, room)
    if isinstance(value, list):
        return _cut_messages(value, room) if _are_messages(value) else _cut_list(value, room)
    return None


def _cut_text(text: str, room: int) -> str:
    room -= len(CUT) + 2
    kept = max(0, room)
    while kept > 0:
        made = f"{text[: kept - kept // 2]}{CUT}{text[len(text) - kept // 2 :] if kept > 1 else ''}"
        excess = len(encoder.encode(made)) - 2 - len(CUT) - room
        if excess <= 0:
            return made
        # an escape takes up to six characters
        kept -= max(1, excess // 6)
    return CUT if room >= 0 else ""


def _shares(values: list[Any], room: int) -> list[Any]:
    """Cut each value to its share; what small ones leave goes to the large ones."""
    sizes = [size_within(value, room) for value in values]
    made = list(values)
    order = sorted(range(len(values)), key=lambda at: room + 1 if sizes[at] is None else sizes[at] or 0)
    for done, at in enumerate(order):
        share = room // (len(values) - done)
        size = sizes[at]
        if size is None or size > share:
            made[at] = cut(values[at], share)
            size = len(encoder.encode(made[at]))
        room -= size
    return made


def _cut_object(members: dict[str, Any], room: int) -> dict[str, Any]:
    room -= 2
    kept: list[str] = []
    names = 0
    for key in members:
        name = len(encoder.encode(key)) + 2
        if room - names - name < _MIN_SHARE_CHARACTERS * (len(kept) + 1) + _MIN_SHARE_CHARACTERS:
            break
        kept.append(key)
        names += name
    omitted = _omitted(list(members.items())[len(kept) :], "omitted_keys")
    mark = {"truncated": {"omitted_keys": omitted}} if omitted else {}
    shares = _shares([members[key] for key in kept], room - names - (_MIN_SHARE_CHARACTERS if omitted else 0))
    return {**dict(zip(kept, shares, strict=True)), **mark}


def _cut_list(items: list[Any], room: int) -> list[Any]:
    if room // (len(items) + 1) >= _SHARED_LIST_CHARACTERS:
        return _shares(items, room - 2 - len(items))
    kept: list[Any] = []
    room -= len('{"truncated":{"omitted_items":1234567890}},[]')
    for item in items:
        size = size_within(item, room - 1)
        if size is None:
            if room > _MIN_SHARE_CHARACTERS and isinstance(item, str | list | dict):
                kept.append(cut(item, room - 1))
            break
        kept.append(item)
        room -= size + 1
    omitted = _omitted(items[len(kept) :], "omitted_items")
    return [*kept, {"truncated": {"omitted_items": omitted}}] if omitted else kept


def _omitted(left_out: list[Any], name: str) -> int:
    """Return how many elements are left out, those included that were before, which a marker at the end says."""
    last = left_out[-1] if left_out else None
    if isinstance(last, tuple):
        last = {last[0]: last[1]}
    mark = last.get("truncated") if isinstance(last, dict) else None
    earlier = mark.get(name) if isinstance(mark, dict) else None
    return len(left_out) - 1 + earlier if isinstance(earlier, int) else len(left_out)


def _are_messages(items: list[Any]) -> bool:
    return all(isinstance(item, dict) and "role" in item and ("parts" in item or "content" in item) for item in items)


def _cut_messages(messages: list[Any], room: int) -> list[Any]:
    """Keep the first message and the newest; between them one says how many are left out."""
    room -= 2
    if len(messages) == 1:
        return [cut(messages[0], room)]
    room -= min(_MAX_MARK_CHARACTERS, room // 4)
    last = size_within(messages[-1], room // 2)
    first = cut(messages[0], room - 1 - (room // 2 if last is None else last + 1))
    room -= len(encoder.encode(first)) + 1
    newest: list[Any] = []
    for message in reversed(messages[1:]):
        size = size_within(message, room - 1)
        if size is None:
            if not newest:
                newest.append(cut(message, room - 1))
            break
        newest.append(message)
        room -= size + 1
    omitted = len(messages) - 1 - len(newest)
    mark = [_mark(omitted, parts="parts" in messages[0])] if omitted else []
    return [first, *mark, *reversed(newest)]


def _mark(omitted: int, *, parts: bool) -> dict[str, Any]:
    text = f"[truncated: {omitted} message{'' if omitted == 1 else 's'} left out here]"
    if not parts:
        return {"role": "system", "content": text}
    part = {"type": "text", "content": text, "truncated": {"omitted_items": omitted}}
    return {"role": "system", "parts": [part]}
