"""The command `llm-otel-broadcast`. Needs the extra `cli`; says so when it is not there."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the command line."""
    try:
        from llm_otel_broadcast.cli.app import cli
    except ModuleNotFoundError as missing:
        if missing.name not in ("click", "rich"):
            raise
        sys.exit(
            f"llm-otel-broadcast needs {missing.name}, which comes with the cli extra: pip install 'llm-otel-broadcast[cli]'"
        )
    _replace_what_cannot_be_written()
    cli(windows_expand_args=False)  # arguments of a program that is run are that program's business


def _replace_what_cannot_be_written() -> None:
    """Have a character that the output's encoding lacks (cp1252, Latin-1, ASCII) become `?` instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
