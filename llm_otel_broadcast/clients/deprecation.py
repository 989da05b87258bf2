"""Deprecated methods of a client: their warning names the caller's line, as it does without us, and not ours."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

Wrapper = Callable[..., Any]


def keep_warning(original: Any, wrapper: Wrapper) -> Wrapper:
    """Return the wrapper for a method; of one under `@deprecated` it gives the warning itself and calls what is below.

    `@deprecated` warns about whoever calls it (its frame's caller), which would be our wrapper, and Python shows such a
    warning only for the program's own lines.
    """
    if not getattr(getattr(original, "__code__", None), "co_qualname", "").startswith("deprecated."):
        return wrapper
    told = inspect.getclosurevars(original).nonlocals
    message, category, level, inner = (told.get(name) for name in ("msg", "category", "stacklevel", "arg"))
    if not isinstance(message, str) or not isinstance(level, int) or not inspect.isfunction(inner):
        return wrapper  # a `@deprecated` of another make

    def warned(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        warnings.warn(message, category, stacklevel=level + 1)
        return wrapper(inner.__get__(wrapped.__self__), instance, args, kwargs)

    return warned
