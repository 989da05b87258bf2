"""The table of what is patched in the `openai` client, and the patching itself.

Adding an operation is one row here and one reader beside this file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import wrapt

from llm_otel_broadcast.clients.layers import is_traced_by_another, layers_of
from llm_otel_broadcast.clients.observe import Post, Switch, watch
from llm_otel_broadcast.clients.openai.chat import ChatReader
from llm_otel_broadcast.clients.reading import Reader
from llm_otel_broadcast.guard import Guard, logger

_PATCHING = Guard("patching the openai client")


@dataclass(frozen=True, slots=True)
class Target:
    """One method: where it is, and who reads it.

    Attributes:
        owner: the class; its asynchronous twin is `Async` + owner.
        encloses: the method may go through another target, in some version of the client.
    """

    module: str
    owner: str
    method: str
    reader: Reader
    is_async: bool = False
    encloses: bool = False


_CHAT: Final = ChatReader()
_ROWS: Final = (
    Target("openai.resources.chat.completions", "Completions", "create", _CHAT),
    Target("openai.resources.chat.completions", "Completions", "parse", _CHAT, encloses=True),
    Target("openai.resources.beta.chat.completions", "Completions", "parse", _CHAT, encloses=True),
)
TARGETS: Final = tuple(made for row in _ROWS for made in (row, replace(row, owner=f"Async{row.owner}", is_async=True)))


@dataclass(frozen=True, slots=True, eq=False)
class _Patch:
    """One patched method: where, what stood there, what stands there now."""

    owner: type
    original: Any
    patched: Any
    post: Post


class Patches:
    """What has been patched, and how to put it back. Patches wait until the program imports `openai` itself."""

    def __init__(self) -> None:
        self.switch = Switch()
        self._active = False
        self._hooked = False
        self._applied: dict[Target, _Patch] = {}
        self._buried: dict[Target, list[_Patch]] = {}
        """Patches that somebody has replaced or covered. They do nothing, but may come up again."""

    def apply(self) -> None:
        """Patch what is imported, and have the rest patched when it is."""
        self._active = True
        for target in TARGETS:
            if target.module in sys.modules:
                self._patch(target)
            elif not self._hooked:
                wrapt.register_post_import_hook(self._hook(target), target.module)
        self._hooked = True

    def remove(self) -> None:
        """Put the very same functions back. Where somebody has patched above us, ours stays below and does nothing."""
        self._active = False
        for target, patch in list(self._applied.items()):
            if patch.owner.__dict__.get(target.method) is patch.patched:
                setattr(patch.owner, target.method, patch.original)
                del self._applied[target]

    def _hook(self, target: Target) -> Callable[[Any], None]:
        return lambda _module: self._patch(target)

    def _patch(self, target: Target) -> None:
        with _PATCHING:
            if not self._active:
                return
            owner = getattr(sys.modules[target.module], target.owner, None)
            found = None if owner is None else owner.__dict__.get(target.method)
            if owner is None or found is None:  # another version of the client has it, or will
                logger.debug("%s.%s.%s is not in the installed openai", target.module, target.owner, target.method)
                return
            applied = self._applied.get(target)
            if applied is not None:
                if any(layer is applied.patched for layer in layers_of(found)):
                    return
                applied.post.switch = Switch()  # two live ones would record each call twice
                self._buried.setdefault(target, []).append(applied)
            original = self._uncovered(target, found)
            post = Post(
                target.reader, self.switch, encloses=target.encloses, traced_below=is_traced_by_another(original)
            )
            patched = watch(original, post, is_async=target.is_async)
            setattr(owner, target.method, patched)
            self._applied[target] = _Patch(owner, original, patched, post)

    def _uncovered(self, target: Target, found: Any) -> Any:
        """Return what is below a buried patch of ours that has come up again: somebody has put back what he had found."""
        for patch in self._buried.get(target, ()):
            if patch.patched is found:
                return self._uncovered(target, patch.original)
        return found
