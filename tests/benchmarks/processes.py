"""What whole processes pay: importing and starting, `llm-otel-broadcast run`, and ending while a destination is dead or hangs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.benchmarks.counting import environ_with_bytecode
from tests.benchmarks.measures import Samples, serve_nothing

_SDK = (
    "from opentelemetry.sdk.trace import TracerProvider; from opentelemetry.sdk.trace.export import BatchSpanProcessor"
)
_EXPORTER = "from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as E"
_MARK = "import openai, os, time; os.write(1, str(time.process_time()).encode())"
"""Says what the client has taken, ten times what comes after it: its noise would drown that."""
_IMPORTS = {
    "plain": _MARK,
    "sdk": f"{_MARK}; {_SDK}; TracerProvider()",
    "exporter": f"{_MARK}; {_SDK}; {_EXPORTER}; TracerProvider().add_span_processor(BatchSpanProcessor(E()))",
    "ours": f"{_MARK}; import llm_otel_broadcast; llm_otel_broadcast.instrument(endpoint='http://127.0.0.1:9')",
}
_ENDING = """
import llm_otel_broadcast
from tests.benchmarks.host import chat, client
llm_otel_broadcast.instrument(endpoint="http://127.0.0.1:{port}", app_spans=False)
chat(client())
"""
_ENDING_PLAINLY = "from tests.benchmarks.host import chat, client\nchat(client())"


def _environ() -> dict[str, str]:
    """Return the environment without settings, and this interpreter as the first `python` on PATH."""
    environ = environ_with_bytecode(HOME="/nonexistent")
    ours = {name: text for name, text in environ.items() if not name.startswith(("LLM_OTEL_BROADCAST_", "OTEL_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{ours['PATH']}"
    return {**ours, "PATH": path}


def _in_turns(commands: Mapping[str, Sequence[str]], rounds: int, *, by_clock: bool = False) -> Samples:
    """Return the milliseconds of CPU, or by the clock, that each command takes."""
    samples: Samples = {name: [] for name in commands}
    environ = _environ()
    for number in range(rounds + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as process:
                _, _, used = os.wait4(process.pid, 0)
                process.returncode = 0
            taken_ms = (time.perf_counter() - started) * 1e3 if by_clock else (used.ru_utime + used.ru_stime) * 1e3
            # The first round fills caches.
            if number:
                samples[name].append(taken_ms)
    return samples


def imports(rounds: int = 15) -> Samples:
    """Return the milliseconds of CPU that each process takes once it has the client, its end included."""
    samples: Samples = {name: [] for name in _IMPORTS}
    environ = _environ()
    for number in range(rounds + 1):
        for name, program in _IMPORTS.items():
            command = [sys.executable, "-c", program]
            with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
                assert process.stdout is not None
                before_s = float(process.stdout.read())
                _, _, used = os.wait4(process.pid, 0)
                process.returncode = 0
            # The first round fills caches.
            if number:
                samples[name].append((used.ru_utime + used.ru_stime - before_s) * 1e3)
    return samples


def runs(rounds: int = 15) -> Samples:
    program = ("python", "-c", "pass")
    command = str(Path(sys.executable).parent / "llm-otel-broadcast")
    return _in_turns({"plain": program, "ours": (command, "run", "--endpoint", "http://127.0.0.1:9", *program)}, rounds)


def ends(rounds: int = 3) -> Samples:
    programs = {
        "plain": _ENDING_PLAINLY,
        "dead": _ENDING.format(port=9),
        "hanging": _ENDING.format(port=serve_nothing()),
    }
    commands = {name: (sys.executable, "-c", program) for name, program in programs.items()}
    return _in_turns(commands, rounds, by_clock=True)


def import_instructions() -> dict[str, float]:
    """Return the instructions of each whole process, side by side."""
    environ = {**_environ(), "PYTHONHASHSEED": "0"}
    with tempfile.TemporaryDirectory() as folder:
        processes = {
            name: subprocess.Popen(
                [
                    "valgrind",
                    "--tool=callgrind",
                    f"--callgrind-out-file={folder}/{name}",
                    sys.executable,
                    "-c",
                    program,
                ],
                env=environ,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for name, program in _IMPORTS.items()
        }
        for process in processes.values():
            with suppress(subprocess.TimeoutExpired), process:
                process.wait(300)
        counts = {}
        for name in processes:
            lines = Path(folder, name).read_text(encoding="utf-8").splitlines()
            counts[name] = float(next(line for line in lines if line.startswith("totals: ")).split()[1])
    return counts
