"""Becomes the program that is run, so that its exit code, signals, stdin and terminal are its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.zero_code.environment import traced
from llm_otel_broadcast.zero_code.start import say_untraced

_PREPARING: Final = Guard("preparing the program's environment")
_EXIT_NOT_FOUND: Final = 127
_EXIT_NOT_EXECUTABLE: Final = 126
_IGNORED_BY_PYTHON: Final = ("SIGPIPE", "SIGXFSZ")


def launch(words: Sequence[str], options: Mapping[str, object]) -> NoReturn:
    """Run a program with its LLM calls traced; untraced, after one line that says why, where the settings are wrong.

    Args:
        words: the program and its arguments; `-m` in front stands for this interpreter.
        options: those of `instrument()` that the command line states.
    """
    # `-m` stands for this interpreter: the one that has us and the program's packages.
    command = [sys.executable, *words] if words[0] == "-m" else list(words)
    # Whatever goes wrong with tracing, the program runs: at worst in the environment as it is.
    environ = dict(os.environ)
    with _PREPARING:
        try:
            environ = traced(os.environ, options)
        except ConfigError as error:
            say_untraced(error)
    try:
        # On Windows exec starts another process and ends this one: the shell would not wait.
        if os.name == "nt":
            wait_for(command, environ)
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
    with subprocess.Popen(command, env=environ) as program:  # noqa: S603  # likewise
        while True:
            try:
                sys.exit(program.wait())
            except KeyboardInterrupt:
                # The terminal interrupts the program as well, which decides whether to end.
                continue
