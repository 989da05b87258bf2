"""Starts tracing in a program that knows nothing of it. Whatever is wrong with the settings, the program runs."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

from llm_otel_broadcast.settings.errors import ConfigError


def start(**arguments: Any) -> None:
    """Instrument as the environment says, unless the program has seen to it itself."""
    from llm_otel_broadcast.instrumentation import instrument, instrument_was_called

    if instrument_was_called():
        return
    try:
        instrument(**arguments)
    except ConfigError as wrong:
        say_untraced(wrong)


def say_untraced(wrong: ConfigError) -> None:
    """Print the one line that a wrong setting is worth when nobody's code can catch the error."""
    if sys.stderr is None:
        return
    with suppress(OSError, ValueError):  # closed, or nobody reads it
        sys.stderr.write(f"llm-otel-broadcast: {'; '.join(wrong.faults)}; the program runs untraced\n")
