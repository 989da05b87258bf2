"""From record to span: pure functions, one dialect a file. `DIALECTS` has them by name.

A dialect is imported when the first lane needs it, never on the host's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from llm_otel_broadcast.dialects.dialect import Dialect
from llm_otel_broadcast.record.dialect_names import DIALECT_NAMES, PINNED_DIALECTS


def _load_semconv() -> Dialect:
    from llm_otel_broadcast.dialects.semconv import SEMCONV

    return SEMCONV


def _load_openrouter() -> Dialect:
    from llm_otel_broadcast.dialects.openrouter import OPENROUTER

    return OPENROUTER


def _load_pinned(name: str) -> Dialect:
    from llm_otel_broadcast.dialects.semconv_versions import PinnedSemconvDialect

    return PinnedSemconvDialect(name)


def _load_openinference() -> Dialect:
    from llm_otel_broadcast.dialects.openinference import OPENINFERENCE

    return OPENINFERENCE


# Functions, not dialects: a lane's thread imports them, so that they cost the host's start nothing.
DIALECTS: Final[dict[str, Callable[[], Dialect]]] = {
    "semconv": _load_semconv,
    **{name: partial(_load_pinned, name) for name in PINNED_DIALECTS},
    "openinference": _load_openinference,
    "openrouter": _load_openrouter,
}
"""What returns each dialect; `record.dialect_names` has the same names for the settings."""


def register(name: str, description: str, load: Callable[[], Dialect]) -> None:
    """Add a dialect that `Destination(dialect=name)` then chooses.

    Args:
        name: what settings call it.
        description: what it follows, for help texts.
        load: imports and returns it; called on a lane's thread, once for each destination.
    """
    DIALECTS[name] = load
    DIALECT_NAMES[name] = description
