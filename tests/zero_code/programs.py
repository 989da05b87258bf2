"""Starting programs with and without `llm-otel-broadcast run`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_otel_broadcast.zero_code.path import DIRECTORY

RUN = (sys.executable, "-m", "llm_otel_broadcast", "run")
CALL = """
import openai
with openai.OpenAI() as client:
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello!"}])
"""


def start(*command: object, env: Mapping[str, str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return what it printed."""
    words = [str(word) for word in command]
    return subprocess.run(words, env=env, capture_output=True, text=True, timeout=50, check=False, **options)


def plainly(**variables: str) -> dict[str, str]:
    """Return the environment of the tests, with this interpreter as the first `python` on PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "NO_PROXY": "127.0.0.1", **variables}


def with_directory(environment: Mapping[str, str], *others: object) -> dict[str, str]:
    """Return the environment with our directory first on PYTHONPATH, as `run` sets it, and others behind."""
    return {**environment, "PYTHONPATH": os.pathsep.join([DIRECTORY, *map(str, others)])}
