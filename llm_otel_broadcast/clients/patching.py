"""Patching methods of client libraries and putting the very same functions back, driven by tables of targets.

Nothing is imported for a library before the program imports it itself: then its table is asked for, and each module that the
table names is patched when it is there, at once or later.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from llm_otel_broadcast.clients.call import Patchpoint, Switch
from llm_otel_broadcast.clients.import_hooks import when_imported
from llm_otel_broadcast.clients.library import ClientLibrary
from llm_otel_broadcast.clients.reader import Reader
from llm_otel_broadcast.clients.wrapper_layers import is_traced_by, layers_of
from llm_otel_broadcast.clients.wrappers import watch
from llm_otel_broadcast.host.guard import Guard

_PATCHING = Guard("patching a client library")


class Target(NamedTuple):
    """One method of a client library: where it stands, and who reads its calls.

    Attributes:
        module: where the class is. What no installed version has is passed over.
        owner: the class.
        method: its name in the class.
        make_reader: returns what reads its calls; called when the method is patched.
        is_async: whether what it returns is to be awaited; None: the function tells by its kind. A plain function that
            returns a coroutine, as decorators make them, cannot tell.
        encloses: the method may go through another target, in some version of the library, which is not to be counted too.
        is_inherited: the class need not have the method itself.
        replace: makes what takes the place of the method; None: `watch` does.
    """

    module: str
    owner: str
    method: str
    make_reader: Callable[[], Reader]
    is_async: bool | None = None
    encloses: bool = False
    is_inherited: bool = False
    replace: Callable[[Target, Any, Patchpoint], Any] | None = None


class _Patch(NamedTuple):
    """One patched method: the class, what the class had (None: it inherits the method), and what stands there now."""

    owner: type
    own: Any
    original: Any
    replacement: Any
    patchpoint: Patchpoint


class Patcher:
    """What has been patched, and how to put it back.

    Args:
        libraries: what is to be patched; gone through anew at each `apply`.

    Attributes:
        switch: says who watches; all patched methods ask it.
    """

    def __init__(self, libraries: Iterable[ClientLibrary]) -> None:
        self.switch = Switch()
        self._libraries = libraries
        self._is_active = False
        self._awaited_modules: set[tuple[ClientLibrary, str]] = set()
        self._applied: dict[Target, _Patch] = {}
        self._buried: dict[Target, list[_Patch]] = {}
        """Patches that somebody has replaced or covered. They do nothing, but may come up again."""

    def apply(self) -> None:
        """Patch what is imported, and have the rest patched when it is."""
        self._is_active = True
        for library in self._libraries:
            self._when_imported(library, library.package)

    def remove(self) -> None:
        """Put the very same functions back. Where somebody has patched above us, ours stays below and does nothing."""
        self._is_active = False
        for target, patch in list(self._applied.items()):
            if patch.owner.__dict__.get(target.method) is not patch.replacement:
                continue
            if patch.own is None:
                delattr(patch.owner, target.method)
            else:
                setattr(patch.owner, target.method, patch.own)
            del self._applied[target]

    def _when_imported(self, library: ClientLibrary, module: str) -> None:
        """Patch a module of a library now, or as soon as it has been imported."""
        if module in sys.modules:
            self._patch_module(library, module)
        elif (library, module) not in self._awaited_modules:
            # noted first: another thread may import the module meanwhile, which runs the hook at once
            self._awaited_modules.add((library, module))
            when_imported(module, lambda: self._patch_module(library, module))

    def _patch_module(self, library: ClientLibrary, module: str) -> None:
        # in the middle of the host's `import`: nothing of ours may leave it
        with _PATCHING:
            if not self._is_active:
                return
            targets = library.targets()
            for target in targets:
                if target.module == module:
                    self._patch(library, target)
            if module == library.package:
                for name in dict.fromkeys(target.module for target in targets):
                    if name != module:
                        self._when_imported(library, name)

    def _patch(self, library: ClientLibrary, target: Target) -> None:
        with _PATCHING:
            owner = getattr(sys.modules[target.module], target.owner, None)
            # another version of the library has it, or will
            if owner is None:
                return
            own = owner.__dict__.get(target.method)
            current = inspect.getattr_static(owner, target.method, None) if target.is_inherited else own
            if current is None:
                return
            applied = self._applied.get(target)
            if applied is not None:
                if any(layer is applied.replacement for layer in layers_of(current)):
                    return
                # two live ones would record each call twice
                applied.patchpoint.switch = Switch()
                self._buried.setdefault(target, []).append(applied)
            original = self._uncovered(target, current)
            patchpoint = Patchpoint(
                library,
                target.make_reader(),
                self.switch,
                encloses=target.encloses,
                traced_below=is_traced_by(library.other_tracers, original),
            )
            # one method under two names, as `enter` and `__enter__` are, stays one
            twin = next(
                (patch for patch in self._applied.values() if patch.owner is owner and patch.original is original), None
            )
            if twin is not None:
                replacement = twin.replacement
            elif target.replace is not None:
                replacement = target.replace(target, original, patchpoint)
            else:
                replacement = watch(original, patchpoint, is_async=target.is_async)
            setattr(owner, target.method, replacement)
            self._applied[target] = _Patch(owner, None if own is None else original, original, replacement, patchpoint)

    def _uncovered(self, target: Target, current: Any) -> Any:
        """Return what is below a buried patch of ours that has come up again: somebody has put back what they had found."""
        for patch in self._buried.get(target, ()):
            if patch.replacement is current:
                return self._uncovered(target, patch.original)
        return current
