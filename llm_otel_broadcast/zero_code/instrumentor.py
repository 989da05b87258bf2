"""What `opentelemetry-instrument` calls: found by the entry point `opentelemetry_instrumentor` in pyproject.toml.

It has the interface of OpenTelemetry's `BaseInstrumentor` without deriving from it, so that nothing else is needed.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import requires
from typing import Final

from llm_otel_broadcast.clients import LIBRARIES
from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.instrumentation import argument_names, uninstrument
from llm_otel_broadcast.zero_code.start import start

_STARTING: Final = Guard("starting without code")


class BroadcastInstrumentor:
    """Switches `llm_otel_broadcast` on and off."""

    def __init__(self) -> None:
        self.is_instrumented_by_opentelemetry = False

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return our requirements of the client libraries."""
        packages = tuple(library.package for library in LIBRARIES)
        requirements = requires("llm-otel-broadcast") or ()
        # with a marker it is an extra's, which need not be installed
        return [
            requirement for requirement in requirements if requirement.startswith(packages) and ";" not in requirement
        ]

    def instrument(self, **arguments: object) -> None:
        """Start with the arguments of `llm_otel_broadcast.instrument`; others are ignored. Raises nothing."""
        # `opentelemetry-instrument` passes arguments of its own, and after an error it leaves all other instrumentations out.
        with _STARTING:
            names = argument_names()
            start(**{name: value for name, value in arguments.items() if name in names})
        self.is_instrumented_by_opentelemetry = True

    def uninstrument(self, **_: object) -> None:
        """Stop recording."""
        uninstrument()
        self.is_instrumented_by_opentelemetry = False
