"""The Collector's own `validate`, run where a Collector is installed: it alone knows its components, their options and limits."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Final

from llm_otel_broadcast.collector.check.findings import Finding

PROGRAMS: Final = ("otelcol-contrib", "otelcol")
"""The contrib distribution first: the core one knows neither Kafka nor the tail sampler."""
_TIMEOUT_S: Final = 60.0
# After its error the Collector logs the same once more, with the time.
_REPETITION: Final = re.compile(r"^\d{4}/\d\d/\d\d \S+ collector server run finished with error:", re.MULTILINE)
_VARIABLE: Final = re.compile(r"\$\{env:(\w+)")
_MIN_HIDDEN_CHARACTERS: Final = 4
"""Shorter values, a `1` for instance, are no secrets, and to hide them would make a message unreadable."""


def find_validator() -> str | None:
    """Return the Collector on PATH, None when there is none."""
    return next((path for program in PROGRAMS if (path := shutil.which(program)) is not None), None)


def validate(program: str, text: str, *, file: Path | None = None, secrets: Collection[str] = ()) -> list[Finding]:
    """Return what a Collector has to say about a configuration: nothing when it would take it.

    Args:
        program: the Collector's path.
        text: of the configuration.
        file: where the text stands, so that relative paths in it are right; without it a temporary file is made.
        secrets: values that are not shown, even when the Collector repeats them.
    """
    if file is not None:
        return _run(program, text, file, secrets)
    # The directory is the user's alone (0700), as the text may hold secrets.
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "config.yaml"
        copy.write_text(text, encoding="utf-8")
        return _run(program, text, copy, secrets)


def _run(program: str, text: str, file: Path, secrets: Collection[str]) -> list[Finding]:
    name = f"{Path(program).name} validate"
    try:
        result = subprocess.run(  # noqa: S603  # a program of the user's PATH, without a shell
            [program, "validate", f"--config={file}"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [Finding("warning", "", f"{name} had no result after {_TIMEOUT_S:g} s", None)]
    except OSError as error:
        return [Finding("warning", "", f"{name} could not be run ({error.strerror})", None)]
    if result.returncode == 0:
        return []
    variables = _VARIABLE.findall(text)
    hidden = {*secrets, *(os.environ.get(variable, "") for variable in variables)}
    message = _REPETITION.split(result.stderr or result.stdout)[0]
    # Longest first, so that no part of one secret is left behind another.
    for value in sorted(hidden, key=len, reverse=True):
        if len(value) >= _MIN_HIDDEN_CHARACTERS:
            message = message.replace(value, "***")
    # One line, as every finding is; an error in a part of the file is spread over six.
    message = " ".join(message.split()) or f"ended with {result.returncode}"
    # An unset variable is an empty text to the Collector, which is often all that is wrong with the file.
    unset = sorted({variable for variable in variables if variable not in os.environ})
    hint = f" (not set here: {', '.join(unset)})" if unset else ""
    return [Finding("error", "", f"{name}: {message}{hint}", None)]
