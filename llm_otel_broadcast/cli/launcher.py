"""Starts a program with its LLM calls traced: checks the settings first, and becomes the program."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from llm_otel_broadcast.cli.execution import become
from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.zero_code.environment import traced
from llm_otel_broadcast.zero_code.start import say_untraced

_PREPARING: Final = Guard("preparing the program's environment")


def launch(words: Sequence[str], options: Mapping[str, object]) -> NoReturn:
    """Run a program with its LLM calls traced; untraced, after one line that says why, where the settings are wrong.

    Args:
        words: the program and its arguments; `-m` in front stands for this interpreter.
        options: those of `instrument()` that the command line states.
    """
    # Whatever goes wrong with tracing, the program runs: at worst in the environment as it is.
    environ = dict(os.environ)
    with _PREPARING:
        try:
            environ = traced(os.environ, options)
        except ConfigError as error:
            say_untraced(error)
    become(words, environ)
