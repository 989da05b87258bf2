"""Cutting plain JSON values to a length the way OpenRouter's Broadcast does, under our own marker's name.

Texts keep both ends, objects every key with an equal share, messages the first and the newest; other lists their first elements.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from llm_otel_broadcast.fields.json_encoder import encoder

# `Any`, as in typeshed: with a recursive type every dict and list of values would have to be declared as one of that type
Json: TypeAlias = Any
"""A value of JSON's own types: dict with text keys, list, str, int, float, bool or None."""

CUT: Final = "[truncated]"
_MIN_SHARE_CHARACTERS: Final = 64
"""With less, an element or a member is left out whole."""
_SHARED_LIST_CHARACTERS: Final = 256
"""A list whose elements can have this many each is cut in all of them, like an object."""
_MAX_MARK_CHARACTERS: Final = 256
_MAX_ESCAPE_CHARACTERS: Final = 6
_MANY_ITEMS: Final = 1_234_567_890
"""As many as no list has: the longest mark is reckoned with."""
_CONTENT_KEYS: Final = frozenset({"parts", "content"})
_FACT_KEYS: Final = frozenset({"role", "type", "name", "finish_reason"})
"""Members that say what a message, a part or a tool is: readers such as Phoenix drop a whole list for one that lacks them."""
_MAX_FACT_CHARACTERS: Final = 64
_CALL_KEYS: Final = frozenset({"content", "arguments", "response", "id"})
"""Members of parts that have a name like a tool's definition."""


def text_within(value: Json, room: int) -> str | None:
    """Return a plain value as JSON text, None when that has more than `room` characters."""
    # what is much too large is never encoded, which would take seconds and the memory twice: a lower bound tells
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
    text = encoder.encode(value)
    return text if len(text) <= room else None


def size_within(value: Json, room: int) -> int | None:
    """Return how many characters of JSON a plain value takes, None when they are more than `room`."""
    text = text_within(value, room)
    return None if text is None else len(text)


def cut(value: Json, room: int) -> Json:
    """Return as much of a plain value as takes `room` characters of JSON, at most; the same value if all of it does.

    Args:
        value: the value.
        room: characters; there must be enough for a marker.
    """
    if size_within(value, room) is not None:
        return value
    if isinstance(value, str):
        return _cut_text(value, room)
    if isinstance(value, dict):
        return _cut_object(value, room)
    if isinstance(value, list):
        are_messages = all(isinstance(item, dict) and "role" in item and item.keys() & _CONTENT_KEYS for item in value)
        return _cut_messages(value, room) if are_messages else _cut_list(value, room)
    return None


