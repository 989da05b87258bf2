"""Instructions on the host's thread, counted by callgrind: they repeat where a clock on a shared machine does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FEW, MANY = 20, 80


def per_call(mode: str, work: str) -> float:
    """Return the instructions of one call on the thread that makes it: the difference of two counts, divided."""
    return (_count(mode, work, MANY) - _count(mode, work, FEW)) / (MANY - FEW)


def _count(mode: str, work: str, calls: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                "valgrind",
                "--tool=callgrind",
                "--instr-atstart=no",
                "--separate-threads=yes",
                f"--callgrind-out-file={folder}/out",
                sys.executable,
                "-m",
                "tests.benchmarks.scenario",
                mode,
                work,
                str(calls),
            ],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        found = re.search(r"^totals: (\d+)", Path(folder, "out-01").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise RuntimeError("callgrind counted nothing")
    return int(found[1])
