"""Values that are compared and shown by what they hold, without methods that a dataclass compiles at every import."""

from __future__ import annotations

from typing import ClassVar


class Value:
    """A base of classes with `__slots__`. Equal are two of a class whose attributes are."""

    __slots__: ClassVar[tuple[str, ...]] = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    # It can be changed.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"
