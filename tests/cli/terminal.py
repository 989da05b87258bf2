"""Programs run under a real pseudo-terminal, their questions answered."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Sequence

PATIENCE = 30.0
_ON_TERMINAL = """
import fcntl, runpy, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # where passwords are asked for
runpy.run_module("llm_otel_broadcast", run_name="__main__", alter_sys=True)
"""


def converse(arguments: Sequence[str], *answers: tuple[str, str], columns: int = 100) -> tuple[int, str]:
    """Run the command line on a terminal; whenever the text of the next answer's question is shown, type the answer.

    Returns the exit code and everything that was on the screen.
    """
    terminal, inside = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-c", _ON_TERMINAL, *arguments],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color", "NO_COLOR": "1"},
    )
    os.close(inside)
    shown, read, deadline = b"", 0, time.monotonic() + PATIENCE
    waiting = list(answers)
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
        is_asked = shown.endswith(b": ")  # which is when what is typed is no longer shown, where it must not be
        if is_asked and waiting and waiting[0][0].encode() in shown[read:]:
            read = len(shown)
            os.write(terminal, waiting.pop(0)[1].encode() + b"\n")
    os.close(terminal)  # hangs up on a program that still waits
    status = program.wait(PATIENCE)
    text = shown.decode("utf-8", "replace").replace("\r\n", "\n")
    assert not waiting, f"never asked: {waiting[0][0]!r} in\n{text}"
    return status, text
