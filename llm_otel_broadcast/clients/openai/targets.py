"""The table of what is patched in the `openai` client, and the patching itself.

Adding an operation is one row here and one reader beside this file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import wrapt

from llm_otel_broadcast.clients.observe import Switch, watch
from llm_otel_broadcast.clients.openai.chat import ChatReader
from llm_otel_broadcast.clients.openai.posting import Posts
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
POSTED: Final = {"/chat/completions": _CHAT}
"""Paths that may be posted to without the method that is made for them, and who reads that."""
TARGETS: Final = tuple(made for row in _ROWS for made in (row, replace(row, owner=f"Async{row.owner}", is_async=True)))


class Patches:
    """What has been patched, and how to put it back. Patches wait until the program imports `openai` itself."""

    def __init__(self) -> None:
        self.switch = Switch()
        self._posts = Posts(self.switch, POSTED)
        self._active = False
        self._hooked = False
        self._applied: dict[Target, tuple[type, Any, Any]] = {}

    def apply(self) -> None:
        """Patch what is imported, and have the rest patched when it is."""
        self._active = True
        for target in TARGETS:
            if target.module in sys.modules:
                self._patch(target)
            elif not self._hooked:
                wrapt.register_post_import_hook(self._hook(target), target.module)
        self._hooked = True
        self._posts.apply()

    def remove(self) -> None:
        """Put the very same functions back. Where somebody has patched above us, ours stays below and does nothing."""
        self._active = False
        self._posts.remove()
        for target, (owner, original, patched) in list(self._applied.items()):
            if owner.__dict__.get(target.method) is patched:
                setattr(owner, target.method, original)
                del self._applied[target]

    def _hook(self, target: Target) -> Callable[[Any], None]:
        return lambda _module: self._patch(target)

    def _patch(self, target: Target) -> None:
        with _PATCHING:
            if not self._active or target in self._applied:
                return
            owner = getattr(sys.modules[target.module], target.owner, None)
            original = None if owner is None else owner.__dict__.get(target.method)
            if owner is None or original is None:  # another version of the client has it, or will
                logger.debug("%s.%s.%s is not in the installed openai", target.module, target.owner, target.method)
                return
            wrapper = watch(target.reader, self.switch, is_async=target.is_async, encloses=target.encloses)
            patched = wrapt.FunctionWrapper(original, wrapper)
            setattr(owner, target.method, patched)
            self._applied[target] = (owner, original, patched)
