"""Every LLM call as an OpenTelemetry trace, broadcast to any OTLP/HTTP backend. Public names are loaded when used."""

from __future__ import annotations

# Type checkers take it for true. The module `typing` would be most of what `llm-otel-broadcast run` has to load.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llm_otel_broadcast.connection.check import test_connection
    from llm_otel_broadcast.connection.report import ConnectionReport, SentTrace, Step
    from llm_otel_broadcast.connection.test_trace import send_test_trace
    from llm_otel_broadcast.delivery.ledger import DestinationStatus
    from llm_otel_broadcast.delivery.on_generation import FinishedGeneration
    from llm_otel_broadcast.fields.ids import derive_span_id, derive_trace_id
    from llm_otel_broadcast.instrumentation import (
        Handle,
        flush,
        instrument,
        shutdown,
        status,
        uninstrument,
    )
    from llm_otel_broadcast.runtime.runs import Status
    from llm_otel_broadcast.runtime.span_processor import BroadcastSpanProcessor
    from llm_otel_broadcast.settings.destination import Destination
    from llm_otel_broadcast.settings.errors import ConfigError
    from llm_otel_broadcast.tracing.trace_context import TraceHandle, current_trace_fields, propagate, trace_context
    from llm_otel_broadcast.tracing.traced import traced
    from llm_otel_broadcast.tracing.traced_generation import GenerationHandle, current_generation, traced_generation
    from llm_otel_broadcast.version import __version__

_HOMES = {
    "BroadcastSpanProcessor": "runtime.span_processor",
    "ConfigError": "settings.errors",
    "ConnectionReport": "connection.report",
    "Destination": "settings.destination",
    "DestinationStatus": "delivery.ledger",
    "FinishedGeneration": "delivery.on_generation",
    "GenerationHandle": "tracing.traced_generation",
    "Handle": "instrumentation",
    "SentTrace": "connection.report",
    "Status": "runtime.runs",
    "Step": "connection.report",
    "TraceHandle": "tracing.trace_context",
    "__version__": "version",
    "current_generation": "tracing.traced_generation",
    "current_trace_fields": "tracing.trace_context",
    "derive_span_id": "fields.ids",
    "derive_trace_id": "fields.ids",
    "flush": "instrumentation",
    "instrument": "instrumentation",
    "propagate": "tracing.trace_context",
    "send_test_trace": "connection.test_trace",
    "shutdown": "instrumentation",
    "status": "instrumentation",
    "test_connection": "connection.check",
    "trace_context": "tracing.trace_context",
    "traced": "tracing.traced",
    "traced_generation": "tracing.traced_generation",
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
    "traced",
    "traced_generation",
    "uninstrument",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names for completion, also those that have not been loaded yet."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
