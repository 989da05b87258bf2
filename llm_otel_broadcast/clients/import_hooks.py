"""Calls a function once a module has been imported.

wrapt has such hooks as well, but importing wrapt takes 9 % of all that `import` and `instrument()` take. The module looks as if
its own loader had loaded it, and a finder of somebody else's, wrapt's included, may stand before ours or behind it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from importlib.abc import Loader

    Hook = Callable[[], object]

_hooks: Final[dict[str, list[Hook]]] = {}


def when_imported(module: str, hook: Hook) -> None:
    """Call a function, which must not raise, as soon as a module has been imported; at once if it is there."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _hooks.setdefault(module, []).append(hook)
    # Another thread may have imported it meanwhile, without our finder or before there was a hook.
    if module in sys.modules:
        _run_hooks(module)


def _run_hooks(module: str) -> None:
    for hook in _hooks.pop(module, ()):
        hook()


class _Finder:
    """Asks the other finders for a module that somebody waits for, and has its loader tell when it is there."""

    def __init__(self) -> None:
        # Other tools' finders ask all finders in turn, ours included.
        self._searches: set[tuple[int, str]] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        search = threading.get_ident(), name
        if name not in _hooks or search in self._searches:
            return None
        self._searches.add(search)
        try:
            for finder in sys.meta_path:
                # Python 3.11 asks those that have no `find_spec` in the way of old.
                find_spec = None if finder is self else getattr(finder, "find_spec", None)
                spec: ModuleSpec | None = find_spec(name, path, target) if find_spec is not None else None
                if spec is not None:
                    # What only knows the `load_module` of old, or is a package without a file, is left as it is.
                    if hasattr(spec.loader, "exec_module"):
                        spec.loader = _WatchedLoader(spec.loader)  # type: ignore[assignment]
                    return spec
        finally:
            self._searches.discard(search)
        return None


class _WatchedLoader:
    """Loads a module as its own loader does, and runs the hooks. For anything else it is its own loader."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        # While it is loaded already: `importlib.resources` and others ask for it.
        loader: Loader = self._loader
        module.__loader__ = loader
        if module.__spec__ is not None:
            module.__spec__.loader = loader
        loader.exec_module(module)
        _run_hooks(module.__name__)


_finder: Final = _Finder()
