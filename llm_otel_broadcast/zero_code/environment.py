"""The environment that has every Python below a program trace itself."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from llm_otel_broadcast.settings.layers import file_found, is_about_one, names_destination, settle
from llm_otel_broadcast.settings.variables import disabling, variable_of, variables

DIRECTORY: Final = str(Path(__file__).parent / "on_path")
_PATH: Final = "PYTHONPATH"


def traced(environ: Mapping[str, str], endpoint: str | None, headers: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with these settings, and our directory first on PYTHONPATH.

    Args:
        environ: the environment as it is.
        endpoint: where to send, instead of what `environ` says about that.
        headers: HTTP headers for it.

    Raises:
        ConfigError: the settings are wrong, those in `environ` and in the settings file included.
    """
    if not disabling(environ):
        settle({"endpoint": endpoint, "headers": headers or None}, environ, file_found(environ))
    made = dict(environ)
    if endpoint:
        if names_destination(environ):
            for variable in variables():
                if is_about_one(variable.option):
                    made.pop(variable.name, None)
        made[variable_of("endpoint")] = endpoint
    if headers:
        made[variable_of("headers")] = json.dumps(dict(headers))
    before = made.get(_PATH)
    others = [entry for entry in before.split(os.pathsep) if entry != DIRECTORY] if before else []
    made[_PATH] = os.pathsep.join([DIRECTORY, *others])
    return made
