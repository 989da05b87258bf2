"""A list as it is now, however deep the program goes on changing it. Imports nothing of ours."""

from __future__ import annotations

import marshal
from collections.abc import Iterator, Sequence
from typing import Any, cast


class PackedList(Sequence[object]):
    """A copy of a list whose elements are lists, dicts and plain values to the last level.

    It is packed on the host's thread and unpacked where it is read, anew each time. Packing the definitions of 64 tools takes
    250,000 instructions, a deep copy five million; and no code of the program's runs, as what is no plain value is refused.

    Args:
        values: the list.

    Attributes:
        size: bytes held.

    Raises:
        ValueError: it holds something else, or is nested too deeply.
    """

    __slots__ = ("_length", "_packed")

    def __init__(self, values: Sequence[object]) -> None:
        self._length = len(values)
        self._packed = marshal.dumps(cast("Any", values))

    @property
    def size(self) -> int:
        return len(self._packed)

    def __iter__(self) -> Iterator[object]:
        return iter(self._unpacked())

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        return self._unpacked()[index]

    def _unpacked(self) -> Sequence[object]:
        # Never anything but what has been packed here.
        values: Sequence[object] = marshal.loads(self._packed)  # noqa: S302
        return values
