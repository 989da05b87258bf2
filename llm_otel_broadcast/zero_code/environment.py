"""The environment that has every Python below a program trace itself."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from llm_otel_broadcast.settings.environment import disabling, variable_of, variables
from llm_otel_broadcast.settings.errors import FileError
from llm_otel_broadcast.settings.precedence import is_about_one, names_destination, read_file_in_use, resolve_options

DIRECTORY: Final = str(Path(__file__).parent / "on_path")
_PATH: Final = "PYTHONPATH"


def traced(environ: Mapping[str, str], options: Mapping[str, object]) -> dict[str, str]:
    """Return the environment with these options of `instrument()`, and our directory first on PYTHONPATH.

    Args:
        environ: the environment as it is.
        options: what counts more than what `environ` says: texts, True, headers and lists of names. `endpoint` and `to`
            replace all that it says about where to send.

    Raises:
        ConfigError: the options are wrong, or those in `environ`. A settings file that is wrong is none: the program logs
            it, and is traced once it is mended.
    """
    made = dict(environ)
    names = {"endpoint", "to"} & options.keys()
    is_named = "to" in names or names_destination(environ)
    for variable in variables():
        if names and (variable.option == "to" or (is_named and is_about_one(variable.option))):
            made.pop(variable.name, None)
    if not disabling(environ):
        with suppress(FileError):
            resolve_options(options, made, read_file_in_use(made))
    made |= {variable_of(name): _text(value) for name, value in options.items()}
    before = made.get(_PATH)
    others = [entry for entry in before.split(os.pathsep) if entry != DIRECTORY] if before else []
    made[_PATH] = os.pathsep.join([DIRECTORY, *others])
    return made


def _text(value: object) -> str:
    """Return a value as its variable has it."""
    if isinstance(value, Mapping):
        return json.dumps(dict(value))
    if isinstance(value, list | tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
