"""Every LLM call as an OpenTelemetry trace, broadcast to any OTLP/HTTP backend. Public names are loaded when used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_otel_broadcast.connection.report import ConnectionReport, SentTrace, Step
    from llm_otel_broadcast.connection.sample import send_test_trace
    from llm_otel_broadcast.connection.testing import test_connection
    from llm_otel_broadcast.delivery.announcing import FinishedGeneration
    from llm_otel_broadcast.delivery.books import DestinationStatus
    from llm_otel_broadcast.fields.context import TraceHandle, current_trace_fields, propagate, trace_context
    from llm_otel_broadcast.fields.decorate import GenerationHandle, current_generation, traced_generation
    from llm_otel_broadcast.fields.ids import derive_span_id, derive_trace_id
    from llm_otel_broadcast.instrumentation import (
        Handle,
        flush,
        instrument,
        shutdown,
        status,
        uninstrument,
    )
    from llm_otel_broadcast.processor.processor import BroadcastSpanProcessor
    from llm_otel_broadcast.running import Status
    from llm_otel_broadcast.settings.destination import Destination
    from llm_otel_broadcast.settings.errors import ConfigError
    from llm_otel_broadcast.version import __version__

_HOMES = {
    "BroadcastSpanProcessor": "processor.processor",
    "ConfigError": "settings.errors",
    "ConnectionReport": "connection.report",
    "Destination": "settings.destination",
    "DestinationStatus": "delivery.books",
    "FinishedGeneration": "delivery.announcing",
    "GenerationHandle": "fields.decorate",
    "Handle": "instrumentation",
    "SentTrace": "connection.report",
    "Status": "running",
    "Step": "connection.report",
    "TraceHandle": "fields.context",
    "__version__": "version",
    "current_generation": "fields.decorate",
    "current_trace_fields": "fields.context",
    "derive_span_id": "fields.ids",
    "derive_trace_id": "fields.ids",
    "flush": "instrumentation",
    "instrument": "instrumentation",
    "propagate": "fields.context",
    "send_test_trace": "connection.sample",
    "shutdown": "instrumentation",
    "status": "instrumentation",
    "test_connection": "connection.testing",
    "trace_context": "fields.context",
    "traced_generation": "fields.decorate",
    "uninstrument": "instrumentation",
}

__all__ = [
    "BroadcastSpanProcessor",
    "ConfigError",
    "ConnectionReport",
    "Destination",
    "DestinationStatus",
    "FinishedGeneration",
    "GenerationHandle",
    "Handle",
    "SentTrace",
    "Status",
    "Step",
    "TraceHandle",
    "__version__",
    "current_generation",
    "current_trace_fields",
    "derive_span_id",
    "derive_trace_id",
    "flush",
    "instrument",
    "propagate",
    "send_test_trace",
    "shutdown",
    "status",
    "test_connection",
    "trace_context",
    "traced_generation",
    "uninstrument",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names for completion, also those that have not been loaded yet."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
