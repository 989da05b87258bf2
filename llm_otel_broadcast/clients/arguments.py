"""Keeping what the caller passed, as deep as it may change it afterwards; what can be iterated once is never consumed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from llm_otel_broadcast.record.packed_list import PackedList
from llm_otel_broadcast.record.sizes import text_size

_PLAIN_MEMBERS: Final = 2
"""Role and content: most messages have no other members."""


def keep(value: object) -> tuple[list[object] | None, int]:
    """Copy a list of dicts: the list, each dict, each list of parts.

    Returns the copy and the length of its texts; None for what is no list, because it may be iterated only once.
    """
    # Two levels, because programs go on using their list of messages and edit its dicts between calls; leaf texts are
    # immutable. 10 us for 200 messages, where a deep copy takes milliseconds.
    # Not `list | tuple`: that makes a union at each call.
    if not isinstance(value, (list, tuple)):
        return None, 0
    copies: list[object] = []
    size = 0
    for item in value:
        if type(item) is not dict:
            # The client's own objects are kept as they are: copying a pydantic model costs more than all dicts together.
            copies.append(item)
            size += len(item) if type(item) is str else text_size(item)
            continue
        copy = item.copy()
        text = copy.get("content")
        if type(text) is str:
            size += len(text)
        elif type(text) is list:
            copy["content"] = [part.copy() if type(part) is dict else part for part in text]
            size += sum(length(part) for part in text)
        if len(copy) > _PLAIN_MEMBERS or "content" not in copy:
            # Tool calls, tool results, definitions: everything but what has been measured above.
            size += text_size([value for name, value in copy.items() if name != "content" or type(text) is dict])
        copies.append(copy)
    return copies, size


def length(part: object) -> int:
    """Return the length of the texts in a part of a message, at most two levels down; never makes text of anything."""
    if type(part) is str:
        return len(part)
    if type(part) is not dict:
        return 0
    # The second level holds what is large: the data URL in `image_url`, the base64 in `input_audio`.
    inner = [value for value in part.values() if type(value) is dict]
    return sum(len(value) for members in (part, *inner) for value in members.values() if type(value) is str)


def keep_argument(kwargs: dict[str, Any], name: str) -> tuple[list[object] | None, int]:
    """Keep an argument that is a list, a text, or an iterator that the client is to consume, not we.

    An iterator is replaced in `kwargs` by one that notes what passes.
    """
    value: Any = kwargs.get(name)
    if type(value) is str:
        return [value], len(value)
    copies, size = keep(value)
    if copies is None and hasattr(value, "__next__"):
        passed: list[object] = []

        def note(item: object) -> object:
            passed.append(item.copy() if type(item) is dict else item)
            return item

        # `map` has no frame: an error that the caller's iterator raises leaves with the traceback that it has without us.
        kwargs[name], copies = map(note, value), passed
    return copies, size


def keep_whole(kwargs: dict[str, Any], name: str) -> tuple[Sequence[object] | None, int]:
    """Keep an argument that is a list as `keep_argument` does, but to the last level where it holds plain values only.

    Not for messages: their long texts would be copied as well.
    """
    values = kwargs.get(name)
    if type(values) is list or type(values) is tuple:
        with suppress(ValueError):
            packed = PackedList(values)
            return packed, packed.size
    return keep_argument(kwargs, name)
