"""What others have wrapped round a client's function: looking through the layers, without ever calling one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

# a wrapper that names itself as what it wraps would have us look for ever
_MAX_LAYERS: Final = 32


def layers_of(function: Any) -> Iterator[Any]:
    """Yield a function and what it wraps, outermost first, as far as the layers say what they wrap."""
    for _ in range(_MAX_LAYERS):
        if function is None:
            return
        yield function
        function = getattr(function, "__wrapped__", None)


def is_traced_by(tracers: tuple[str, ...], function: Any) -> bool:
    """Return whether a wrapper of one of these instrumentations is among the layers.

    Args:
        tracers: how the names of their modules begin, which are those of their tracers.
        function: what stands where a client's method is.
    """
    # `_self_wrapper` is what wrapt's function wrappers call, which all of them are made with
    wrappers = (getattr(layer, "_self_wrapper", None) for layer in layers_of(function))
    return any(str(getattr(wrapper, "__module__", "")).startswith(tracers) for wrapper in wrappers)
