"""Any value as JSON text of bounded length: always valid JSON, never an error, whatever the caller's objects do.

Bounded while it is made, too: a few small lists with shared parts may stand for millions of elements.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from itertools import islice
from typing import Final

from llm_otel_broadcast.fields.json_cut import CUT, Json, cut, mark_of_all, size_within, text_within
from llm_otel_broadcast.host.guard import or_else

MAX_CHARACTERS: Final = 1_000_000
_MAX_DEPTH: Final = 32
_MAX_REPR_CHARACTERS: Final = 256
_MAX_NODES: Final = 100_000
_MAX_REPR_NODES: Final = 10_000
_MAX_TEXT_CHARACTERS: Final = 20_000_000
_MAX_KEY_CHARACTERS: Final = 1_024
# a tuple as a key may hold anything, and `str` of it is made whole
_MAX_KEY_PARTS: Final = 64
_SIMPLE: Final = frozenset({type(None), bool})
_MAX_BITS: Final = 1_024
"""Python refuses to write integers of more than some thousand digits."""
_FAILED: Final = object()
_TOO_LARGE: Final = '{"truncated":{"reason":"too_large"}}'


class Budget:
    """How much may still be written, of one value or of several together."""

    __slots__ = ("characters", "nodes")

    def __init__(self, nodes: int = _MAX_NODES, characters: int = _MAX_TEXT_CHARACTERS) -> None:
        self.nodes = nodes
        self.characters = characters

    def text(self, text: str) -> str:
        """Return a text, or both its ends where there is no room for all of it."""
        room = max(self.characters, 0)
        self.characters -= len(text)
        if len(text) <= room:
            return text
        return f"{text[: room // 2]}{CUT}{text[len(text) - room // 2 :] if room > 1 else ''}"


def short_repr(value: object) -> str:
    """Return the `repr` of a value that cannot be serialised, cut at 256 characters."""
    # the repr of a list or a dataclass is made whole, in one go that lets no other thread run
    if _parts_of(value, _MAX_REPR_NODES) is None:
        return f"<{type(value).__name__}>"
    return or_else(lambda: repr(value)[:_MAX_REPR_CHARACTERS], f"<{type(value).__name__}>")


def _parts_of(value: object, limit: int) -> int | None:
    """Return how many parts a value has, long texts counting as several; None: more than `limit`."""
    nodes = limit
    pending = [value]
    while pending:
        item = pending.pop()
        nodes -= 1
        # a subclass's own `items` or `__iter__` may fail: such a container counts as empty
        if isinstance(item, str | bytes | bytearray):
            nodes -= len(item) // 1_000
        elif isinstance(item, dict):
            pending.extend(islice(or_else(lambda item=item: list(item.items()), []), max(nodes, 0) + 1))  # type: ignore[misc]
        elif isinstance(item, list | tuple | set | frozenset):
            pending.extend(islice(or_else(lambda item=item: list(item), []), max(nodes, 0) + 1))  # type: ignore[misc]
        elif not isinstance(item, type):
            # what an object holds: its members, those a model does not know, and what stands in slots
            names: list[str] = []
            for kind in type(item).__mro__:
                slots = kind.__dict__.get("__slots__", ())
                names.extend((slots,) if isinstance(slots, str) else slots if isinstance(slots, tuple | list) else ())
            # `object.__getattribute__`: a class of the program's own may do anything when asked
            get = partial(object.__getattribute__, item)
            parts = (or_else(partial(get, name), None) for name in ("__dict__", *names))
            pending.extend(part for part in parts if part is not None)
        if nodes < len(pending):
            return None
    return limit - nodes


def plain(value: object, budget: Budget | None = None) -> Json:
    """Return the value as JSON's own types. Cycles and what is nested over 32 deep become a marker, models are dumped.

    Args:
        value: anything.
        budget: how much may be written; 100,000 parts and 20 million characters unless given. What is more is left out, and a
            marker says so.
    """
    if type(value) in _SIMPLE:
        return value
    budget = Budget() if budget is None else budget
    json_value = or_else(lambda: _plain(value, (), 0, budget), _FAILED)
    return short_repr(value) if json_value is _FAILED else json_value


def _plain(value: object, above: tuple[int, ...], depth: int, budget: Budget) -> Json:
    budget.nodes -= 1
    if type(value) in _SIMPLE:
        return value
    if isinstance(value, str | int | float):
        return _scalar(value, budget)
    if id(value) in above or depth >= _MAX_DEPTH:
        return "<cycle>" if id(value) in above else "<nested too deep>"
    # by identity: `==` of the program's objects may do anything, and equal values are no cycle
    enclosing_ids = (*above, id(value))
    members = _members(value, budget)
    if members is not None:
        json_object: dict[str, Json] = {}
        for count, (key, item) in enumerate(members):
            if budget.nodes <= 0:
                json_object["truncated"] = {"omitted_keys": len(value) - count} if isinstance(value, Mapping) else {}
                break
            json_object[_key(key, budget)] = _plain(item, enclosing_ids, len(enclosing_ids), budget)
        return json_object
    if isinstance(value, list | tuple | set | frozenset):
        return _plain_list(value, enclosing_ids, budget)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    # a repr costs what its parts cost: a list of a thousand large objects must not escape the budget
    text = short_repr(value)
    budget.nodes -= _parts_of(value, _MAX_REPR_NODES) or 0
    return text


def _plain_list(value: Collection[object], enclosing_ids: tuple[int, ...], budget: Budget) -> list[Json]:
    json_list: list[Json] = []
    # a copy first: another thread may change the list meanwhile
    for item in list(islice(value, max(budget.nodes, 0) + 1)):
        if budget.nodes <= 0:
            break
        json_list.append(_plain(item, enclosing_ids, len(enclosing_ids), budget))
    omitted = len(value) - len(json_list)
    return [*json_list, {"truncated": {"omitted_items": omitted}}] if omitted > 0 else json_list


def _scalar(value: str | float, budget: Budget) -> str | int | float:
    """Make subclasses (enums, numpy's floats) plain, and text of numbers that JSON cannot carry."""
    if isinstance(value, str):
        return budget.text(str.__str__(value))
    if isinstance(value, int):
        return int(value) if value.bit_length() <= _MAX_BITS else "<huge number>"
    return float(value) if math.isfinite(value) else str(float(value))


def _members(value: object, budget: Budget) -> Iterable[tuple[object, object]] | None:
    """Return the members of a mapping or of a client library's model, None when the value is neither."""
    if isinstance(value, Mapping):
        return list(islice(value.items(), max(budget.nodes, 0) + 1))
    dump = getattr(type(value), "model_dump", None)
    # dumping cannot be stopped: what is too large for it becomes a marker
    if dump is None or _parts_of(value, max(budget.nodes, 0)) is None:
        return None
    dumped = or_else(lambda: dump(value, exclude_none=True, warnings=False), None)
    return list(dumped.items()) if isinstance(dumped, dict) else None


def _key(key: object, budget: Budget) -> str:
    if isinstance(key, str):
        key = str.__str__(key)
        return key if len(key) <= _MAX_KEY_CHARACTERS else key[:_MAX_KEY_CHARACTERS] + CUT
    parts = _parts_of(key, _MAX_KEY_PARTS)
    if parts is None:
        return f"<{type(key).__name__}>"
    budget.nodes -= parts
    return or_else(lambda: str(key), f"<{type(key).__name__}>")[:_MAX_KEY_CHARACTERS]


def bounded_json(value: object, limit: int = MAX_CHARACTERS) -> tuple[str, bool]:
    """Return the value as JSON text of at most `limit` characters (120 or more), and whether it had to be cut for that.

    Messages lose those between the first and the newest, and a message says how many; other lists end in
    `{"truncated":{"omitted_items":N}}`, objects that lose keys in `"truncated":{"omitted_keys":N}`; a text has `[truncated]` in its
    middle: the markers of OpenRouter's Broadcast without its name.
    """
    # a part takes two characters at least
    budget = Budget(nodes=min(_MAX_NODES, 2 * limit))
    json_value = plain(value, budget)
    return plain_json(json_value, limit, is_cut=budget.nodes <= 0 or budget.characters < 0)


def cut_plain(values: list[Json], limit: int = MAX_CHARACTERS) -> tuple[list[Json], bool]:
    """Return a list of JSON's own types, cut so that its JSON text has at most `limit` characters, and whether it was cut."""
    shortened = cut(values, limit)
    if shortened is not values and size_within(shortened, limit) is None:
        return mark_of_all(values), True
    return shortened, shortened is not values


def plain_json(json_value: Json, limit: int = MAX_CHARACTERS, *, is_cut: bool = False) -> tuple[str, bool]:
    """Do the same with a value that has JSON's own types only.

    Args:
        json_value: the value.
        limit: characters.
        is_cut: it has been cut already.
    """
    text = text_within(json_value, limit)
    if text is not None:
        return text, is_cut
    text = text_within(cut(json_value, limit), limit)
    return (_TOO_LARGE if text is None else text), True
