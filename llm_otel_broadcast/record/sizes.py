"""How much memory what the caller passed holds, roughly: for the bound in bytes. Imports nothing of ours."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

# Bounds the time on the host's thread: what a larger value holds beyond is not counted.
_MAX_MEASURED_PARTS: Final = 4_096
_PART_SIZE: Final = 16
_FEW: Final = 64
_SCALARS: Final = frozenset({int, float, bool, type(None)})


def text_size(value: object) -> int:
    """Return about how many characters the texts in a value hold, members of a client's models included.

    For the host's thread: at most 4,096 parts are looked at, nothing is called on anybody's object.
    """
    # metadata, mostly: a sixth of the way below
    if type(value) is dict and len(value) <= _FEW:
        size = 0
        for member in value.values():
            if type(member) is not str:
                break
            size += len(member)
        else:
            return size + _PART_SIZE * (len(value) + 1)
    size, parts = 0, 0
    pending: list[Any] = [value]
    while pending and parts < _MAX_MEASURED_PARTS:
        item = pending.pop()
        parts += 1
        kind = type(item)
        if kind is str or kind is bytes:
            size += len(item)
        elif kind is dict:
            pending.extend(islice(item.values(), _MAX_MEASURED_PARTS))
        elif kind is list or kind is tuple:
            pending.extend(item[:_MAX_MEASURED_PARTS])
        # Not by `dir`, `vars` or a model's own methods: each of them may run the program's code.
        elif kind not in _SCALARS and not isinstance(item, type):
            pending += [item.__dict__] if hasattr(item, "__dict__") else []
            extra = getattr(item, "__pydantic_extra__", None) if hasattr(kind, "model_fields") else None
            pending += [extra] if extra else []
    return size + _PART_SIZE * parts
