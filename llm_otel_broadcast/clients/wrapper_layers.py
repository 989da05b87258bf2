"""What others have wrapped round a client's function: looking through the layers, without ever calling one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_MAX_LAYERS: Final = 32
_TRACERS: Final = ("opentelemetry.instrumentation.", "openinference.instrumentation.")
"""Packages whose wrappers make a span in the app's own tracer."""


def layers_of(function: Any) -> Iterator[Any]:
    """Yield a function and what it wraps, outermost first, as far as the layers say what they wrap."""
    for _ in range(_MAX_LAYERS):
        if function is None:
            return
        yield function
        function = getattr(function, "__wrapped__", None)


def is_traced_by_another(function: Any) -> bool:
    """Return whether another instrumentation's wrapper is among the layers."""
    wrappers = (getattr(layer, "_self_wrapper", None) for layer in layers_of(function))
    return any(str(getattr(wrapper, "__module__", "")).startswith(_TRACERS) for wrapper in wrappers)
