"""The table of what is patched in the `openai` client: adding an operation is one row here and one reader beside this file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from llm_otel_broadcast.clients.call import Patchpoint
from llm_otel_broadcast.clients.openai.chat import ChatReader
from llm_otel_broadcast.clients.openai.completions import CompletionReader
from llm_otel_broadcast.clients.openai.decisions import DecisionReader
from llm_otel_broadcast.clients.openai.embeddings import EmbeddingReader
from llm_otel_broadcast.clients.openai.images import ImageReader
from llm_otel_broadcast.clients.openai.moderations import ModerationReader
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
from llm_otel_broadcast.clients.patching import Target
from llm_otel_broadcast.clients.reader import Reader


class Route(NamedTuple):
    """A kind of request that calls a model, for those that are made past the method that is made for it.

    Attributes:
        endpoint: HTTP method and path, as in `POST /chat/completions`; a path that ends in `/*` has one more segment, which
            is the reader's first positional argument.
        resource: where the client has the method, as in `chat.completions`.
        reader: reads it.
    """

    endpoint: str
    resource: str
    reader: Reader


class _Row(NamedTuple):
    """A method of a resource and its asynchronous twin.

    Attributes:
        module: where the resource's class is.
        owner: the class; the one with the twin is `Async` + owner.
        method: its name.
        reader: reads its calls.
        endpoint: what it requests, where no other row has it.
        encloses: see `Target`.
        replace: see `Target`; None: as usual.
    """

    module: str
    owner: str
    method: str
    reader: Reader
    endpoint: str | None = None
    encloses: bool = False
    replace: Callable[[Target, Any, Patchpoint], Any] | None = None

    def targets(self) -> Iterator[Target]:
        for owner, is_async in ((self.owner, False), (f"Async{self.owner}", True)):
            yield Target(self.module, owner, self.method, self.reader, is_async, self.encloses, replace=self.replace)

    def resource(self) -> str:
        """Return where the client has it: `beta.responses` for `openai.resources.beta.responses.responses`."""
        names = self.module.removeprefix("openai.resources.").split(".")
        return ".".join(names[:-1] if names[-2:-1] == names[-1:] else names)


def _sockets(module: str, owner: str, reader: Reader) -> tuple[_Row, ...]:
    """Return the rows of an API with web sockets: `connect` makes a manager, which opens the connection in either way."""
    manager = f"{owner}ConnectionManager"
    enters = ("__enter__", "__aenter__", "enter")
    opened = (_Row(module, manager, name, reader, replace=watch_opening) for name in enters)
    queued = _Row(module, manager, "send", reader, replace=watch_queued_send)
    return (_Row(module, owner, "connect", reader, replace=watch_connect), queued, *opened)


_CHAT: Final = ChatReader()
_IMAGES: Final = ImageReader()
# one for all: what is made by one method in the background is fetched by another
_BACKGROUND: Final = Background()
_RESPONSES: Final = ResponsesReader(_BACKGROUND)
_COMPACTED: Final = CompactReader(_BACKGROUND)
_FETCHED: Final = FetchReader(_BACKGROUND)
_REALTIME: Final = RealtimeReader(_BACKGROUND)
_ROWS: Final = (
    # `stream()` is not here: in all versions it makes its request by `create`, and would count twice
    _Row("openai.resources.chat.completions", "Completions", "create", _CHAT, endpoint="POST /chat/completions"),
    # `parse` posts by itself in newer versions, and goes through `create` in the oldest
    _Row("openai.resources.chat.completions", "Completions", "parse", _CHAT, encloses=True),
    # in older versions `parse` stands below `beta` only
    _Row("openai.resources.beta.chat.completions", "Completions", "parse", _CHAT, encloses=True),
    _Row("openai.resources.completions", "Completions", "create", CompletionReader(), endpoint="POST /completions"),
    _Row("openai.resources.embeddings", "Embeddings", "create", EmbeddingReader(), endpoint="POST /embeddings"),
    _Row("openai.resources.images", "Images", "generate", _IMAGES, endpoint="POST /images/generations"),
    _Row("openai.resources.images", "Images", "edit", _IMAGES, endpoint="POST /images/edits"),
    _Row("openai.resources.images", "Images", "create_variation", _IMAGES, endpoint="POST /images/variations"),
    _Row("openai.resources.audio.speech", "Speech", "create", SpeechReader(), endpoint="POST /audio/speech"),
    _Row(
        "openai.resources.audio.transcriptions",
        "Transcriptions",
        "create",
        TranscriptionReader("transcription"),
        endpoint="POST /audio/transcriptions",
    ),
    _Row(
        "openai.resources.audio.translations",
        "Translations",
        "create",
        TranscriptionReader("translation"),
        endpoint="POST /audio/translations",
    ),
    _Row("openai.resources.moderations", "Moderations", "create", ModerationReader(), endpoint="POST /moderations"),
    _Row("openai.resources.decisions", "Decisions", "create", DecisionReader(), endpoint="POST /decisions"),
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
    _Row("openai.lib.responses_websocket", "ResponsesWebSocketLane", "send", _RESPONSES, replace=watch_lane_send),
    *_sockets("openai.resources.realtime.realtime", "Realtime", _REALTIME),
    *_sockets("openai.resources.beta.realtime.realtime", "Realtime", _REALTIME),
)
ROUTES: Final = tuple(Route(row.endpoint, row.resource(), row.reader) for row in _ROWS if row.endpoint is not None)
"""What is recorded as well when it is requested without the patched method."""
TARGETS: Final = tuple(target for row in _ROWS for target in row.targets())
