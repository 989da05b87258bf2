"""The table of what is patched in the `openai` client: adding an operation is one row here and one reader beside this file.

A reader is imported when the module is whose method it is for: a program that only chats has none of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import Any, Final, NamedTuple, TypeAlias

from llm_otel_broadcast.clients.call import Patchpoint
from llm_otel_broadcast.clients.patching import Target
from llm_otel_broadcast.clients.reader import Reader
from llm_otel_broadcast.host.import_lock import importing

ReaderMaker: TypeAlias = Callable[[], Reader]
_ROOM: Final = __name__.rpartition(".")[0]


def _late(module: str, name: str) -> Any:
    """Return an object of a module beside this file, which is imported now: on the program's thread, as it uses a resource."""
    # The client imports each of its own resources no sooner. A fork waits for this import, unless a lane imports meanwhile:
    # that may take a second, for which no call waits.
    with importing.within(0):
        return getattr(import_module(f"{_ROOM}.{module}"), name)


def _made_by(module: str, name: str, *arguments: str) -> ReaderMaker:
    """Return what makes the one reader of a class, with texts as its arguments."""
    return cache(lambda: _late(module, name)(*arguments))


def _in_background(name: str) -> ReaderMaker:
    """Return what makes the one reader of a class of `responses.reader`; all know the same responses."""
    return cache(lambda: _late("responses.reader", name)(_background()))


@cache
def _background() -> Any:
    """Return the responses under way: what is made by one method in the background is fetched by another."""
    return _late("responses.background", "Background")()


def _by_sockets(name: str) -> Callable[[Target, Any, Patchpoint], Any]:
    """Return what replaces a method by a function of `sockets.connection`."""

    def replace(target: Target, original: Any, patchpoint: Patchpoint) -> Any:
        return _late("sockets.connection", name)(target, original, patchpoint)

    return replace


class Route(NamedTuple):
    """A kind of request that calls a model, for those that are made past the method that is made for it.

    Attributes:
        endpoint: HTTP method and path, as in `POST /chat/completions`; a path that ends in `/*` has one more segment, which
            is the reader's first positional argument.
        resource: where the client has the method, as in `chat.completions`.
        make_reader: returns what reads it.
    """

    endpoint: str
    resource: str
    make_reader: ReaderMaker


class _Row(NamedTuple):
    """A method of a resource and its asynchronous twin.

    Attributes:
        module: where the resource's class is.
        owner: the class; the one with the twin is `Async` + owner.
        method: its name.
        make_reader: returns what reads its calls.
        endpoint: what it requests, where no other row has it.
        encloses: see `Target`.
        replace: see `Target`; None: as usual.
    """

    module: str
    owner: str
    method: str
    make_reader: ReaderMaker
    endpoint: str | None = None
    encloses: bool = False
    replace: Callable[[Target, Any, Patchpoint], Any] | None = None

    def targets(self) -> Iterator[Target]:
        for owner, is_async in ((self.owner, False), (f"Async{self.owner}", True)):
            yield Target(
                self.module, owner, self.method, self.make_reader, is_async, self.encloses, replace=self.replace
            )

    def resource(self) -> str:
        """Return where the client has it: `beta.responses` for `openai.resources.beta.responses.responses`."""
        names = self.module.removeprefix("openai.resources.").split(".")
        return ".".join(names[:-1] if names[-2:-1] == names[-1:] else names)


def _sockets(module: str, owner: str, make_reader: ReaderMaker) -> tuple[_Row, ...]:
    """Return the rows of an API with web sockets: `connect` makes a manager, which opens the connection in either way."""
    manager = f"{owner}ConnectionManager"
    enters = ("__enter__", "__aenter__", "enter")
    opened = (_Row(module, manager, name, make_reader, replace=_by_sockets("watch_opening")) for name in enters)
    queued = _Row(module, manager, "send", make_reader, replace=_by_sockets("watch_queued_send"))
    return (_Row(module, owner, "connect", make_reader, replace=_by_sockets("watch_connect")), queued, *opened)


