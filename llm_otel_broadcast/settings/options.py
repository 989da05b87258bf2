"""Everything `instrument()` takes, validated in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

_HOUR = 3600
_SHORTEST, _LONGEST = 256, 10_000_000
AppSpans: TypeAlias = Literal["auto"] | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The settings of one `instrument()`; `instrumentation.instrument` documents each.

    Raises:
        ConfigError: listing every wrong setting.
    """

    destinations: tuple[Destination, ...] = ()
    trace_defaults: Mapping[str, object] = field(default_factory=dict)
    service_name: str | None = None
    capture_content: bool = True
    app_spans: AppSpans = "auto"
    tracer_provider: TracerProvider | None = None
    capture_content_in_app_spans: bool = False
    forward_trace_fields: bool | None = None
    link_gateway: bool = False
    join_app_traces: bool = True
    baggage_metadata: tuple[str, ...] = ()
    request_stream_usage: bool = False
    estimate_cost: bool = True
    max_content_chars: int = 1_000_000
    max_queue_bytes: int = 64 * 1024 * 1024
    exit_timeout: float = 3.0
    from_environment: bool = False
    """The only destination came from `OTEL_EXPORTER_OTLP_*`: the app's own SDK exports to the same place."""

    def __post_init__(self) -> None:
        faults = [*_truths(self), *_destinations(self.destinations)]
        if not isinstance(self.trace_defaults, Mapping):
            faults.append(
                "trace_defaults must be a mapping such as "
                f'{{"environment": "staging"}}, got {type(self.trace_defaults).__name__}'
            )
        if self.service_name is not None and (not isinstance(self.service_name, str) or not self.service_name):
            faults.append(f"service_name must be text, got {self.service_name!r}")
        if self.app_spans not in ("auto", True, False):
            faults.append(f'app_spans must be "auto", True or False, got {self.app_spans!r}')
        if self.forward_trace_fields not in (None, True, False):
            faults.append(f"forward_trace_fields must be None, True or False, got {self.forward_trace_fields!r}")
        if self.tracer_provider is not None and not callable(getattr(self.tracer_provider, "get_tracer", None)):
            faults.append(
                f"tracer_provider must be an OpenTelemetry TracerProvider, got {type(self.tracer_provider).__name__}"
            )
        if not all(isinstance(key, str) and key for key in self.baggage_metadata):
            faults.append(
                f"baggage_metadata must be a list of baggage keys as text, got {list(self.baggage_metadata)!r}"
            )
        faults += _numbers(self)
        if faults:
            raise ConfigError(faults)


def _truths(options: Options) -> list[str]:
    names = (
        "capture_content",
        "capture_content_in_app_spans",
        "link_gateway",
        "join_app_traces",
        "request_stream_usage",
        "estimate_cost",
    )
    return [
        f"{name} must be True or False, got {value!r}"
        for name in names
        if not isinstance(value := getattr(options, name), bool)
    ]


def _numbers(options: Options) -> list[str]:
    faults = []
    size, wait, length = options.max_queue_bytes, options.exit_timeout, options.max_content_chars
    if isinstance(length, bool) or not isinstance(length, int) or not _SHORTEST <= length <= _LONGEST:
        faults.append(
            f"max_content_chars must be a whole number of characters from {_SHORTEST} to {_LONGEST}, got {length!r}"
        )
    if isinstance(size, bool) or not isinstance(size, int) or size < 1024 * 1024:
        faults.append(f"max_queue_bytes must be a whole number of bytes, at least 1048576 (1 MiB), got {size!r}")
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 <= wait <= _HOUR:
        faults.append(f"exit_timeout must be a number of seconds from 0 to 3600, got {wait!r}")
    return faults


def _destinations(destinations: Sequence[object]) -> list[str]:
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
