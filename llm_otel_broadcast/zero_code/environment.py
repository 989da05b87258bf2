"""The environment in which every Python process that a program starts traces itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress

from llm_otel_broadcast.settings.environment import disabling, variable_of, variables
from llm_otel_broadcast.settings.errors import FileError
from llm_otel_broadcast.settings.precedence import is_about_one, names_destination, read_file_in_use, resolve_options
from llm_otel_broadcast.zero_code.path import PATH, path_with_ours


def traced(environ: Mapping[str, str], options: Mapping[str, object]) -> dict[str, str]:
    """Return the environment with these options of `instrument()`, and our directory first on PYTHONPATH.

    Args:
        environ: the environment as it is.
        options: options that override those in `environ`: texts, True, headers and lists of names. `endpoint` and `to`
            replace everything that it says about destinations.

    Raises:
        ConfigError: an option is wrong, here or in `environ`. A wrong settings file does not raise: the program logs it, and
            is traced once the file is mended.
    """
    traced_environ = dict(environ)
    names = {"endpoint", "to"} & options.keys()
    is_named = "to" in names or names_destination(environ)
    for variable in variables():
        if names and (variable.option == "to" or (is_named and is_about_one(variable.option))):
            traced_environ.pop(variable.name, None)
    if not disabling(environ):
        with suppress(FileError):
            resolve_options(options, traced_environ, read_file_in_use(traced_environ))
    traced_environ |= {variable_of(name): _text(value) for name, value in options.items()}
    traced_environ[PATH] = path_with_ours(traced_environ)
    return traced_environ


def _text(value: object) -> str:
    """Return a value in the form that its variable takes."""
    if isinstance(value, Mapping):
        return json.dumps(dict(value))
    if isinstance(value, list | tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
