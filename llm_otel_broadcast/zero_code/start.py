"""Starts tracing in a program that does not call `instrument()`. Whatever is wrong with the settings, the program runs."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

from llm_otel_broadcast.settings.errors import ConfigError


def start(**arguments: Any) -> None:
    """Call `instrument()`, unless the program has called it already. Settings that are wrong are printed."""
    from llm_otel_broadcast.instrumentation import instrument, instrument_was_called

    if instrument_was_called():
        return
    try:
        instrument(**arguments)
    except ConfigError as error:
        say_untraced(error)


def say_untraced(error: ConfigError) -> None:
    """Print one line about wrong settings to stderr, where no code of the program's could catch the error."""
    # `pythonw` and some services have none.
    if sys.stderr is None:
        return
    # It may be closed, or nobody reads it.
    with suppress(OSError, ValueError):
        sys.stderr.write(f"llm-otel-broadcast: {'; '.join(error.faults)}; the program runs untraced\n")
