"""A program that can be frozen and thawed, as serverless platforms, laptops and container runtimes do to theirs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_COMMANDS = """
import json, sys, threading, time
import openai
import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.delivery import sender, watch

http = openai.DefaultHttpxClient(verify=False)
redacting = threading.Event()
client = openai.OpenAI(api_key="k", base_url=sys.argv[1], max_retries=0, http_client=http)

def call(model):
    client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}])

def instrument(redaction_s=0.0, blocked_after_s=None, retries_s=None, **settings):
    if redaction_s:
        settings["redact"] = lambda text: (redacting.set(), time.sleep(redaction_s), text)[2]
    if blocked_after_s is not None:
        watch._TIMEOUT_S = blocked_after_s
    if retries_s is not None:
        sender._MAX_RETRY_S = retries_s
    llm_otel_broadcast.instrument(destinations=[Destination(**settings)])

def wait_until_redacting():
    return redacting.wait(20)

def flush(seconds):
    return llm_otel_broadcast.flush(timeout=seconds)

def has_failed():
    (books,) = llm_otel_broadcast.status().destinations
    return books.last_error is not None

def books():
    (books,) = llm_otel_broadcast.status().destinations
    return {name: getattr(books, name) for name in ("produced", "delivered", "retried", "dropped", "queued_records")}

for line in sys.stdin:
    name, arguments = json.loads(line)
    print(json.dumps(globals()[name](**arguments)), flush=True)
"""


class FrozenProgram:
    """A program that takes commands line by line, each a JSON array of a function's name and its arguments.

    Args:
        command: of the program, run with this Python.
        environment: variables besides those of this process.
        directory: the program's own.
    """

    def __init__(self, *command: str, environment: dict[str, str] | None = None, directory: Path | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **(environment or {})},
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def begin(self, function: str, **arguments: Any) -> None:
        """Send a command whose result `end` returns."""
        self._process.stdin.write(json.dumps([function, arguments]) + "\n")
        self._process.stdin.flush()

    def end(self) -> Any:
        """Return the result of the command that was sent."""
        line = self._process.stdout.readline()
        assert line, self._process.stderr.read()
        return json.loads(line)

    def run(self, function: str, **arguments: Any) -> Any:
        """Run a function of the program."""
        self.begin(function, **arguments)
        return self.end()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Have no thread of the program run inside the block."""
        os.kill(self._process.pid, signal.SIGSTOP)
        _, status = os.waitpid(self._process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)


def calling_program(base_url: str) -> FrozenProgram:
    """Return a program with the commands `instrument`, `call`, `wait_until_redacting`, `flush` and `books`."""
    return FrozenProgram("-c", _COMMANDS, base_url)
