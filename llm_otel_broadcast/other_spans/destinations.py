"""The destinations that a processor sends to: those of `instrument()`, or some of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from llm_otel_broadcast.host.logs import logger
from llm_otel_broadcast.runtime import process_end
from llm_otel_broadcast.runtime.assembly import assemble
from llm_otel_broadcast.runtime.runs import Run, state
from llm_otel_broadcast.settings.environment import disabling, variable_of
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.precedence import resolve_settings

_NOWHERE: Final = (
    "BroadcastSpanProcessor() has nowhere to send: give endpoint=... or destinations=[...], or no argument at all for the "
    "destinations of instrument()"
)


def deliver_beside(arguments: Mapping[str, object]) -> Run | None:
    """Start what delivers without watching calls, by arguments of `instrument()`; None where everything is turned off.

    Raises:
        ConfigError: listing every wrong setting.
    """
    if disabling(os.environ):
        return None
    # The file is not read here, so what chooses among its destinations says nothing.
    environ = {name: text for name, text in os.environ.items() if name != variable_of("to")}
    resolved = resolve_settings(arguments, environ)
    options = resolved.options
    for warning in resolved.warnings:
        logger.warning("%s", warning)
    if not options.destinations:
        # A variable of OpenTelemetry's names a destination that cannot be used: that stops no program.
        if resolved.warnings:
            return None
        raise ConfigError([_NOWHERE])
    exporters = tuple(
        destination.exporter for destination in options.destinations if destination.enabled and destination.exporter
    )
    # No watcher and no patches: this run only delivers.
    run = Run(assemble(options, state.keeps), options.exit_timeout, None, exporters)
    with state.lock:
        state.running = (*state.running, run)
    process_end.watch()
    return run


def delivering() -> Run | None:
    """Return the newest run for all clients while it records, or still delivers."""
    return state.newest if state.newest in state.running else None


def endpoints_of(run: Run | None) -> frozenset[str]:
    """Return where a run sends to."""
    destinations = run.assembly.options.destinations if run else ()
    return frozenset(
        destination.endpoint for destination in destinations if destination.enabled and destination.endpoint
    )
