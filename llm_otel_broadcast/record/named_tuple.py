"""`typing.NamedTuple` without what it does to annotations: it compiles the text of each one.

That is 130 compilations in what `instrument()` imports, 4 % of the whole. Type checkers see the original.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414  # an export
else:
    from collections import namedtuple

    _MADE_ANEW = frozenset({"__annotations__", "__classcell__", "__dict__", "__module__", "__qualname__"})

    class _NamedTupleType(type):
        def __new__(cls, name: str, _bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
            annotations = namespace.get("__annotations__", {})
            defaults = [namespace[field] for field in annotations if field in namespace]
            named_tuple = namedtuple(  # noqa: PYI024  # this is what makes one
                name, annotations, defaults=defaults, module=namespace["__module__"]
            )
            named_tuple.__annotations__ = annotations
            for member, value in namespace.items():
                if member not in annotations and member not in _MADE_ANEW:
                    setattr(named_tuple, member, value)
            return named_tuple

    NamedTuple = type.__new__(_NamedTupleType, "NamedTuple", (), {})
