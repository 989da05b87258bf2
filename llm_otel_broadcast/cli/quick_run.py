"""`run` for plain cases, without loading the command line: a program is started within milliseconds.

Whatever is not plain is left to the command itself: help, mistakes, a settings file, rare options.
"""

from __future__ import annotations

import os

from llm_otel_broadcast.cli.execution import become
from llm_otel_broadcast.zero_code.plain_case import plainly_traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_VALUES = {"-e": "endpoint", "--endpoint": "endpoint", "--service-name": "service_name"}
_FLAGS = {"--privacy-mode": "privacy_mode"}


def run_plainly(words: Sequence[str]) -> None:
    """Become the program of `run WORDS...` where that takes no more than a look at them; else return."""
    split = split_plainly(words)
    if split is None:
        return
    program, options = split
    environ = plainly_traced(os.environ, options)
    if environ is not None:
        become(program, environ)


def split_plainly(words: Sequence[str]) -> tuple[Sequence[str], dict[str, str]] | None:
    """Return the program and the options in front of it, as the command would have them; None: that is for it to tell."""
    options: dict[str, str] = {}
    position = 0
    while position < len(words):
        word = words[position]
        if not word.startswith("-"):
            # An empty word is no name of a program.
            return (words[position:], options) if word else None
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if name in _FLAGS and not equals:
            options[_FLAGS[name]] = "true"
        elif name in _VALUES:
            if not equals:
                position += 1
                value = words[position] if position < len(words) else ""
            # A value that begins like an option may be one.
            if not value or value.startswith("-"):
                return None
            options[_VALUES[name]] = value
        else:
            return None
        position += 1
    return None
