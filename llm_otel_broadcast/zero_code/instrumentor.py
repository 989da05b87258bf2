"""What `opentelemetry-instrument` calls: found by the entry point `opentelemetry_instrumentor` in pyproject.toml.

It has the interface of OpenTelemetry's `BaseInstrumentor` without deriving from it, so that nothing else is needed.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from importlib.metadata import requires
from typing import Final

from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.instrumentation import instrument, uninstrument
from llm_otel_broadcast.zero_code.start import start

_STARTING: Final = Guard("starting without code")


class BroadcastInstrumentor:
    """Switches `llm_otel_broadcast` on and off."""

    def __init__(self) -> None:
        self.is_instrumented_by_opentelemetry = False

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the requirements of what is instrumented."""
        needed = requires("llm-otel-broadcast") or ()
        return [
            wanted for wanted in needed if wanted.startswith("openai") and ";" not in wanted
        ]  # not that of an extra

    def instrument(self, **arguments: object) -> None:
        """Start with the arguments of `llm_otel_broadcast.instrument`; others are ignored. Raises nothing."""
        # `opentelemetry-instrument` passes arguments of its own, and after an error it leaves all other instrumentations out.
        parameters = inspect.signature(instrument).parameters
        with _STARTING:
            start(**{name: value for name, value in arguments.items() if name in parameters})
        self.is_instrumented_by_opentelemetry = True

    def uninstrument(self, **_: object) -> None:
        """Stop recording."""
        uninstrument()
        self.is_instrumented_by_opentelemetry = False
