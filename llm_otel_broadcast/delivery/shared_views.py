"""What several destinations are sent of the same records alike: made by the first lane that comes to a record, for all of them.

Each lane still chooses, encodes and posts for itself. Nothing waits here: a lane that is late makes the spans once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

from llm_otel_broadcast.host.bounded import BoundedDict
from llm_otel_broadcast.record.content import Content
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.span_data import SpanData
from llm_otel_broadcast.settings.destination import Destination

# As many as a batch has: lanes that run side by side are further apart only where one of them waits for its destination. A few
# MB at most, as large records are not among them.
_MAX_VIEWS: Final = 512
_MAX_RECORD_BYTES: Final = 16_000
# All other settings decide what is sent of a record, those of later versions included.
_NOT_OF_VIEW: Final = frozenset(
    {
        "api_keys",
        "batch_delay",
        "certificate",
        "client_certificate",
        "client_key",
        "compression",
        "durable",
        "enabled",
        "encoding",
        "endpoint",
        "errors_always",
        "exporter",
        "filter_rules",
        "headers",
        "hosts",
        "method",
        "name",
        "resource_attributes",
        "sampling_rate",
        "timeout",
    }
)


@dataclass(slots=True)
class SharedView:
    """What is sent of one record.

    Attributes:
        record: the record.
        content: as it is sent; None: there is none.
        spans: the record's own.
        remaining: how many lanes have not taken it yet.
    """

    record: Generation
    content: Content | None
    spans: Sequence[SpanData]
    remaining: int


class SharedViews:
    """The views that lanes of destinations with the same view may still want. Used by their threads; bounded.

    Args:
        destinations: how many they are.
    """

    def __init__(self, destinations: int) -> None:
        self._destinations = destinations
        self._views: BoundedDict[int, SharedView] = BoundedDict(_MAX_VIEWS)

    def take(self, record: Generation) -> SharedView | None:
        """Return what another lane has made of a record; None: nothing, or it is forgotten."""
        view = self._views.get(id(record))
        # Another record may have come to the same address in memory.
        if view is None or view.record is not record:
            return None
        # Two lanes may count at once: then it stays until it is the oldest, and nothing else comes of it.
        view.remaining -= 1
        if view.remaining <= 0:
            self._views.pop(id(record))
        return view

    def add(self, record: Generation, content: Content | None, spans: Sequence[SpanData]) -> Sequence[SpanData]:
        """Keep what was made of a record for the other lanes; return the spans, whose text is made once from here on."""
        if record.size > _MAX_RECORD_BYTES:
            return spans
        spans = [span.shared() for span in spans]
        self._views[id(record)] = SharedView(record, content, spans, self._destinations - 1)
        return spans


def shared_views_of(destinations: Sequence[Destination]) -> dict[str, SharedViews]:
    """Return what destinations share by their names; one that shares with nobody is not in it."""
    groups: list[tuple[dict[str, object], list[str]]] = []
    for destination in destinations:
        # What the program's function makes of a text, and whether it blocks, is known for each destination by itself.
        if destination.redact is not None:
            continue
        view = {
            setting.name: getattr(destination, setting.name)
            for setting in fields(destination)
            if setting.name not in _NOT_OF_VIEW
        }
        for other, names in groups:
            if other == view:
                names.append(destination.name)
                break
        else:
            groups.append((view, [destination.name]))
    shared: dict[str, SharedViews] = {}
    for _, names in groups:
        if len(names) > 1:
            shared |= dict.fromkeys(names, SharedViews(len(names)))
    return shared
