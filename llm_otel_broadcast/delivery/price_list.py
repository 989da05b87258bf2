"""Loads genai-prices on one of our own threads without its HTTP client, which the host's client may be looking for.

Its `__init__` imports `update_prices`, which fetches newer prices when asked to, and that imports `httpx2` (before 0.1:
`httpx`). We never ask. openai 2.47 to 2.54 look at `sys.modules["httpx2"]` in each call, and fail as long as another thread
is in the middle of importing it: every call of the host would raise for as long as our import takes.
"""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

from llm_otel_broadcast.host.guard import errors, or_else
from llm_otel_broadcast.host.import_lock import importing
from llm_otel_broadcast.host.logs import log

_PACKAGE: Final = "genai_prices"
_UPDATES: Final = f"{_PACKAGE}.update_prices"
_ERROR_KEY: Final = "importing genai-prices"
"""What `status()` calls it where there is no price list."""
_prices: ModuleType | None = None
_failed = False


def price_list() -> ModuleType | None:
    """Return the module `genai_prices`; None where it cannot be imported, which is logged and counted once."""
    global _failed, _prices  # noqa: PLW0603  # one list for the process, and what cannot be imported is not tried again
    if _prices is not None or _failed:
        return _prices

    def note(error: BaseException) -> None:
        errors[_ERROR_KEY] += 1
        log(
            logging.WARNING,
            "costs are not estimated: genai-prices cannot be imported (%s). Install it whole, with its metadata "
            "(PyInstaller: --copy-metadata genai-prices), or say estimate_cost=False. Said once.",
            type(error).__name__,
        )

    with importing:
        # A pruned image or a frozen program may lack its metadata or its data; a broken one may raise anything.
        _prices = or_else(_import, recover=note)
        _failed = _prices is None
        return _prices


def _import() -> ModuleType:
    finder = _WithoutUpdates(threading.get_ident())
    sys.meta_path.insert(0, finder)
    try:
        module = importlib.import_module(_PACKAGE)
    finally:
        sys.meta_path.remove(finder)
    # The prices themselves, and more, are modules that the first calculation imports: now, while forks wait for it.
    # What a calculation may raise says nothing of the list.
    with suppress(ArithmeticError, LookupError, TypeError, ValueError):
        module.calc_price(module.Usage(input_tokens=1, output_tokens=1), model_ref="gpt-4o", provider_id="openai")
    return module


class _WithoutUpdates(MetaPathFinder):
    """Has one thread's import of genai-prices pass over `update_prices`; other threads' imports are not touched."""

    def __init__(self, thread: int) -> None:
        self._thread = thread

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if threading.get_ident() != self._thread or fullname not in (_PACKAGE, _UPDATES):
            return None
        if fullname == _UPDATES:
            return ModuleSpec(fullname, _Promises())
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Package(spec.loader)
                return spec
        return None


class _Promise:
    """Stands for a name of `update_prices` until somebody wants it."""


class _Promises(Loader):
    """Makes a module that has a promise for whatever is imported from it."""

    def create_module(self, spec: ModuleSpec) -> None:
        del spec

    def exec_module(self, module: ModuleType) -> None:
        def promise(name: str) -> _Promise:
            if name.startswith("__"):
                raise AttributeError(name)
            return _Promise()

        vars(module)["__getattr__"] = promise


class _Package(Loader):
    """Loads the package, and has it import `update_prices` when one of its names is asked for, before anybody sees it."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # The package is to look as if it had been loaded by its own loader (`importlib.resources` asks for it).
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        sys.modules.pop(_UPDATES, None)
        members = vars(module)
        members.pop("update_prices", None)
        promised = {name for name, value in members.items() if isinstance(value, _Promise)}
        for name in promised:
            del members[name]
        otherwise: Callable[[str], object] | None = members.get("__getattr__")

        def member(name: str) -> object:
            if name in promised:
                value: object = getattr(importlib.import_module(_UPDATES), name)
                setattr(module, name, value)
                return value
            if otherwise is not None:
                return otherwise(name)
            raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r}")

        members["__getattr__"] = member
