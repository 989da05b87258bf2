"""Real programs from PyPI: each is installed once into its own virtual environment and runs on loop-back until told to end."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.support.deadlines import eventually

CACHE_VARIABLE = "LLM_OTEL_BROADCAST_BACKENDS"
# Phoenix takes 10 s of a processor of its own to start, which are minutes beside tests that keep all of them busy.
START_TIMEOUT = 300.0
END_TIMEOUT = 15.0
PORTS = range(15_000, 32_000)


def cache() -> Path:
    """Return the directory that keeps what is installed between runs."""
    if told := os.environ.get(CACHE_VARIABLE):
        return Path(told)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llm-otel-broadcast-backends"


def install(name: str, requirement: str) -> Path:
    """Return a virtual environment that holds the requirement; made on first use, whatever pip says is in the error."""
    import fcntl  # not on Windows, where these files are collected too

    home = cache() / f"{name}-py{sys.version_info.major}.{sys.version_info.minor}"
    home.parent.mkdir(parents=True, exist_ok=True)
    complete = home / "complete"
    with (home.parent / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists() or complete.read_text(encoding="utf-8") != requirement:
            shutil.rmtree(home, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(home))
            _run(str(home / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", requirement)
            complete.write_text(requirement, encoding="utf-8")
    return home


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}")


def free_port() -> int:
    """Return a port that nobody uses and that no system hands out by itself: a slow starter would find such a one taken."""
    for port in random.sample(PORTS, len(PORTS)):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise RuntimeError(f"no port from {PORTS.start} to {PORTS.stop} is free")


@contextmanager
def running(
    command: Sequence[str | Path],
    ready: str,
    directory: Path,
    environment: Mapping[str, str] | None = None,
    status: int = 200,
) -> Iterator[None]:
    """Run a server for the length of a `with` block; nothing of it is left afterwards.

    Args:
        command: what to run.
        ready: the block begins when this URL answers with `status`.
        directory: its home and working directory; its output goes to `output.log` there.
        environment: variables beside the few it gets anyway: nothing of ours reaches it.
        status: what a program without a page of its own says there instead.
    """
    output = directory / "output.log"
    given = {"PATH": os.environ["PATH"], "HOME": str(directory), "LANG": "C.UTF-8", "DO_NOT_TRACK": "1"}
    with output.open("wb") as log:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=directory,
            env={**given, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its children are in its group, and end with it
        )
    try:

        def answered() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended early:\n{output.read_text(errors='replace')[-4000:]}")
            return _status(ready) == status

        eventually(answered, START_TIMEOUT, f"{ready} to answer (see {output})")
        yield
    finally:
        _end(process)


def _status(url: str) -> int | None:
    try:
        with urlopen(url, timeout=2) as response:
            return int(response.status)
    except HTTPError as refused:
        with refused:
            return refused.code
    except (OSError, HTTPException):
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            eventually(lambda: not _lives(process), END_TIMEOUT, "its processes to end")
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(END_TIMEOUT)


def _lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # a dead child that nobody has asked after still counts as one of its group
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
