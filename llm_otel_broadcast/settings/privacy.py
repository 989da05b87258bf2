"""The privacy settings, and how values that count for all destinations join a destination's own: they only ever add."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from llm_otel_broadcast.settings.validators import TEXTS, Kind

PARTS: Final = ("inputs", "outputs", "system", "tools", "tool_arguments", "embeddings", "images", "urls", "reasoning")
"""Parts of the content that `hide` knows."""


def _hide_faults(name: str, value: object) -> list[str]:
    words = ", ".join(PARTS)
    if isinstance(value, str | bytes) or not isinstance(value, Collection):
        return [f"{name} must be a set of parts such as {{'inputs', 'urls'}}, got {value!r}: there are {words}"]
    return [
        f"{name} has {part!r}, which is no part of the content: there are {words}"
        for part in value
        if part not in PARTS
    ]


def plain_parts(value: Collection[str]) -> tuple[str, ...]:
    """Return checked parts in one order, each once."""
    return tuple(part for part in PARTS if part in value)


HIDE: Final = Kind(_hide_faults, TEXTS.read, "`part,part` of " + ", ".join(f"`{part}`" for part in PARTS))
TEXTS_OR_NONE: Final = Kind(
    lambda name, value: [] if value is None else TEXTS.faults(name, value), TEXTS.read, TEXTS.written
)


def callable_fault(name: str, value: object) -> list[str]:
    """Return the fault of an option that must be a function or None."""
    return [] if value is None or callable(value) else [f"{name} must be a function, got {type(value).__name__}"]


def _either(own: object, common: object) -> object:
    return own or common


def _both(own: Sequence[str], common: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*own, *common]))


def _in_both(own: Sequence[str] | None, common: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the keys that both lists allow; a list that is None allows everything."""
    # None allows everything, so the other list alone decides.
    if own is None or common is None:
        return tuple(common) if own is None and common is not None else own  # type: ignore[return-value]
    return tuple(name for name in own if name in common)


# A call site can add privacy to every destination but never take any away.
_TIGHTENING: Final[Mapping[str, Callable[[Any, Any], object]]] = {
    "privacy_mode": _either,
    "hide": _both,
    "hash_user": _either,
    "redact": _either,
    "metadata_allow": _in_both,
    "metadata_deny": _both,
    "durable": _either,
}
FOR_ALL: Final = frozenset(_TIGHTENING)
"""Options that count for every destination, whoever names it."""


def tightened(name: str, own: object, common: object) -> Any:
    """Return the value of an option for one destination: its own, and what counts for all; of two redacting functions its own."""
    return _TIGHTENING[name](own, common)
