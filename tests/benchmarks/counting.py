"""Instructions on the host's thread, and of the background, counted by callgrind: they repeat where a clock on a shared machine does not."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

Counted: TypeAlias = tuple[str, str]
"""Who traces, and what is called."""
_NOTHING: Counted = ("plain", "nothing")
"""Counted in every process: what switching the counting on and off takes, which is taken off the others."""
_FIRST_THREAD = "01"
_TIMEOUT_S = 180
_SIDE_BY_SIDE = min(4, os.cpu_count() or 1)


def environ_with_bytecode(**variables: str) -> dict[str, str]:
    """Return the environment with a cache of bytecode, which some machines turn off: else each process compiles everything."""
    environ = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    cache = str(Path(tempfile.gettempdir()) / "llm-otel-broadcast-bench-bytecode")
    return {**environ, "PYTHONPYCACHEPREFIX": cache, **variables}


def can_count() -> bool:
    return shutil.which("valgrind") is not None and shutil.which("callgrind_control") is not None


def count(
    calls: Mapping[Counted, int], python: str = sys.executable, timeout_s: float = _TIMEOUT_S
) -> dict[Counted, float]:
    """Return the instructions of one call each, on the thread that makes it, all in one process and in this order.

    Args:
        calls: how many calls are counted.
        python: the interpreter, of an environment that has what is counted.
        timeout_s: how long it may take, in seconds; it is tried twice.

    Raises:
        TimeoutExpired: it took longer.
    """
    all_calls = {_NOTHING: 1, **calls}
    arguments = [f"{mode}:{work}={number}" for (mode, work), number in all_calls.items()]
    totals = _totals([python, "-m", "tests.benchmarks.scenario", *arguments], timeout_s)
    return {
        counted: (totals[counted][_FIRST_THREAD] - totals[_NOTHING][_FIRST_THREAD]) / number
        for counted, number in calls.items()
    }


def count_background(timeout_s: float = _TIMEOUT_S) -> dict[str, float]:
    """Return the instructions of all threads for each record that is handed over, encoded and sent, by who does it.

    Raises:
        TimeoutExpired: it took longer than `timeout_s`; it is tried twice.
    """
    totals = _totals([sys.executable, "-m", "tests.benchmarks.background", "count"], timeout_s)
    return {who: sum(threads.values()) / int(records) for (who, records), threads in totals.items()}


def _totals(program: Sequence[str], timeout_s: float) -> dict[Counted, dict[str, int]]:
    """Run a program that asks callgrind for dumps; return what was counted on each thread until each of them, by its name."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            "--separate-threads=yes",
            # Else a thread of ours that sleeps and wakes may never get the turn.
            "--fair-sched=try",
            f"--callgrind-out-file={folder}/out",
            *program,
        ]
        try:
            _run(command, timeout_s)
        except subprocess.TimeoutExpired:
            # Once in a while valgrind and the program that tells it when to count wait for each other.
            _run(command, timeout_s)
        totals: dict[Counted, dict[str, int]] = {}
        # One for each dump and thread.
        for path in Path(folder).glob("out.*-*"):
            text = path.read_text(encoding="utf-8")
            label = re.search(r"^desc: Trigger: dump (\w+):(\w+)", text, re.MULTILINE)
            total = re.search(r"^totals: (\d+)", text, re.MULTILINE)
            if label and total:
                totals.setdefault((label[1], label[2]), {})[path.name.rpartition("-")[2]] = int(total[1])
    return totals


def _run(command: Sequence[str], timeout_s: float) -> None:
    # A session of its own: what it starts is ended with it.
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environ_with_bytecode(PYTHONHASHSEED="0"),
        start_new_session=True,
    ) as process:
        try:
            _, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=errors)


def count_added(modes: Sequence[str], works: Mapping[str, int]) -> dict[Counted, float]:
    """Return what several modes add to calls, each in a process of its own, side by side: counts do not mind company.

    Over the plain calls of the same process: from one to another those differ by a tenth of what we add.
    """

    def added(mode: str) -> dict[Counted, float]:
        counts = count({(each, work): calls for each in ("plain", mode) for work, calls in works.items()})
        return {(mode, work): counts[mode, work] - counts["plain", work] for work in works}

    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        return {counted: instructions for each in pool.map(added, modes) for counted, instructions in each.items()}