_CHAT: Final = _made_by("chat", "ChatReader")
_COMPLETIONS: Final = _made_by("completions", "CompletionReader")
_EMBEDDINGS: Final = _made_by("embeddings", "EmbeddingReader")
_IMAGES: Final = _made_by("images", "ImageReader")
_SPEECH: Final = _made_by("speech", "SpeechReader")
_TRANSCRIPTIONS: Final = _made_by("transcriptions", "TranscriptionReader", "transcription")
_TRANSLATIONS: Final = _made_by("transcriptions", "TranscriptionReader", "translation")
_MODERATIONS: Final = _made_by("moderations", "ModerationReader")
_DECISIONS: Final = _made_by("decisions", "DecisionReader")
_RESPONSES: Final = _in_background("ResponsesReader")
_COMPACTED: Final = _in_background("CompactReader")
_FETCHED: Final = _in_background("FetchReader")
_REALTIME: Final = cache(lambda: _late("sockets.realtime", "RealtimeReader")(_background()))
_ROWS: Final = (
    # `stream()` is not here: in all versions it makes its request by `create`, and would count twice
    _Row("openai.resources.chat.completions", "Completions", "create", _CHAT, endpoint="POST /chat/completions"),
    # `parse` posts by itself in newer versions, and goes through `create` in the oldest
    _Row("openai.resources.chat.completions", "Completions", "parse", _CHAT, encloses=True),
    # in older versions `parse` stands below `beta` only
    _Row("openai.resources.beta.chat.completions", "Completions", "parse", _CHAT, encloses=True),
    _Row("openai.resources.completions", "Completions", "create", _COMPLETIONS, endpoint="POST /completions"),
    _Row("openai.resources.embeddings", "Embeddings", "create", _EMBEDDINGS, endpoint="POST /embeddings"),
    _Row("openai.resources.images", "Images", "generate", _IMAGES, endpoint="POST /images/generations"),
    _Row("openai.resources.images", "Images", "edit", _IMAGES, endpoint="POST /images/edits"),
    _Row("openai.resources.images", "Images", "create_variation", _IMAGES, endpoint="POST /images/variations"),
    _Row("openai.resources.audio.speech", "Speech", "create", _SPEECH, endpoint="POST /audio/speech"),
    _Row(
        "openai.resources.audio.transcriptions",
        "Transcriptions",
        "create",
        _TRANSCRIPTIONS,
        endpoint="POST /audio/transcriptions",
    ),
    _Row(
        "openai.resources.audio.translations",
        "Translations",
        "create",
        _TRANSLATIONS,
        endpoint="POST /audio/translations",
    ),
    _Row("openai.resources.moderations", "Moderations", "create", _MODERATIONS, endpoint="POST /moderations"),
    _Row("openai.resources.decisions", "Decisions", "create", _DECISIONS, endpoint="POST /decisions"),
    _Row("openai.resources.responses.responses", "Responses", "create", _RESPONSES, endpoint="POST /responses"),
    _Row("openai.resources.responses.responses", "Responses", "parse", _RESPONSES, encloses=True),
    # a response made in the background has its answer and its usage only when it is fetched
    _Row("openai.resources.responses.responses", "Responses", "retrieve", _FETCHED, endpoint="GET /responses/*"),
    _Row(
        "openai.resources.responses.responses", "Responses", "compact", _COMPACTED, endpoint="POST /responses/compact"
    ),
    _Row(
        "openai.resources.beta.responses.responses",
        "Responses",
        "create",
        _RESPONSES,
        endpoint="POST /responses?beta=true",
    ),
    _Row(
        "openai.resources.beta.responses.responses",
        "Responses",
        "retrieve",
        _FETCHED,
        endpoint="GET /responses/*?beta=true",
    ),
    _Row(
        "openai.resources.beta.responses.responses",
        "Responses",
        "compact",
        _COMPACTED,
        endpoint="POST /responses/compact?beta=true",
    ),
    *_sockets("openai.resources.responses.responses", "Responses", _RESPONSES),
    *_sockets("openai.resources.beta.responses.responses", "Responses", _RESPONSES),
    # a lane's `send` goes past the `send` of the connection that it shares with others
    _Row(
        "openai.lib.responses_websocket",
        "ResponsesWebSocketLane",
        "send",
        _RESPONSES,
        replace=_by_sockets("watch_lane_send"),
    ),
    *_sockets("openai.resources.realtime.realtime", "Realtime", _REALTIME),
    *_sockets("openai.resources.beta.realtime.realtime", "Realtime", _REALTIME),
)
ROUTES: Final = tuple(Route(row.endpoint, row.resource(), row.make_reader) for row in _ROWS if row.endpoint is not None)
"""What is recorded as well when it is requested without the patched method."""
TARGETS: Final = tuple(target for row in _ROWS for target in row.targets())
