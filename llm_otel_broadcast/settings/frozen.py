"""Immutable classes of settings: dataclasses to `dataclasses.fields`, `replace` and type checkers, without compiled methods.

A dataclass compiles its methods while it is imported; for 52 fields that took 7 % of all that `import` and `instrument()` take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from inspect import Signature

T = TypeVar("T")


def default_of(setting: Field[Any]) -> Any:
    """Return the value of a field that is not given."""
    return setting.default if setting.default_factory is MISSING else setting.default_factory()


class _SignatureOnDemand:
    """The signature of a class for `help()` and editors, made when they ask."""

    def __get__(self, _: Frozen | None, owner: type[Frozen]) -> Signature:
        from inspect import Parameter, Signature

        fields = owner.__dataclass_fields__.values()
        return Signature(
            [
                Parameter(
                    setting.name,
                    Parameter.KEYWORD_ONLY,
                    default=default_of(setting),
                    annotation=setting.type,
                )
                for setting in fields
            ]
        )


class Frozen:
    """What the dataclasses made by `settings` inherit. Every field has a default and is given by keyword."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    __signature__ = _SignatureOnDemand()

    def __init__(self, **values: object) -> None:
        fields = self.__dataclass_fields__
        for name in values:
            if name not in fields:
                raise TypeError(f"{type(self).__name__}.__init__() got an unexpected keyword argument '{name}'")
        for name, setting in fields.items():
            object.__setattr__(self, name, values[name] if name in values else default_of(setting))
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check the fields, and bring them into their full form."""

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__dataclass_fields__)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    # Some of the fields are mappings.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        members = ", ".join(
            f"{setting.name}={getattr(self, setting.name)!r}"
            for setting in self.__dataclass_fields__.values()
            if setting.repr
        )
        return f"{type(self).__name__}({members})"

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __reduce__(self) -> tuple[Callable[[type[Frozen], Mapping[str, object]], Frozen], tuple[object, ...]]:
        return _restored, (type(self), dict(zip(self.__dataclass_fields__, self._values(), strict=True)))


def _restored(kind: type[Frozen], values: Mapping[str, object]) -> Frozen:
    """Return a copy: what has been checked is not checked once more."""
    copy = kind.__new__(kind)
    for name, value in values.items():
        object.__setattr__(copy, name, value)
    return copy


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def settings(settings_type: type[T]) -> type[T]:
    """Make a class that derives from `Frozen` an immutable dataclass with slots."""
    return dataclass(init=False, repr=False, eq=False, slots=True, kw_only=True)(settings_type)
