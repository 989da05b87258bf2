"""The service's name where nobody gave one: that of the program, so that a backend tells programs apart.

OpenTelemetry's default is `unknown_service:python3` for all of them. What the environment, a detector or a provider of the
program's says counts more.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from opentelemetry.sdk.resources import Resource

_KEY: Final = "service.name"
_UNKNOWN: Final = "unknown_service"
_SUFFIXES: Final = (".py", ".pyw", ".pyc", ".pyz", ".exe")
_MAIN: Final = "__main__"


def named_after_program(resource: Resource) -> Resource:
    """Return the resource, with the program's name as `service.name` where that is OpenTelemetry's default."""
    name = resource.attributes.get(_KEY)
    if name is not None and not str(name).startswith(_UNKNOWN):
        return resource
    program = program_name()
    return resource if program is None else resource.merge(Resource({_KEY: program}))


def program_name() -> str | None:
    """Return the program's name: its file without the suffix, or what `-m` names; None for code typed in or given by `-c`."""
    # An interactive session has no program.
    if hasattr(sys, "ps1"):
        return None
    # Embedded interpreters have no `argv`, or an empty one.
    script = next(iter(getattr(sys, "argv", None) or ()), "")
    if not isinstance(script, str) or script in ("", "-", "-c", "-m"):
        return None
    # `python -m package`: the file is `__main__.py` there, the name is the package's.
    spec = getattr(sys.modules.get(_MAIN), "__spec__", None)
    module = getattr(spec, "name", None)
    if isinstance(module, str) and module != _MAIN:
        return module.removesuffix(f".{_MAIN}")
    directory, file = os.path.split(script.rstrip(os.sep))
    stem, suffix = os.path.splitext(file)  # noqa: PTH122  # a path that the program may have changed, taken as text
    name = stem if suffix.lower() in _SUFFIXES else file
    return (os.path.basename(directory) if name == _MAIN else name) or None  # noqa: PTH119  # likewise