def _cut_text(text: str, room: int) -> str:
    room -= len(CUT) + 2
    length = max(0, room)
    while length > 0:
        shortened = f"{text[: length - length // 2]}{CUT}{text[len(text) - length // 2 :] if length > 1 else ''}"
        excess = len(encoder.encode(shortened)) - 2 - len(CUT) - room
        if excess <= 0:
            return shortened
        # quotes and control characters are escaped: how much must go is known only when it is encoded
        length -= max(1, excess // _MAX_ESCAPE_CHARACTERS)
    return CUT if room >= 0 else ""


def _cut_to_shares(values: list[Json], room: int) -> list[Json]:
    """Cut each value to its share; what small ones leave over goes to the large ones."""
    sizes = [size_within(value, room) for value in values]
    shortened = list(values)
    # the smallest first, so that what they leave over is known when the large ones are cut
    smallest_first = sorted(range(len(values)), key=lambda index: room + 1 if (size := sizes[index]) is None else size)
    for count, index in enumerate(smallest_first):
        share = room // (len(values) - count)
        size = sizes[index]
        if size is None or size > share:
            shortened[index] = cut(values[index], share)
            size = len(encoder.encode(shortened[index]))
        room -= size
    return shortened


def _cut_object(members: dict[str, Json], room: int) -> dict[str, Json]:
    facts = {
        key: value
        for key, value in members.items()
        if key in _FACT_KEYS and isinstance(value, str) and len(value) <= _MAX_FACT_CHARACTERS
    }
    if facts:
        room -= len(encoder.encode(facts)) - 1
        remainder = {key: value for key, value in members.items() if key not in facts}
        shortened = _cut_members(remainder, room)
        # A message without parts is none.
        if "role" in facts and isinstance(members.get("parts"), list):
            shortened.setdefault("parts", [])
        order = dict.fromkeys((*members, *shortened))
        return {key: facts.get(key, shortened.get(key)) for key in order if key in facts or key in shortened}
    return _cut_members(members, room)


def _cut_members(members: dict[str, Json], room: int) -> dict[str, Json]:
    room -= 2
    keys: list[str] = []
    key_characters = 0
    for key in members:
        characters = len(encoder.encode(key)) + 2
        # the share of one more is for the marker
        if room - key_characters - characters < _MIN_SHARE_CHARACTERS * (len(keys) + 2):
            break
        keys.append(key)
        key_characters += characters
    omitted = _omitted(list(members.items())[len(keys) :], "omitted_keys")
    marker = {"truncated": {"omitted_keys": omitted}} if omitted else {}
    room -= key_characters + (_MIN_SHARE_CHARACTERS if omitted else 0)
    shares = _cut_to_shares([members[key] for key in keys], room)
    return {**dict(zip(keys, shares, strict=True)), **marker}


def _cut_list(items: list[Json], room: int) -> list[Json]:
    if room // (len(items) + 1) >= _SHARED_LIST_CHARACTERS:
        return _cut_to_shares(items, room - 2 - len(items))
    # Of a single text, which most messages have, nothing is left out: no room for a mark.
    if len(items) == 1 and room > _MIN_SHARE_CHARACTERS and isinstance(items[0], str | list | dict):
        return [cut(items[0], room - 2)]
    first: list[Json] = []
    room -= len(encoder.encode(_mark(items, _MANY_ITEMS))) + len(",[]")
    for item in items:
        size = size_within(item, room - 1)
        if size is None:
            if room > _MIN_SHARE_CHARACTERS and isinstance(item, str | list | dict):
                first.append(cut(item, room - 1))
            break
        first.append(item)
        room -= size + 1
    omitted = _omitted(items[len(first) :], "omitted_items")
    return [*first, _mark(items, omitted)] if omitted else first


def _mark(items: list[Json], omitted: int) -> Json:
    """Return what stands at the end of a list for what is left out: an item of its kind, where readers want such."""
    mark: Json = {"truncated": {"omitted_items": omitted}}
    if not all(isinstance(item, dict) and isinstance(item.get("type"), str) for item in items):
        return mark
    text = f"[truncated: {omitted} left out here]"
    if all("name" in item and not item.keys() & _CALL_KEYS for item in items):
        return {"type": "function", "name": text, **mark}
    return {"type": "text", "content": text, **mark}


def mark_of_all(values: list[Json]) -> list[Json]:
    """Return what stands for a list of which nothing fits; a message, a part or a tool like the first of them."""
    mark: Json = {"truncated": {"reason": "too_large"}}
    first = values[0] if values else None
    if not isinstance(first, dict):
        return [mark]
    facts = {key: first[key] for key in ("role", "finish_reason") if isinstance(first.get(key), str)}
    if "parts" in first and facts:
        return [{**facts, "parts": [{"type": "text", "content": CUT, **mark}]}]
    return [{**_mark(values, len(values)), **mark}]


def _omitted(rest: list[Json], member: str) -> int:
    """Return how many elements are left out, those included that an earlier cut left out, as its marker at the end says."""
    last = rest[-1] if rest else None
    if isinstance(last, tuple):
        last = {last[0]: last[1]}
    marker = last.get("truncated") if isinstance(last, dict) else None
    earlier = marker.get(member) if isinstance(marker, dict) else None
    return len(rest) - 1 + earlier if isinstance(earlier, int) else len(rest)


def _cut_messages(messages: list[Json], room: int) -> list[Json]:
    """Keep the first message and the newest; between them one says how many are left out.

    The first says what the model is to do, the newest what it was asked: the spec's own choice.
    """
    room -= 2
    if len(messages) == 1:
        return [cut(messages[0], room)]
    room -= min(_MAX_MARK_CHARACTERS, room // 4)
    # the newest may have half, and the first all that it leaves over
    last_size = size_within(messages[-1], room // 2)
    first = cut(messages[0], room - 1 - (room // 2 if last_size is None else last_size + 1))
    room -= len(encoder.encode(first)) + 1
    newest: list[Json] = []
    for message in reversed(messages[1:]):
        size = size_within(message, room - 1)
        if size is None:
            if not newest:
                newest.append(cut(message, room - 1))
            break
        newest.append(message)
        room -= size + 1
    omitted = len(messages) - 1 - len(newest)
    if not omitted:
        return [first, *reversed(newest)]
    text = f"[truncated: {omitted} message{'' if omitted == 1 else 's'} left out here]"
    marker: Json = {"role": "system", "content": text}
    if "parts" in messages[0]:
        part = {"type": "text", "content": text, "truncated": {"omitted_items": omitted}}
        marker = {"role": "system", "parts": [part]}
    if "finish_reason" in messages[0]:
        marker["finish_reason"] = "unknown"
    return [first, marker, *reversed(newest)]
