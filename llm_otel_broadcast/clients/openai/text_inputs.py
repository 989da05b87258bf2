"""Keeping the input of the operations that take texts: as they are, parts as shallow copies, token ids as their number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from llm_otel_broadcast.clients.arguments import length
from llm_otel_broadcast.clients.reader import note
from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.record.generation import Generation

_NOTING: Final = Guard("noting what the client consumes")


def note_inputs(record: Generation, kwargs: dict[str, Any], name: str, *, content: bool) -> None:
    """Note an argument that is a text, a list of token ids, or a list of texts, of parts or of such lists.

    Args:
        record: gets the number of inputs, and the inputs as one message of the user.
        kwargs: the call's arguments. A one-time iterator is replaced by one that notes what passes, and is not counted,
            because it is the client's to consume.
        name: of the argument, `input` or `prompt`.
        content: without it the inputs are counted only.
    """
    value = kwargs.get(name)
    parts: list[object] = []
    # A list that begins with a number is one input as token ids; any other list holds an input in each item.
    # Not `list | tuple`: making that union takes longer than all the rest of a text.
    if isinstance(value, (list, tuple)) and not (value and isinstance(value[0], int)):
        items = value
    elif isinstance(value, (str, list, tuple)):
        items = (value,)
    elif content and hasattr(value, "__next__"):
        kwargs[name] = _tee(value, parts)
        record.messages = [{"role": "user", "content": parts}]
        return
    else:
        return
    # Parts (multimodal moderation) are one input together.
    note(record, inputs=1 if items and isinstance(items[0], dict) else len(items))
    if content:
        parts += [item if type(item) is str else _part_of(item) for item in items]
        record.messages = [{"role": "user", "content": parts}]
        record.size += len(value) if type(value) is str else sum(map(length, parts))


def _part_of(item: object) -> object:
    # Token ids say nothing to a reader and can be many: only their number goes on the span.
    if isinstance(item, list | tuple):
        return {"type": "tokens", "count": len(item)}
    return item.copy() if type(item) is dict else item


def _tee(inputs: Any, parts: list[object]) -> Iterator[object]:
    """Yield the caller's inputs to the client, and fill `parts` while it consumes them."""
    tokens = {"type": "tokens", "count": 0}

    def add(item: Any) -> None:
        if not isinstance(item, int):
            parts.append(_part_of(item))
            return
        if not tokens["count"]:
            parts.append(tokens)
        tokens["count"] += 1  # type: ignore[operator]

    note_item = _NOTING.around(add, default=None)
    for item in inputs:
        note_item(item)
        yield item
