"""The table of what is patched in the `openai` client, and the patching itself.

Adding an operation is one row here and one reader beside this file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import wrapt

from llm_otel_broadcast.clients.call import Post, Switch
from llm_otel_broadcast.clients.openai.chat import ChatReader
from llm_otel_broadcast.clients.openai.completions import CompletionReader
from llm_otel_broadcast.clients.openai.decisions import DecisionReader
from llm_otel_broadcast.clients.openai.embeddings import EmbeddingReader
from llm_otel_broadcast.clients.openai.images import ImageReader
from llm_otel_broadcast.clients.openai.moderations import ModerationReader
from llm_otel_broadcast.clients.openai.raw_post import Posts, Route
from llm_otel_broadcast.clients.openai.responses.background import Background
from llm_otel_broadcast.clients.openai.responses.reader import CompactReader, FetchReader, ResponsesReader
from llm_otel_broadcast.clients.openai.sockets.connection import (
    watch_connect,
    watch_lane_send,
    watch_opening,
    watch_queued_send,
)
from llm_otel_broadcast.clients.openai.sockets.realtime import RealtimeReader
from llm_otel_broadcast.clients.openai.speech import SpeechReader
from llm_otel_broadcast.clients.openai.transcriptions import TranscriptionReader
from llm_otel_broadcast.clients.reader import Reader
from llm_otel_broadcast.clients.wrapper_layers import is_traced_by_another, layers_of
from llm_otel_broadcast.clients.wrappers import watch
from llm_otel_broadcast.host.guard import Guard

_PATCHING = Guard("patching the openai client")


def _call(target: Target, original: Any, post: Post) -> Any:
    return watch(original, post, is_async=target.is_async)


def _connect(_target: Target, original: Any, _post: Post) -> Any:
    return watch_connect(original)


def _open(target: Target, original: Any, post: Post) -> Any:
    return watch_opening(original, target.reader, post, is_async=target.is_async)


def _queue(_target: Target, original: Any, _post: Post) -> Any:
    return watch_queued_send(original)


def _lane(target: Target, original: Any, _post: Post) -> Any:
    return watch_lane_send(original, is_async=target.is_async)


@dataclass(frozen=True, slots=True)
class Target:
    """One method: where it is, and who reads it.

    Attributes:
        owner: the class; its asynchronous twin is `Async` + owner.
        encloses: the method may go through another target, in some version of the client.
        endpoint: what the method requests, as in `POST /chat/completions`, where no other row has it; see `Route`.
        replace: makes what takes the place of the method.
    """

    module: str
    owner: str
    method: str
    reader: Reader
    is_async: bool = False
    encloses: bool = False
    endpoint: str | None = None
    replace: Callable[[Target, Any, Post], Any] = _call


def _sockets(module: str, owner: str, reader: Reader) -> tuple[Target, ...]:
    """Return the rows of an API with web sockets: `connect` makes a manager, which opens the connection in either way."""
    manager = f"{owner}ConnectionManager"
    enters = ("__enter__", "__aenter__", "enter")
    opened = (Target(module, manager, name, reader, replace=_open) for name in enters)
    queued = Target(module, manager, "send", reader, replace=_queue)
    return (Target(module, owner, "connect", reader, replace=_connect), queued, *opened)


def _resource_of(module: str) -> str:
    """Return where the client has a module's resource: `beta.responses` for `openai.resources.beta.responses.responses`."""
    names = module.removeprefix("openai.resources.").split(".")
    return ".".join(names[:-1] if names[-2:-1] == names[-1:] else names)


