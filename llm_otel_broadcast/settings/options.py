"""Everything `instrument()` takes, validated in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.frozen import Frozen, settings
from llm_otel_broadcast.settings.headers import shown_name
from llm_otel_broadcast.settings.privacy import callable_fault
from llm_otel_broadcast.settings.spool import SPOOL, SpoolSettings, plain_spool
from llm_otel_broadcast.settings.validators import (
    CONTENT_CHARS,
    MAPPING_WRITTEN,
    TEXT_OR_NONE,
    TEXTS,
    TRUTH,
    TRUTH_OR_AUTO,
    TRUTH_OR_NONE,
    Kind,
    faults_of,
    is_a,
    kinds_of,
    nearest,
    read_json,
    read_mapping,
    seconds,
    whole,
)

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

AppSpans: TypeAlias = Literal["auto"] | bool


def read_destinations(text: str) -> list[Destination]:
    """Read a JSON array of objects with the fields of `Destination`, but for those that only code can give.

    Raises:
        ValueError: the text is something else.
        ConfigError: listing every wrong field.
    """
    entries = read_json(text)
    if not isinstance(entries, list):
        raise ValueError(f"it must be a JSON array of objects, got {_json_kind(entries)}")  # noqa: TRY004  # a wrong text
    field_kinds = kinds_of(Destination)
    destinations: list[Destination] = []
    faults: list[str] = []
    for position, entry in enumerate(entries):
        label = f"entry {position + 1}"
        if not isinstance(entry, dict):
            faults.append(
                f'{label}: it must be an object such as {{"endpoint": "https://..."}}, got {_json_kind(entry)}'
            )
            continue
        # Unknown names are listed before the constructor sees them: its TypeError would name only the first.
        unknown = [name for name in entry if name not in field_kinds]
        faults += [
            f"{label}: '{shown_name(name)}' is no field of a destination{nearest(name, field_kinds)}: "
            f"there are {', '.join(field_kinds)}"
            for name in unknown
        ]
        if unknown:
            continue
        try:
            destinations.append(Destination(**entry))
        except ConfigError as error:
            faults += [f"{label}: {fault}" for fault in error.faults]
    if faults:
        raise ConfigError(faults)
    return destinations


def _json_kind(value: object) -> str:
    kinds = {dict: "an object", list: "an array", str: "a text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")


def _destination_faults(_: str, destinations: Sequence[object]) -> list[str]:
    faults = [
        f"destinations[{position}] must be a Destination, got {type(destination).__name__}"
        for position, destination in enumerate(destinations)
        if not isinstance(destination, Destination)
    ]
    names = [destination.name for destination in destinations if isinstance(destination, Destination)]
    faults += [
        f'destination "{name}" is there twice: give each its own name='
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    return faults


_DESTINATIONS: Final = Kind(
    _destination_faults, read_destinations, "a JSON array of objects with `Destination`'s fields"
)
_MAPPING: Final = Kind(
    lambda name, value: (
        []
        if isinstance(value, Mapping)
        else [f'{name} must be a mapping such as {{"environment": "staging"}}, got {type(value).__name__}']
    ),
    read_mapping,
    MAPPING_WRITTEN,
)


@settings
class Options(Frozen):
    """The settings of one `instrument()`; `instrumentation.instrument` documents each.

    Raises:
        ConfigError: listing every wrong setting.
    """

    destinations: tuple[Destination, ...] = field(default=(), metadata=is_a(_DESTINATIONS))
    trace_defaults: Mapping[str, object] = field(default_factory=dict, metadata=is_a(_MAPPING))
    service_name: str | None = field(default=None, metadata=is_a(TEXT_OR_NONE))
    capture_content: bool = field(default=True, metadata=is_a(TRUTH))
    app_spans: AppSpans = field(default="auto", metadata=is_a(TRUTH_OR_AUTO))
    tracer_provider: TracerProvider | None = None
    capture_content_in_app_spans: bool = field(default=False, metadata=is_a(TRUTH))
    forward_trace_fields: bool | None = field(default=None, metadata=is_a(TRUTH_OR_NONE))
    link_gateway: bool = field(default=False, metadata=is_a(TRUTH))
    join_app_traces: bool = field(default=True, metadata=is_a(TRUTH))
    baggage_metadata: Sequence[str] = field(default=(), metadata=is_a(TEXTS))
    request_stream_usage: bool = field(default=False, metadata=is_a(TRUTH))
    estimate_cost: bool = field(default=True, metadata=is_a(TRUTH))
    max_content_chars: int = field(default=1_000_000, metadata=is_a(whole("characters", *CONTENT_CHARS)))
    max_queue_bytes: int = field(default=64 * 1024 * 1024, metadata=is_a(whole("bytes", 1024 * 1024)))
    exit_timeout: float = field(default=2.5, metadata=is_a(seconds(0)))
    spool: str | PathLike[str] | Mapping[str, object] | SpoolSettings | None = field(default=None, metadata=is_a(SPOOL))
    to: Sequence[str] = field(default=(), metadata=is_a(TEXTS))
    strict: bool = field(default=False, metadata=is_a(TRUTH))
    on_generation: Callable[[Any], object] | None = None
    from_environment: bool = False
    """The only destination came from `OTEL_EXPORTER_OTLP_*`: the app's own SDK exports to the same place."""

    def __post_init__(self) -> None:
        faults = [*faults_of(self), *callable_fault("on_generation", self.on_generation)]
        if self.tracer_provider is not None and not callable(getattr(self.tracer_provider, "get_tracer", None)):
            faults.append(
                f"tracer_provider must be an OpenTelemetry TracerProvider, got {type(self.tracer_provider).__name__}"
            )
        durable = [
            destination.name
            for destination in self.destinations
            if isinstance(destination, Destination) and destination.durable
        ]
        if durable and self.spool is None:
            faults.append(
                f'destination "{durable[0]}": durable needs spool=DIRECTORY, which keeps everything until it has arrived'
            )
        if faults:
            raise ConfigError(faults)
        object.__setattr__(self, "spool", plain_spool(self.spool))
