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

    Without `content` the inputs are counted only. A one-time iterator is replaced in `kwargs` by one that notes what passes,
    and is not counted, because it is the client's to consume.
    """
    value = kwargs.get(name)
    parts: list[object] = []
    if isinstance(value, list | tuple) and not (value and isinstance(value[0], int)):
        items = value
    elif isinstance(value, str | list | tuple):
        items = (value,)
    elif content and hasattr(value, "__next__"):
        kwargs[name] = _noting(value, parts)
        record.messages = [{"role": "user", "content": parts}]
        return
    else:
        return
    note(record, inputs=1 if items and isinstance(items[0], dict) else len(items))  # parts are one input together
    if content:
        parts += [item if type(item) is str else _kept(item) for item in items]
        record.messages = [{"role": "user", "content": parts}]
        record.size += sum(map(length, parts))


def _kept(item: Any) -> object:
    if isinstance(item, list | tuple):
        return {"type": "tokens", "count": len(item)}
    return item.copy() if type(item) is dict else item


def _noting(value: Any, parts: list[object]) -> Iterator[object]:
    ids = {"type": "tokens", "count": 0}

    def add(item: Any) -> None:
        if not isinstance(item, int):
            parts.append(_kept(item))
            return
        if not ids["count"]:
            parts.append(ids)
        ids["count"] += 1  # type: ignore[operator]

    look = _NOTING.around(add, default=None)
    for item in value:
        look(item)
        yield item
