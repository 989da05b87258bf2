"""The command `llm-otel-broadcast`. Needs the extra `cli`; says so when it is not there."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    # First of all: the rest takes 50 ms to load, and a program that is run pays for it at each start.
    if sys.argv[1:2] == ["run"]:
        from llm_otel_broadcast.cli.quick_run import run_plainly

        run_plainly(sys.argv[2:])
    try:
        from llm_otel_broadcast.cli.app import cli
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.exit(
            f"llm-otel-broadcast needs {error.name}, which comes with the cli extra: pip install 'llm-otel-broadcast[cli]'"
        )
    import io

    # A character that the output's encoding lacks (cp1252, Latin-1, ASCII) becomes `?`: in a pipe on Windows the marks of a
    # connection test ended the command with a UnicodeEncodeError.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
    # `*` in an argument of a program that is run is for that program to expand, or not.
    cli(windows_expand_args=False)
