"""Keeping the input of the operations that take texts: as they are, parts as shallow copies, token ids as their number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from llm_otel_broadcast.clients.keeping import length
from llm_otel_broadcast.clients.reading import note
from llm_otel_broadcast.generation import Generation
from llm_otel_broadcast.guard import Guard

_PASSING: Final = Guard("noting what the client consumes")


def note_inputs(record: Generation, kwargs: dict[str, Any], name: str, *, content: bool) -> None:
    """Note an argument that is a text, a list of token ids, or a list of texts, of parts or of such lists.

    Without `content` the inputs are counted only. A one-time iterator is replaced in `kwargs` by one that notes what passes,
    and is not counted, because it is the client's to consume.
    """
    value = kwargs.get(name)
    if isinstance(value, str):
        items: list[Any] | tuple[Any, ...] = [value]
    elif isinstance(value, list | tuple):
        items = [value] if value and isinstance(value[0], int) else value
    else:
        if content and hasattr(value, "__next__"):
            kept = _Kept(record)
            kwargs[name] = kept.passing(value)
        return
    note(record, inputs=1 if items and isinstance(items[0], dict) else len(items))  # parts are one input together
    if content:
        kept = _Kept(record)
        for item in items:
            kept.add(item)


class _Kept:
    """The parts of the one message that the inputs make, kept one by one."""

    __slots__ = ("_ids", "_parts", "_record")

    def __init__(self, record: Generation) -> None:
        self._record = record
        self._parts: list[object] = []
        self._ids: dict[str, Any] | None = None
        record.messages = [{"role": "user", "content": self._parts}]

    def add(self, item: Any) -> None:
        if isinstance(item, int):
            if self._ids is None:
                self._ids = _tokens(0)
                self._parts.append(self._ids)
            self._ids["count"] += 1
        elif isinstance(item, list | tuple):
            self._parts.append(_tokens(len(item)))
        else:
            self._parts.append(item.copy() if type(item) is dict else item)
            self._record.size += length(item)

    def passing(self, value: Any) -> Iterator[object]:
        add = _PASSING.around(self.add, otherwise=None)
        for item in value:
            add(item)
            yield item


def _tokens(count: int) -> dict[str, Any]:
    return {"type": "tokens", "count": count}