_CHAT: Final = ChatReader()
_IMAGES: Final = ImageReader()
_BACKGROUND: Final = Background()
_RESPONSES: Final = ResponsesReader(_BACKGROUND)
_COMPACTED: Final = CompactReader(_BACKGROUND)
_FETCHED: Final = FetchReader(_BACKGROUND)
_REALTIME: Final = RealtimeReader(_BACKGROUND)
_ROWS: Final = (
    Target("openai.resources.chat.completions", "Completions", "create", _CHAT, endpoint="POST /chat/completions"),
    Target("openai.resources.chat.completions", "Completions", "parse", _CHAT, encloses=True),
    Target("openai.resources.beta.chat.completions", "Completions", "parse", _CHAT, encloses=True),
    Target("openai.resources.completions", "Completions", "create", CompletionReader(), endpoint="POST /completions"),
    Target("openai.resources.embeddings", "Embeddings", "create", EmbeddingReader(), endpoint="POST /embeddings"),
    Target("openai.resources.images", "Images", "generate", _IMAGES, endpoint="POST /images/generations"),
    Target("openai.resources.images", "Images", "edit", _IMAGES, endpoint="POST /images/edits"),
    Target("openai.resources.images", "Images", "create_variation", _IMAGES, endpoint="POST /images/variations"),
    Target("openai.resources.audio.speech", "Speech", "create", SpeechReader(), endpoint="POST /audio/speech"),
    Target(
        "openai.resources.audio.transcriptions",
        "Transcriptions",
        "create",
        TranscriptionReader("transcription"),
        endpoint="POST /audio/transcriptions",
    ),
    Target(
        "openai.resources.audio.translations",
        "Translations",
        "create",
        TranscriptionReader("translation"),
        endpoint="POST /audio/translations",
    ),
    Target("openai.resources.moderations", "Moderations", "create", ModerationReader(), endpoint="POST /moderations"),
    Target("openai.resources.decisions", "Decisions", "create", DecisionReader(), endpoint="POST /decisions"),
    Target("openai.resources.responses.responses", "Responses", "create", _RESPONSES, endpoint="POST /responses"),
    Target("openai.resources.responses.responses", "Responses", "parse", _RESPONSES, encloses=True),
    Target("openai.resources.responses.responses", "Responses", "retrieve", _FETCHED, endpoint="GET /responses/*"),
    Target(
        "openai.resources.responses.responses", "Responses", "compact", _COMPACTED, endpoint="POST /responses/compact"
    ),
    Target(
        "openai.resources.beta.responses.responses",
        "Responses",
        "create",
        _RESPONSES,
        endpoint="POST /responses?beta=true",
    ),
    Target(
        "openai.resources.beta.responses.responses",
        "Responses",
        "retrieve",
        _FETCHED,
        endpoint="GET /responses/*?beta=true",
    ),
    Target(
        "openai.resources.beta.responses.responses",
        "Responses",
        "compact",
        _COMPACTED,
        endpoint="POST /responses/compact?beta=true",
    ),
    *_sockets("openai.resources.responses.responses", "Responses", _RESPONSES),
    *_sockets("openai.resources.beta.responses.responses", "Responses", _RESPONSES),
    Target("openai.lib.responses_websocket", "ResponsesWebSocketLane", "send", _RESPONSES, replace=_lane),
    *_sockets("openai.resources.realtime.realtime", "Realtime", _REALTIME),
    *_sockets("openai.resources.beta.realtime.realtime", "Realtime", _REALTIME),
)
ROUTES: Final = tuple(
    Route(row.endpoint, _resource_of(row.module), row.reader) for row in _ROWS if row.endpoint is not None
)
"""What is recorded as well when it is requested without the patched method."""
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
        self._posts = Posts(self.switch, ROUTES)
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
        self._posts.apply()

    def remove(self) -> None:
        """Put the very same functions back. Where somebody has patched above us, ours stays below and does nothing."""
        self._active = False
        for target, patch in list(self._applied.items()):
            if patch.owner.__dict__.get(target.method) is patch.patched:
                setattr(patch.owner, target.method, patch.original)
                del self._applied[target]
        self._posts.remove()

    def _hook(self, target: Target) -> Callable[[Any], None]:
        return lambda _module: self._patch(target)

    def _patch(self, target: Target) -> None:
        with _PATCHING:
            if not self._active:
                return
            owner = getattr(sys.modules[target.module], target.owner, None)
            found = None if owner is None else owner.__dict__.get(target.method)
            if owner is None or found is None:  # another version of the client has it, or will
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
            twin = next(
                (one for one in self._applied.values() if one.owner is owner and one.original is original), None
            )
            patched = twin.patched if twin else target.replace(target, original, post)  # `enter` is `__enter__`
            setattr(owner, target.method, patched)
            self._applied[target] = _Patch(owner, original, patched, post)

    def _uncovered(self, target: Target, found: Any) -> Any:
        """Return what is below a buried patch of ours that has come up again: somebody has put back what he had found."""
        for patch in self._buried.get(target, ()):
            if patch.patched is found:
                return self._uncovered(target, patch.original)
        return found
