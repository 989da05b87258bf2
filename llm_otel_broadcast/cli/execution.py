"""Becoming the program that is run, so that its exit code, signals, stdin and terminal are its own. Imports nothing of ours."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

_EXIT_NOT_FOUND = 127
_EXIT_NOT_EXECUTABLE = 126
_IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFSZ")


def become(words: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Run a program instead of this one; end as a shell would where that cannot be.

    Args:
        words: the program and its arguments; `-m` in front stands for this interpreter.
        environ: its environment.
    """
    # `-m` stands for this interpreter: the one that has us and the program's packages.
    command = [sys.executable, *words] if words[0] == "-m" else list(words)
    try:
        # On Windows exec starts another process and ends this one: the shell would not wait.
        if os.name == "nt":
            wait_for(command, environ)
        import signal

        # Python has SIGPIPE ignored for its own sake; inherited, that would keep `program | head` from ending.
        for name in _IGNORED_BY_PYTHON:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.execvpe(command[0], command, environ)  # noqa: S606  # to run what the user says is the purpose
    except OSError as error:
        # It ends as a shell would; a path through a file is as missing to a shell as a file that is not there.
        is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        hint = f" (did you mean: run python {command[0]}?)" if command[0].endswith(".py") else ""
        sys.stderr.write(f"llm-otel-broadcast: cannot run {command[0]}: {error.strerror}{hint}\n")
        sys.exit(_EXIT_NOT_FOUND if is_missing else _EXIT_NOT_EXECUTABLE)


def wait_for(command: list[str], environ: Mapping[str, str]) -> NoReturn:
    """Run the program as a child and end as it ends."""
    import subprocess

    with subprocess.Popen(command, env=environ) as program:  # noqa: S603  # to run what the user says is the purpose
        while True:
            try:
                sys.exit(program.wait())
            except KeyboardInterrupt:
                # The terminal interrupts the program as well, which decides whether to end.
                continue
